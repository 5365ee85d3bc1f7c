"""Sends the events of a session to one socket: first the missed ones, then live, with flow control by the client's
acknowledgements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from accounts.actor import Actor
from agents.http.request_spans import WEBSOCKET, SessionDelivery
from agents.relay import LoggedEvent, Resync, Subscription, event_json, get_hub
from agents.sessions import access_session, read_snapshot
from agents.ws import frames
from agents.ws.close_codes import CloseCode
from agents.ws.socket_limits import SocketLimits, Window
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from foundation.errors import NotFound, Unavailable

T = TypeVar("T")

DATABASE_RETRY_SECONDS = 1.0


class EventSocket(Protocol):
    """What the sender needs of a socket."""

    actor: Actor
    session_id: UUID
    limits: SocketLimits

    @property
    def closed(self) -> bool: ...

    def send_text(self, text: str) -> Coroutine[Any, Any, None]: ...

    def close(self, code: CloseCode) -> Coroutine[Any, Any, None]: ...

    def refuse(self, rule: str, code: CloseCode) -> Coroutine[Any, Any, None]: ...

    def fail(self) -> Coroutine[Any, Any, None]: ...


class EventSender:
    """One task that sends events, started by `follow` and ended by `stop`."""

    def __init__(self, socket: EventSocket) -> None:
        self._socket = socket
        self._window = Window(socket.limits.unseen_events)
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._live_timer: asyncio.TimerHandle | None = None
        self._opening_seq = 0
        self._delivery: SessionDelivery | None = None

    def go_live_later(self, opening_seq: int, agent_id: UUID) -> None:
        """Go live after `hold_seconds` from `opening_seq`, unless `follow` is called before. `agent_id` is the
        session's.

        A client resumes right after `ready`; events sent before that would reach it out of order.
        """
        self._opening_seq = opening_seq
        self._delivery = SessionDelivery(agent_id, self._socket.session_id, transport=WEBSOCKET)
        loop = asyncio.get_running_loop()
        self._live_timer = loop.call_later(self._socket.limits.hold_seconds, self.follow, opening_seq)

    def go_live(self) -> None:
        """Send what is new since the socket was opened, unless the task runs already."""
        self.follow(self._opening_seq)

    def follow(self, after: int) -> None:
        """Send the events after seq `after`, unless the task runs already."""
        self._cancel_timer()
        if not self._socket.closed and self._task is None:
            self._window.clear()
            self._task = asyncio.create_task(self._send(after), name=f"ws-relay-{self._socket.session_id}")

    def acknowledge(self, seq: int) -> None:
        """The client has handled every event up to `seq`."""
        self._window.acknowledge(seq)
        if not self._window.full:
            self._room.set()

    async def stop(self) -> None:
        """Cancel the task and wait for its end."""
        self._cancel_timer()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _cancel_timer(self) -> None:
        if self._live_timer is not None:
            self._live_timer.cancel()
            self._live_timer = None

    async def _send(self, after: int) -> None:
        try:
            await self._send_events(after)
        except NotFound:
            # The session was deleted while the socket was open.
            await self._socket.close(CloseCode.UNKNOWN_SESSION)
        except Exception:
            await self._socket.fail()

    async def _send_events(self, after: int) -> None:
        if after > self._opening_seq and after > await self._last_seq():
            after = await self._send_snapshot()
        subscription = get_hub().subscribe(self._socket.session_id, after)
        try:
            while not self._socket.closed:
                item = await subscription.get()
                if item is None:
                    # The hub is closed: this process shuts down.
                    await self._socket.close(CloseCode.RESTART)
                elif isinstance(item, Resync):
                    subscription.reset(after=await self._send_snapshot())
                else:
                    await self._send_batch(subscription, item)
        finally:
            subscription.close()

    async def _send_batch(self, subscription: Subscription, batch: Sequence[LoggedEvent]) -> None:
        window, send, delivery = self._window, self._socket.send_text, self._delivery
        for event in batch:
            if window.full:
                await self._wait_for_room(subscription)
            if self._socket.closed:
                return
            window.add(event.seq)
            await send(event_json(event))
            if delivery is not None:
                delivery.sent(event)
        subscription.record_sent(batch)

    async def _wait_for_room(self, subscription: Subscription) -> None:
        """Wait for an acknowledgement; without one in time the socket is closed.

        The server's own buffers do not show what a page has handled.
        """
        self._room.clear()
        subscription.pause()
        try:
            async with asyncio.timeout(self._socket.limits.seen_timeout_seconds):
                await self._room.wait()
        except TimeoutError:
            await self._socket.refuse("slow_client", CloseCode.SLOW_CLIENT)
        else:
            subscription.resume()

    async def _send_snapshot(self) -> int:
        """Send the state as it is now, and return its seq."""
        socket = self._socket
        snapshot = await self._retry_read(lambda: read_snapshot(actor=socket.actor, session_id=socket.session_id))
        self._window.clear()
        await socket.send_text(frames.resync(snapshot))
        return int(snapshot["seq"])

    async def _last_seq(self) -> int:
        socket = self._socket
        session = await self._retry_read(lambda: access_session(actor=socket.actor, session_id=socket.session_id))
        return session.next_seq - 1

    async def _retry_read(self, read: Callable[[], T]) -> T:
        """The result of `read`, retried until the database answers; the client gets one `unavailable` error."""
        is_notified = False
        while True:
            try:
                return await in_db_thread(read)
            except (*DATABASE_FAULTS, Unavailable):
                if not is_notified:
                    await self._socket.send_text(frames.error(Unavailable()))
                is_notified = True
                await asyncio.sleep(DATABASE_RETRY_SECONDS)
