"""Authentication by API key, or by the browser's session with a CSRF token."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import CSRFCheck

from accounts.actor import Actor
from accounts.api_keys import authenticate_key
from accounts.key_headers import read_api_key
from accounts.permissions import user_actor
from accounts.requesters import remember_refusal, remember_requester
from foundation.errors import RateLimited, Unauthenticated
from rest.errors import CsrfFailed


def authenticate(request: HttpRequest) -> Actor:
    """The actor of a request. An API key, if there is one, takes precedence over the session.

    Raises `Unauthenticated`, `RateLimited`, and `CsrfFailed` for an unsafe method with a session but no CSRF token.
    """
    if (key := _key(request)) is not None:
        try:
            actor = authenticate_key(key, address=request.META.get("REMOTE_ADDR"))
        except (Unauthenticated, RateLimited):
            remember_refusal(key)
            raise
        if actor.user_id is not None:
            remember_requester(key, actor.user_id)
        return actor
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        raise Unauthenticated(rule="no_credentials")
    actor = user_actor(request.user)
    _check_csrf(request, actor)
    return actor


def read_credential(request: HttpRequest) -> str | None:
    """The API key or the key of the login session that the request comes with, good or not; None without one."""
    key = _key(request)
    return key if key is not None else request.COOKIES.get(settings.SESSION_COOKIE_NAME)


def _key(request: HttpRequest) -> str | None:
    """The API key of the request: None without one, "" if it is malformed."""
    return read_api_key(request.headers.get("Authorization"), request.headers.get("X-Api-Key"))


def _check_csrf(request: HttpRequest, actor: Actor) -> None:
    check = CSRFCheck(_no_view)
    check.process_request(request)
    # None: the check passed.
    if check.process_view(request, _no_view, (), {}) is not None:
        raise CsrfFailed(rule="csrf", actor=actor.name)


def _no_view(_request: HttpRequest) -> HttpResponse:
    """A placeholder for the view that the CSRF check takes."""
    return HttpResponse()
