"""Who asks, before that is authenticated: for sharing the machine fairly, never for rights.

Whose a credential is, is remembered from the last time that it was good. An unknown one counts for the client's
address, so that made-up credentials are no crowd.
"""

from __future__ import annotations

import hashlib

from ratelimits.limiter import client_network

MAX_CREDENTIALS = 20_000
_users: dict[bytes, int] = {}


def find_requester(credential: str | None, address: str | None) -> str:
    """The requester with this API key or login: "u:17", or else "a:192.0.2.1"."""
    user_id = _users.get(_digest(credential)) if credential else None
    return user_requester(user_id) if user_id is not None else f"a:{client_network(address) if address else ''}"


def user_requester(user_id: int) -> str:
    """The requester that is this user."""
    return f"u:{user_id}"


def requester_user(requester: str) -> int | None:
    """The id of the user; None if only an address is known."""
    kind, _, user_id = requester.partition(":")
    return int(user_id) if kind == "u" else None


def remember_requester(credential: str, user_id: int) -> None:
    """Note that `credential` is good, and whose it is."""
    if len(_users) >= MAX_CREDENTIALS:
        _users.clear()  # costs each one request that counts for its address
    _users[_digest(credential)] = user_id


def _digest(credential: str) -> bytes:
    return hashlib.blake2b(credential.encode("utf-8", "surrogatepass"), digest_size=16).digest()
