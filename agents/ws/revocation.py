"""Closes the open sockets of this process whose credential was revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol
from uuid import UUID

import structlog

from agents.ws.close_codes import CloseCode
from agents.ws.connection_slots import ConnectionSlots, get_slots
from agents.ws.credentials import Credential, revoked_credentials, unreachable_sessions
from foundation.db_threads import DATABASE_FAULTS, in_db_thread

log = structlog.get_logger(__name__)

# A revoked credential must lose its open sockets within 5 s; one check costs four queries for the whole process.
PERIOD_SECONDS = 2.0


class WatchedSocket(Protocol):
    """An open socket."""

    credential: Credential
    session_id: UUID

    def close(self, code: CloseCode) -> Coroutine[Any, Any, None]: ...


class RevocationWatch:
    """Checks the added sockets every `period_seconds`, while there are any."""

    def __init__(self, period_seconds: float = PERIOD_SECONDS, slots: ConnectionSlots | None = None) -> None:
        self._slots = slots or get_slots()
        self._period_seconds = period_seconds
        self._sockets: dict[Credential, set[WatchedSocket]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing: dict[WatchedSocket, asyncio.Task[None]] = {}

    def add(self, socket: WatchedSocket) -> None:
        self._sockets.setdefault(socket.credential, set()).add(socket)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ws-watch")

    async def discard(self, socket: WatchedSocket) -> None:
        sockets = self._sockets.get(socket.credential, set())
        sockets.discard(socket)
        if not sockets:
            self._sockets.pop(socket.credential, None)
        if not self._sockets and self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._period_seconds)
            try:
                revoked, unreachable = await in_db_thread(self._check, list(self._sockets), self._sessions())
            except DATABASE_FAULTS:
                # Without the database nothing can be read or written through a socket either.
                continue
            except Exception:
                # Go on after any error: no other task checks, and the next check may succeed.
                log.exception("websocket_watch.failed")
                continue
            for credential, sockets in list(self._sockets.items()):
                for socket in sockets - self._closing.keys():
                    if credential in revoked:
                        self._close(socket, CloseCode.FORBIDDEN)
                    elif socket.session_id in unreachable:
                        self._close(socket, CloseCode.UNKNOWN_SESSION)

    def _sessions(self) -> set[UUID]:
        return {socket.session_id for sockets in self._sockets.values() for socket in sockets}

    def _check(self, credentials: list[Credential], sessions: set[UUID]) -> tuple[set[Credential], set[UUID]]:
        self._slots.renew_if_due()
        return revoked_credentials(credentials), unreachable_sessions(sessions)

    def _close(self, socket: WatchedSocket, code: CloseCode) -> None:
        """Close each socket in a task of its own: a client that does not read must not delay the others."""
        credential, session = socket.credential, str(socket.session_id)
        log.warning(
            "websocket.revoked", user=credential.user_id, key=str(credential.key_id or ""), session=session, code=code
        )
        task = asyncio.create_task(socket.close(code), name="ws-close")
        self._closing[socket] = task
        task.add_done_callback(lambda done: self._forget_closed(socket, done))

    def _forget_closed(self, socket: WatchedSocket, done: asyncio.Task[None]) -> None:
        del self._closing[socket]
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("websocket_close.failed", exc_info=error)


_watch: RevocationWatch | None = None


def get_revocation_watch() -> RevocationWatch:
    """The watch of this process."""
    global _watch  # noqa: PLW0603 - one per process is the point
    if _watch is None:
        _watch = RevocationWatch()
    return _watch
