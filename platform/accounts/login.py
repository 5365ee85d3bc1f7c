"""Login with throttling: each attempt is counted before the password is checked, and stays counted if it fails.

Messages, timing and waiting times do not differ between names that exist and names that do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar
from unicodedata import normalize

import structlog
from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from accounts.models import User
from foundation.errors import RateLimited
from ratelimits import buckets
from ratelimits.limiter import LimitedKey, client_network, consume, format_wait, rate

if TYPE_CHECKING:
    _Form = AuthenticationForm
else:
    _Form = object

Response = TypeVar("Response", bound=HttpResponseBase)

PERIOD_SECONDS = 15 * 60.0
TOO_MANY = "too_many_logins"
BY_ADDRESS, BY_ACCOUNT = "l:a:", "l:n:"

log = structlog.get_logger(__name__)


class ThrottledLoginMixin(_Form):
    """Adds throttling to a login form. List it before the form in the bases."""

    request: HttpRequest | None

    def clean(self) -> dict[str, Any]:
        with throttled(str(self.cleaned_data.get("username") or ""), client_address(self.request)):
            return dict(super().clean())


class LoginForm(ThrottledLoginMixin, AuthenticationForm):
    """The login form of the chat."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "That user name and password do not match. Please try again.",
    }


@contextmanager
def throttled(name: str, address: str) -> Iterator[None]:
    """Wrap the check of a password of `name`; raise `ValidationError` after too many failures.

    The attempt stays counted if the block raises `ValidationError`, and is given back otherwise.
    """
    limits = login_limits(name, address)
    try:
        consume(limits)
    except RateLimited as error:
        _log_failure(name, address, rule=str(error.context["rule"]))
        raise wait_error(error, "Too many sign-ins failed.") from None
    try:
        yield
    except forms.ValidationError as error:
        _log_failure(name, address, rule=f"login:{error.code}")
        raise
    for limit, key in limits:
        if limit.limit:
            buckets.refund_token(limit, key)


def client_address(request: HttpRequest | None) -> str:
    """The IP address of the client, behind trusted proxies the one that they forward; "" without a request."""
    return str(request.META.get("REMOTE_ADDR", "")) if request else ""


def add_retry_after_header(response: Response) -> Response:
    """Turn the response of a page whose form failed for too many attempts into a 429 with Retry-After."""
    form = (response.context_data or {}).get("form") if isinstance(response, TemplateResponse) else None
    for error in chain(*form.errors.as_data().values()) if form is not None and form.is_bound else []:
        if error.code == TOO_MANY:
            response.status_code = 429
            response.headers["Retry-After"] = str(error.params["seconds"])
    return response


def login_limits(name: str, address: str) -> list[LimitedKey]:
    """The rate limits of the address and of the account, which has one whether or not it exists."""
    config = settings.BANDSTAND
    by_account = rate("logins-account", config.failed_logins_per_account, PERIOD_SECONDS, leased=False)
    by_address = rate("logins-address", config.failed_logins_per_address, PERIOD_SECONDS, leased=False)
    return [(by_address, f"{BY_ADDRESS}{client_network(address)}"), (by_account, f"{BY_ACCOUNT}{name_digest(name)}")]


def name_digest(name: str) -> str:
    """A digest of `name` for bucket keys, because users type passwords into the name field by mistake. Names that
    Django considers equal have equal digests."""
    return hashlib.sha256(normalize("NFKC", name).casefold().encode("utf-8", "replace")).hexdigest()[:32]


def wait_error(error: RateLimited, message: str) -> forms.ValidationError:
    """A form error that says when to try again, in seconds; see `add_retry_after_header`."""
    seconds = max(1, round(error.retry_after_seconds or 1))
    return forms.ValidationError(
        f"{message} Please try again in %(wait)s.",
        code=TOO_MANY,
        params={"wait": format_wait(seconds), "seconds": seconds},
    )


def _log_failure(name: str, address: str, *, rule: str) -> None:
    """Log a failed attempt; a name that no account has may be a password, and is left out."""
    exists = "\x00" not in name and User.objects.filter(username=normalize("NFKC", name)).exists()
    log.warning("login.failed", rule=rule, actor=name if exists else None, client=address)
