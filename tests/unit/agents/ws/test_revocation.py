"""The watch over open sockets: nothing that one of them does, and no error, keeps it from closing the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from uuid import UUID, uuid4

import pytest

from agents.ws import revocation
from agents.ws.close_codes import CloseCode
from agents.ws.connection_slots import ConnectionSlots
from agents.ws.credentials import Credential
from agents.ws.revocation import RevocationWatch

A_WHILE = 5.0


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "unreachable_sessions", lambda _sessions: set[UUID]())
    monkeypatch.setattr(ConnectionSlots, "renew_if_due", lambda _slots: None)


class Open:
    """A socket of a user of its own, that says when it is closed, and takes its time."""

    def __init__(self, user_id: int, *, seconds: float = 0.0) -> None:
        self.session_id = uuid4()
        self.credential = Credential(user_id=user_id, scopes=frozenset())
        self._seconds = seconds
        self.codes: list[CloseCode] = []
        self.closed = asyncio.Event()

    async def close(self, code: CloseCode) -> None:
        self.codes.append(code)
        self.closed.set()
        await asyncio.sleep(self._seconds)


async def test_a_socket_that_does_not_read_its_close_frame_keeps_no_other_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "revoked_credentials", set[Credential])  # all are lost
    looker = RevocationWatch(period_seconds=0.01)
    sockets = [Open(number, seconds=3600) for number in range(5)]
    for socket in sockets:
        looker.add(socket)
    await asyncio.wait_for(asyncio.gather(*(socket.closed.wait() for socket in sockets)), A_WHILE)
    await asyncio.sleep(0.05)  # several looks later
    assert [socket.codes for socket in sockets] == [[CloseCode.FORBIDDEN]] * 5
    for socket in sockets:
        await looker.discard(socket)


async def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def second_time_lucky(credentials: Collection[Credential]) -> set[Credential]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise LookupError("nobody thought of this")
        return set(credentials)

    monkeypatch.setattr(revocation, "revoked_credentials", second_time_lucky)
    looker, socket = RevocationWatch(period_seconds=0.01), Open(1)
    looker.add(socket)
    await asyncio.wait_for(socket.closed.wait(), A_WHILE)
    await looker.discard(socket)
