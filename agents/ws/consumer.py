"""One websocket on one session: accepts frames, sends the events of the log, and never waits for a turn.

Three tasks per socket. The consumer's own only receives, so that a flood is noticed while the database is slow. The
worker handles frames one after the other, in order. The event sender sends events from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import structlog
from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from accounts.actor import Actor
from agents.http.connection_slots import ConnectionSlots, SlotLease, TooManyConnections, get_slots
from agents.http.credentials import Credential
from agents.http.request_spans import WEBSOCKET, record_admission
from agents.http.revocation import Revocation, RevocationWatch, get_revocation_watch
from agents.models import AgentSession, Turn
from agents.sessions import accept_message, access_session, access_turn, cancel_turn
from agents.ws import frames
from agents.ws.close_codes import CloseCode
from agents.ws.event_sender import EventSender
from agents.ws.socket_limits import SlidingWindow, SocketLimits
from foundation.clock import now
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from foundation.errors import (
    BandstandError,
    Forbidden,
    InvalidInput,
    Malformed,
    NotFound,
    OurFault,
    TooLarge,
    Unavailable,
)

log = structlog.get_logger(__name__)


class SessionSocket(AsyncConsumer):  # type: ignore[misc]  # Channels is not typed
    """The consumer of `/ws/sessions/{id}/`. The scope carries `actor` and `credential`; see `agents.ws.auth`."""

    def __init__(
        self,
        limits: SocketLimits | None = None,
        watch: RevocationWatch | None = None,
        slots: ConnectionSlots | None = None,
    ) -> None:
        self.limits = limits or SocketLimits()
        self._watch = watch or get_revocation_watch()
        self._frame_rate = SlidingWindow(self.limits.frames_per_second, 1.0)
        self._fault_rate = SlidingWindow(self.limits.bad_frames, self.limits.bad_frames_seconds)
        self._pending: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._pending_size = 0
        self._sender = EventSender(self)
        self._worker: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._slots = slots or get_slots()
        self._slot: SlotLease | None = None
        self._closed = False

    # The ASGI side

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.actor: Actor = scope["actor"]
        self.credential: Credential = scope["credential"]
        self.session_id: UUID = scope["url_route"]["kwargs"]["session_id"]
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._end()

    async def dispatch(self, message: dict[str, Any]) -> None:
        # Channels' own would hop to a thread at every frame, to close connections that this consumer never opens.
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def websocket_connect(self, _message: dict[str, Any]) -> None:
        offered = self.scope.get("subprotocols") or []
        subprotocol = frames.SUBPROTOCOL if frames.SUBPROTOCOL in offered else None
        await self.send({"type": "websocket.accept", "subprotocol": subprotocol})
        if offered and subprotocol is None:
            await self.close(CloseCode.PROTOCOL)
            return
        self._watch.add(self)
        self._worker = self._task(self._run_worker, "worker")

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self._closed:
            return
        size = _message_size(message)
        if size > frames.MAX_FRAME_BYTES:
            self._close_without_waiting("too_large", CloseCode.TOO_LARGE)
        elif self._is_flooding(size):
            self._close_without_waiting("rate", CloseCode.RATE)
        else:
            self._pending_size += size
            self._pending.put_nowait(message)

    async def websocket_disconnect(self, _message: dict[str, Any]) -> None:
        self._closed = True
        raise StopConsumer

    def _is_flooding(self, size: int) -> bool:
        limits = self.limits
        return (
            self._frame_rate.exceeded(monotonic())
            or self._pending.qsize() >= limits.pending_frames
            or self._pending_size + size > limits.pending_bytes
        )

    # To the client

    @property
    def closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self._closed

    async def close(self, code: CloseCode) -> None:
        """Say goodbye with `code`; nothing is sent after it. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await self.send({"type": "websocket.close", "code": int(code)})

    async def refuse(self, rule: str, code: CloseCode) -> None:
        """Close with `code` because the client broke `rule`."""
        self._log_refusal(rule)
        await self.close(code)

    async def fail(self) -> None:
        """Send the current exception as an internal error, and close."""
        await self.send_text(frames.error(self._log_our_fault()))
        await self.close(CloseCode.OUR_FAULT)

    def revoke(self, reason: Revocation) -> None:
        """Close because the credential is no longer valid, or the session out of reach."""
        by_session = reason is Revocation.SESSION
        self._close_without_waiting("revoked", CloseCode.UNKNOWN_SESSION if by_session else CloseCode.FORBIDDEN)

    def _close_without_waiting(self, rule: str, code: CloseCode) -> None:
        """Like `refuse`, without waiting: a client that floods and does not read would have what it sends meanwhile
        pile up before the task that receives."""
        self._log_refusal(rule)
        self._closed = True
        self._closing = self._task(lambda: self.send({"type": "websocket.close", "code": int(code)}), "goodbye")

    async def send_text(self, text: str) -> None:
        """Send one frame, unless the socket is closed."""
        if not self._closed:
            await self.send({"type": "websocket.send", "text": text})

    # Frames, one after the other

    async def _run_worker(self) -> None:
        try:
            await self._open()
        except NotFound:
            await self.refuse("unknown_session", CloseCode.UNKNOWN_SESSION)
        except Forbidden as fault:
            await self.send_text(frames.error(fault))
            await self.refuse("scope", CloseCode.FORBIDDEN)
        except TooManyConnections as fault:
            await self.send_text(frames.error(fault))
            await self.refuse("connections", CloseCode.RATE)
        except (*DATABASE_FAULTS, Unavailable):
            await self.send_text(frames.error(Unavailable()))
            await self.close(CloseCode.OVERLOAD)
        except Exception:
            await self.fail()
        while not self._closed:
            message = await self._pending.get()
            self._pending_size -= _message_size(message)
            await self._read(message.get("text"))

    async def _open(self) -> None:
        self._slot = self._slots.lease(self.actor)
        session = await in_db_thread(self._acquire_slot, self._slot)
        opening_seq = session.next_seq - 1
        await self.send_text(frames.ready(self.session_id, opening_seq))
        self._sender.go_live_later(opening_seq, session.agent_id)

    def _acquire_slot(self, slot: SlotLease) -> AgentSession:
        session = access_session(actor=self.actor, session_id=self.session_id)
        slot.acquire()
        return session

    async def _read(self, text: str | None) -> None:
        try:
            if text is None:
                raise Malformed("Frames are text.")
            frame = frames.read_frame(text)
        except TooLarge:
            await self.refuse("too_large", CloseCode.TOO_LARGE)
        except (Malformed, InvalidInput) as fault:
            self._log_refusal(fault.code)
            await self.send_text(frames.error(fault, frames.frame_ref(fault)))
            if self._fault_rate.exceeded(monotonic()):
                await self.close(CloseCode.PROTOCOL)
        else:
            await self._answer(frame)

    async def _answer(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Resume):
            await self._sender.stop()
            self._sender.follow(frame.after)
            return
        self._sender.go_live()
        match frame:
            case frames.Seen(seq):
                self._sender.acknowledge(seq)
            case frames.Ping():
                await self.send_text(frames.PONG)
            case frames.MessageCreate(client_msg_id=ref):
                await self._reply(self._create, frame, ref)
            case frames.TurnCancel(turn=turn):
                await self._reply(self._cancel, frame, str(turn))

    async def _reply(self, handler: Callable[[Any], Awaitable[str]], frame: frames.Frame, ref: str) -> None:
        """Send the answer of `handler` to `frame`, or its error. A failed frame never ends the socket."""
        try:
            answer = await handler(frame)
        except BandstandError as fault:
            self._log_refusal(fault.context.get("rule", fault.code))
            answer = frames.error(fault, ref)
        except DATABASE_FAULTS:
            answer = frames.error(Unavailable(), ref)
        except Exception:
            answer = frames.error(self._log_our_fault(), ref)
        await self.send_text(answer)

    async def _create(self, frame: frames.MessageCreate) -> str:
        started_at = now()
        accepted = await in_db_thread(
            accept_message,
            self.actor,
            session_id=self.session_id,
            text=frame.text,
            key=frame.client_msg_id,
            parent=frame.parent,
        )
        record_admission(accepted.agent_id, self.session_id, accepted.turn_id, started_at, transport=WEBSOCKET)
        return frames.message_ack(frame.client_msg_id, accepted.turn_id, accepted.seq)

    async def _cancel(self, frame: frames.TurnCancel) -> str:
        turn = await in_db_thread(_cancel_session_turn, self.actor, self.session_id, frame.turn)
        return frames.cancel_ack(turn.id, turn.status)

    # Life

    def _task(self, work: Callable[[], Any], role: str) -> asyncio.Task[None]:
        return asyncio.create_task(work(), name=f"ws-{role}-{self.session_id}")

    async def _end(self) -> None:
        self._closed = True
        if self._worker is not None:
            await _cancel_task(self._worker)
        if self._closing is not None:
            await _cancel_task(self._closing)
        await self._sender.stop()
        self._watch.discard(self)
        if self._slot is not None:
            self._slot.cancel()
            if self._slot.is_acquired:
                await in_db_thread(self._slot.release)

    def _log_refusal(self, rule: str) -> None:
        log.warning("websocket.refused", rule=rule, actor=self.actor.name, session=str(self.session_id))

    def _log_our_fault(self) -> OurFault:
        """Log the current exception; return the error for the client, with an id that is in the log."""
        error_id = str(uuid4())
        log.exception("websocket.failed", error_id=error_id, session=str(self.session_id))
        return OurFault(f"Something went wrong on our side (error {error_id}).")


def _message_size(message: dict[str, Any]) -> int:
    text = message.get("text")
    return len(text) if text is not None else len(message.get("bytes") or b"")


def _cancel_session_turn(actor: Actor, session_id: UUID, turn_id: UUID) -> Turn:
    if access_turn(actor=actor, turn_id=turn_id).agent_session_id != session_id:
        raise NotFound
    return cancel_turn(actor, turn_id=turn_id)


async def _cancel_task(task: asyncio.Task[None]) -> None:
    """Cancel `task` and wait until it has ended. Our own cancellation goes through."""
    task.cancel()
    await asyncio.wait([task])
