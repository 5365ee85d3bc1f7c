"""Authentication by API key, or by the browser's session with a CSRF token."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import CSRFCheck

from accounts.actor import Actor
from accounts.api_keys import authenticate_key
from accounts.key_headers import read_api_key
from accounts.permissions import user_actor
from foundation.errors import BandstandError, Unauthenticated
from rest.errors import CsrfFailed


def authenticate(request: HttpRequest) -> Actor:
    """The actor of a request. An API key, if there is one, takes precedence over the session.

    Raises `Unauthenticated`, `RateLimited`, and `CsrfFailed` for an unsafe method with a session but no CSRF token.
    """
    if (key := _key(request)) is not None:
        return authenticate_key(key, address=request.META.get("REMOTE_ADDR"))
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        raise Unauthenticated(rule="no_credentials")
    actor = user_actor(request.user)
    _check_csrf(request, actor)
    return actor


def credentials_still_valid(request: HttpRequest, actor: Actor) -> bool:
    """Whether the credentials of a streaming request are still valid, with the user and scopes of its start."""
    try:
        key = _key(request)
        present = authenticate_key(key) if key is not None else user_actor(_user_now(request))
    except BandstandError:
        return False
    return present.user_id == actor.user_id and present.scopes >= actor.scopes


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


def _user_now(request: HttpRequest) -> Any:
    store = import_module(settings.SESSION_ENGINE).SessionStore(request.session.session_key)
    return get_user(cast(HttpRequest, SimpleNamespace(session=store)))
