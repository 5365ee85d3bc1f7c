"""Who has to wait after failed sign-ins, and how somebody lets them in again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from agents.access.actor import Actor
from agents.access.audit import record
from agents.access.logins import BY_ACCOUNT, BY_ADDRESS, login_asks, name_digest
from agents.access.permissions import need_permission, need_rights_over
from agents.access.roles import CHANGE_USER
from agents.limits import buckets
from agents.limits.guard import network_of
from agents.limits.rates import Rate
from agents.models import Bucket, User
from foundation.errors import NotFound

# More are not looked at: whoever is attacked from everywhere is helped by the proxy, not by this list.
MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Lockout:
    """A wait. `user` None: of an address (`name`), or of a name that nobody has."""

    name: str
    wait_seconds: float
    user: User | None = None


@dataclass(frozen=True, slots=True)
class Lockouts:
    """All waits of now; `strangers` is the number of names that nobody has."""

    accounts: list[Lockout]
    addresses: list[Lockout]
    strangers: int


def lockouts() -> Lockouts:
    """Who has to wait now. Two queries, and a third while an account is among them."""
    by_address, by_account = login_asks("", "")
    addresses = [
        Lockout(key.removeprefix(BY_ADDRESS), wait) for key, wait in buckets.empty(by_address[0], BY_ADDRESS, MOST)
    ]
    waits = dict(buckets.empty(by_account[0], BY_ACCOUNT, MOST))
    accounts = [Lockout(user.username, waits[key], user) for key, user in _users_of(waits)]
    return Lockouts(accounts, addresses, len(waits) - len({_key(lockout.name) for lockout in accounts}))


def wait_of(user: User) -> float:
    """For how many seconds `user` has to wait now, 0: not at all."""
    return _wait(*login_asks(user.username, "")[1])


def forget_failures(user: User) -> None:
    """Let `user` try again at once: they have proved otherwise who they are."""
    buckets.fill(_key(user.username))


@transaction.atomic
def unlock_account(actor: Actor, *, user_id: int) -> bool:
    """Let the account's person try again at once; whether they had to wait. Raises `Forbidden`, `NotFound`."""
    need_permission(actor, CHANGE_USER)
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such account here.")
    need_rights_over(actor, user)
    waited = wait_of(user) > 0
    if waited:
        record(actor, "user.unlocked", target=user)
    forget_failures(user)
    return waited


@transaction.atomic
def unlock_address(actor: Actor, *, address: str) -> bool:
    """The same for everybody at an address, or in the network that stands for it, as `lockouts` names it."""
    need_permission(actor, CHANGE_USER)
    network = address if "/" in address else network_of(address)
    (limit, _), key = login_asks("", "")[0], f"{BY_ADDRESS}{network}"
    bucket = Bucket.objects.filter(pk=key).first()
    waited = bucket is not None and _wait(limit, key) > 0
    if bucket is not None and waited:
        record(actor, "address.unlocked", target=bucket)
    buckets.fill(key)
    return waited


def _wait(limit: Rate, key: str) -> float:
    full_in = buckets.peek([key]).get(key)
    if full_in is None or not limit.limit or limit.tokens(full_in):
        return 0.0
    return limit.wait_seconds(full_in)


def _users_of(waits: dict[str, float]) -> Iterable[tuple[str, User]]:
    """The accounts behind keys, which hold digests only."""
    if not waits:
        return
    for user in User.objects.order_by("username").iterator():
        if (key := _key(user.username)) in waits:
            yield key, user


def _key(name: str) -> str:
    return f"{BY_ACCOUNT}{name_digest(name)}"
