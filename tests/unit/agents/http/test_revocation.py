"""The watch over open connections: nothing that one of them does, and no error, keeps it from ending the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from uuid import UUID, uuid4

import pytest

from agents.http import revocation
from agents.http.connection_slots import ConnectionSlots
from agents.http.credentials import Credential, LostRights
from agents.http.revocation import Revocation, RevocationWatch

A_WHILE = 5.0


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectionSlots, "renew_if_due", lambda _slots: None)


def all_lost(credentials: Collection[Credential], _sessions: Collection[UUID]) -> LostRights:
    return LostRights(frozenset(credentials), frozenset())


class Open:
    """A connection of a user of its own, that notes why it is to end, and goes on."""

    def __init__(self, user_id: int) -> None:
        self.session_id = uuid4()
        self.credential = Credential(user_id=user_id, scopes=frozenset())
        self.reasons: list[Revocation] = []
        self.revoked = asyncio.Event()

    def revoke(self, reason: Revocation) -> None:
        self.reasons.append(reason)
        self.revoked.set()


async def test_a_connection_that_does_not_end_keeps_no_other_open_and_is_revoked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(revocation, "find_lost_rights", all_lost)
    watch = RevocationWatch(period_seconds=0.01)
    connections = [Open(number) for number in range(5)]
    for connection in connections:
        watch.add(connection)
    await asyncio.wait_for(asyncio.gather(*(connection.revoked.wait() for connection in connections)), A_WHILE)
    await asyncio.sleep(0.05)  # several checks later
    assert [connection.reasons for connection in connections] == [[Revocation.CREDENTIAL]] * 5
    for connection in connections:
        watch.discard(connection)


async def test_all_connections_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[tuple[int, int]] = []
    second = asyncio.Event()
    loop = asyncio.get_running_loop()

    def nothing_lost(credentials: Collection[Credential], sessions: Collection[UUID]) -> LostRights:
        checks.append((len(credentials), len(sessions)))
        if len(checks) == 2:
            loop.call_soon_threadsafe(second.set)
        return LostRights(frozenset(), frozenset())

    monkeypatch.setattr(revocation, "find_lost_rights", nothing_lost)
    watch = RevocationWatch(period_seconds=0.01)
    connections = [Open(number % 10) for number in range(1000)]
    for connection in connections:
        watch.add(connection)
    await asyncio.wait_for(second.wait(), A_WHILE)
    assert checks[0] == (10, 1000), "one check for all, each credential once"
    for connection in connections:
        watch.discard(connection)


async def test_a_check_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = 0

    def second_time_lucky(credentials: Collection[Credential], sessions: Collection[UUID]) -> LostRights:
        nonlocal checks
        checks += 1
        if checks == 1:
            raise LookupError("nobody thought of this")
        return LostRights(frozenset(), frozenset(sessions))

    monkeypatch.setattr(revocation, "find_lost_rights", second_time_lucky)
    watch, connection = RevocationWatch(period_seconds=0.01), Open(1)
    watch.add(connection)
    await asyncio.wait_for(connection.revoked.wait(), A_WHILE)
    assert connection.reasons == [Revocation.SESSION]
    watch.discard(connection)
