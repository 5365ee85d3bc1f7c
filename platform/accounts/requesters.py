"""Who asks, before that is authenticated: for sharing the machine fairly, never for rights.

Whose a credential is, is remembered from the last time that it was good. One that this process has not seen yet, and
that this installation has made (`credential_tags`), is a requester of its own until then. All others count for the
client's address, so that invented credentials are no crowd; and so do those of ours that have turned out to be no good.
"""

from __future__ import annotations

import hashlib

from accounts.api_keys import is_api_key
from accounts.login_sessions import is_session_key
from ratelimits.limiter import client_network

MAX_CREDENTIALS = 20_000
# None: a credential of ours that is no good any more.
_users: dict[bytes, int | None] = {}


def find_requester(credential: str | None, address: str | None) -> str:
    """The requester with this API key or login: "u:17", "c:5f2a…" for one of ours that was not seen yet, or else
    "a:192.0.2.1"."""
    if credential:
        digest = _digest(credential)
        if (user_id := _users.get(digest)) is not None:
            return user_requester(user_id)
        if digest not in _users and _is_ours(credential):
            return f"c:{digest.hex()}"
    return f"a:{client_network(address) if address else ''}"


def user_requester(user_id: int) -> str:
    """The requester that is this user."""
    return f"u:{user_id}"


def requester_user(requester: str) -> int | None:
    """The id of the user; None if only a credential or an address is known."""
    kind, _, user_id = requester.partition(":")
    return int(user_id) if kind == "u" else None


def is_address(requester: str) -> bool:
    """Whether the requester is everybody who comes from an address and is not known."""
    return requester.startswith("a:")


def remember_requester(credential: str, user_id: int) -> None:
    """Note that `credential` is good, and whose it is."""
    _remember(credential, user_id)


def remember_refusal(credential: str) -> None:
    """Note that `credential` is no good: until it is again, it counts for its address."""
    if _is_ours(credential):  # others do anyway, and there is no end of them
        _remember(credential, None)


def _remember(credential: str, user_id: int | None) -> None:
    if len(_users) >= MAX_CREDENTIALS:
        _users.clear()  # each is noted again at its next request
    _users[_digest(credential)] = user_id


def _is_ours(credential: str) -> bool:
    return is_api_key(credential) or is_session_key(credential)


def _digest(credential: str) -> bytes:
    return hashlib.blake2b(credential.encode("utf-8", "surrogatepass"), digest_size=16).digest()
