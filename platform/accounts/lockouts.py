"""Accounts and addresses that are locked out after failed logins, and how an operator unlocks them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.login import BY_ACCOUNT, BY_ADDRESS, login_limits, name_digest
from accounts.models import User
from accounts.permissions import require_permission, require_rights_over
from accounts.role_permissions import CHANGE_USER
from foundation.errors import NotFound
from ratelimits import buckets
from ratelimits.limiter import client_network
from ratelimits.models import Bucket
from ratelimits.rates import Rate

# The longest list. A larger attack has to be stopped at the proxy.
MAX_LOCKOUTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Lockout:
    """An account or address with few tries left, or none for `wait_seconds`. `user` is None for an address."""

    name: str
    tries: int
    wait_seconds: float
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Lockouts:
    """The present lockouts; `unknown_names` counts the locked names that no account has."""

    accounts: list[Lockout]
    addresses: list[Lockout]
    unknown_names: int


def lockouts() -> Lockouts:
    """All accounts and addresses with few tries left. Two queries, and a third if an account is among them."""
    by_address, by_account = (limit for limit, _ in login_limits("", ""))
    addresses = [
        _lockout(by_address, key.removeprefix(BY_ADDRESS), full) for key, full in _find_low(by_address, BY_ADDRESS)
    ]
    low = dict(_find_low(by_account, BY_ACCOUNT))
    accounts = [_lockout(by_account, user.username, low[key], user) for key, user in _find_users(low)]
    return Lockouts(accounts, addresses, len(low.keys() - {_key(lockout.name) for lockout in accounts}))


def find_lockout(user: User) -> Lockout | None:
    """The lockout of `user`, or None while there are enough tries left."""
    (limit, key) = login_limits(user.username, "")[1]
    return _find(limit, key, user.username)


def clear_failures(user: User) -> None:
    """Reset the failed logins of `user`, for instance after a password reset."""
    buckets.reset_bucket(_key(user.username))


@transaction.atomic
def unlock_account(actor: Actor, *, user_id: int) -> bool:
    """Reset the failed logins of an account; return whether it was locked out, or nearly.

    Raises `Forbidden`, `NotFound`.
    """
    require_permission(actor, CHANGE_USER)
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such account here.")
    require_rights_over(actor, user)
    was_locked = find_lockout(user) is not None
    if was_locked:
        record_audit(actor, "user.unlocked", target=user)
    clear_failures(user)
    return was_locked


@transaction.atomic
def unlock_address(actor: Actor, *, address: str) -> bool:
    """Reset the failed logins of an address or network, as `lockouts` names it; return whether it was locked out.

    Raises `Forbidden`.
    """
    require_permission(actor, CHANGE_USER)
    network = address if "/" in address else client_network(address)
    (limit, _), key = login_limits("", "")[0], f"{BY_ADDRESS}{network}"
    bucket = Bucket.objects.filter(pk=key).first()
    was_locked = bucket is not None and _find(limit, key, network) is not None
    if bucket is not None and was_locked:
        record_audit(actor, "address.unlocked", target=bucket)
    buckets.reset_bucket(key)
    return was_locked


def _find_low(limit: Rate, prefix: str) -> list[tuple[str, float]]:
    return buckets.find_low(limit, prefix, tokens=_low_threshold(limit), max_rows=MAX_LOCKOUTS) if limit.limit else []


def _find(limit: Rate, key: str, name: str) -> Lockout | None:
    full_in = buckets.seconds_until_full([key]).get(key)
    if full_in is None or not limit.limit or limit.tokens(full_in) >= _low_threshold(limit):
        return None
    return _lockout(limit, name, full_in)


def _lockout(limit: Rate, name: str, full_in: float, user: User | None = None) -> Lockout:
    return Lockout(name, limit.tokens(full_in), limit.wait_seconds(full_in), user)


def _low_threshold(limit: Rate) -> int:
    """The number of tries, a tenth of the limit, below which an account or address is listed."""
    return max(1, limit.limit // 10)


def _find_users(low: dict[str, float]) -> Iterable[tuple[str, User]]:
    """The accounts whose buckets are in `low`; keys contain digests of names, so all names are compared."""
    if not low:
        return
    for user in User.objects.only("username").order_by("username"):
        if (key := _key(user.username)) in low:
            yield key, user


def _key(name: str) -> str:
    return f"{BY_ACCOUNT}{name_digest(name)}"
