"""Links to choose a password: their tokens and lifetimes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import base36_to_int, urlsafe_base64_encode

from accounts.models import User


class LinkTokens(PasswordResetTokenGenerator):
    """Django's tokens, valid for `lifetime` and until the password, the address or the last login changes."""

    def __init__(self, purpose: str, lifetime: timedelta) -> None:
        super().__init__()
        self.key_salt = f"accounts.password_links.{purpose}"
        self.lifetime = lifetime

    def check_token(self, user: Any, token: str | None) -> bool:
        if not super().check_token(user, token) or not token:
            return False
        created_seconds = base36_to_int(token.partition("-")[0])
        return self._num_seconds(self._now()) - created_seconds <= self.lifetime.total_seconds()


# Created by an owner, and requested on the login page.
INVITED: Final = LinkTokens("invited", timedelta(days=3))
FORGOTTEN: Final = LinkTokens("forgotten", timedelta(hours=1))


class AnyLink:
    """Checks tokens of both kinds."""

    def check_token(self, user: Any, token: str | None) -> bool:
        return any(tokens.check_token(user, token) for tokens in (INVITED, FORGOTTEN))


def make_link_path(user: User, tokens: LinkTokens) -> str:
    """The path of a new link for `user`. It is a credential: do not store or log it."""
    key = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("pages:choose-password", args=[key, tokens.make_token(user)])


def absolute_link(path: str) -> str:
    """`path` below the base URL of this installation, regardless of the Host header."""
    return f"{settings.BANDSTAND.base_url}{path}"
