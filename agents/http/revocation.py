"""One check per process of the rights behind all open connections: websockets, event streams, waiting requests."""

from __future__ import annotations

import asyncio
from contextvars import Context
from enum import Enum, auto
from typing import Protocol
from uuid import UUID

import structlog

from agents.http.connection_slots import ConnectionSlots, get_slots
from agents.http.credentials import Credential, LostRights, find_lost_rights
from foundation.db_threads import DATABASE_FAULTS, in_db_thread

log = structlog.get_logger(__name__)

# A revoked credential must lose its open connections within 5 s; one check costs one query for the whole process.
PERIOD_SECONDS = 2.0


class Revocation(Enum):
    """Why a connection ends: its credential is no longer valid, or its session is out of reach."""

    CREDENTIAL = auto()
    SESSION = auto()


class WatchedConnection(Protocol):
    """An open connection."""

    @property
    def credential(self) -> Credential: ...

    @property
    def session_id(self) -> UUID: ...

    def revoke(self, reason: Revocation) -> None:
        """End soon. Must not wait: a client that does not read must not delay the others."""
        ...


class RevocationWatch:
    """Checks the added connections every `period_seconds`, while there are any, and revokes each once.

    Without a period it is `PERIOD_SECONDS`. Used on one event loop only.
    """

    def __init__(self, period_seconds: float | None = None, slots: ConnectionSlots | None = None) -> None:
        self._slots = slots or get_slots()
        self._period_seconds = PERIOD_SECONDS if period_seconds is None else period_seconds
        self._connections: set[WatchedConnection] = set()
        # Those that are about to end.
        self._revoked: set[WatchedConnection] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, connection: WatchedConnection) -> None:
        self._connections.add(connection)
        if self._task is None:
            # In a context of its own: what it does for all counts for nobody.
            self._task = asyncio.create_task(self._run(), name="revocation-watch", context=Context())

    def discard(self, connection: WatchedConnection) -> None:
        """Stop watching `connection`; safe to call twice."""
        self._connections.discard(connection)
        self._revoked.discard(connection)
        if not self._connections and self._task is not None:
            task, self._task = self._task, None
            task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period_seconds)
            watched = list(self._connections)
            try:
                lost = await in_db_thread(
                    self._check, {each.credential for each in watched}, {each.session_id for each in watched}
                )
            except DATABASE_FAULTS:
                # Without the database nothing can be read or written through a connection either.
                continue
            except Exception:
                # Go on after any error: no other task checks, and the next check may succeed.
                log.exception("revocation_watch.failed")
                continue
            for connection in watched:
                if connection in self._connections and connection not in self._revoked:
                    self._revoke_if_lost(connection, lost)

    def _check(self, credentials: set[Credential], sessions: set[UUID]) -> LostRights:
        self._slots.renew_if_due()
        return find_lost_rights(credentials, sessions)

    def _revoke_if_lost(self, connection: WatchedConnection, lost: LostRights) -> None:
        if connection.credential in lost.credentials:
            reason = Revocation.CREDENTIAL
        elif connection.session_id in lost.sessions:
            reason = Revocation.SESSION
        else:
            return
        self._revoked.add(connection)
        log.warning(
            "connection.revoked",
            user=connection.credential.user_id,
            key=str(connection.credential.key_id or ""),
            session=str(connection.session_id),
            reason=reason.name.lower(),
        )
        connection.revoke(reason)


_watch: RevocationWatch | None = None
_loop: asyncio.AbstractEventLoop | None = None


def get_revocation_watch() -> RevocationWatch:
    """The watch of the running event loop."""
    global _watch, _loop
    loop = asyncio.get_running_loop()
    if _watch is None or _loop is not loop:
        _watch, _loop = RevocationWatch(), loop
    return _watch
