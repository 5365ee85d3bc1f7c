"""The events of a session as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
import structlog
from django.http import StreamingHttpResponse

from accounts.actor import Actor
from agents.domain.events import TERMINAL_EVENTS, EventType
from agents.domain.serialization import error_frame
from agents.domain.states import TERMINAL, WaitReason
from agents.http.long_responses import LongResponse
from agents.http.request_spans import SSE, SessionDelivery
from agents.relay import LoggedEvent, Resync, Subscription, event_json, get_hub
from agents.sessions import access_turn, read_snapshot
from foundation import strict_json
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from foundation.errors import BandstandError, NotFound, OurFault, Unavailable
from rest.content_negotiation import EVENT_STREAM
from rest.errors import ServerStops

HEARTBEAT_SECONDS = 15.0

log = structlog.get_logger(__name__)

# A comment ends with one line feed: a blank line behind it is an event without data to a common library for browsers
# (Azure/fetch-event-source#15), whose users then fail to read it and ask again.
_OPENING = b": open\n"
_HEARTBEAT = b": heartbeat\n"


def stream_response(
    long: LongResponse,
    actor: Actor,
    *,
    session_id: UUID,
    after: int,
    resync: bool = False,
    turn_id: UUID | None = None,
    agent_id: UUID | None = None,
    headers: dict[str, str] | None = None,
) -> StreamingHttpResponse:
    """A streaming response with the events after seq `after`: of one turn until its end, or of the session until the
    client disconnects.

    `resync` sends a snapshot first, as for an `after` in the future. `long` has its slot, and ends with the stream.
    `agent_id` is the session's, where its delivery is of interest. Must be called on the event loop.
    """
    delivery = SessionDelivery(agent_id, session_id, transport=SSE)
    stream = Stream(long, actor, delivery, session_id=session_id, after=after, resync=resync, turn_id=turn_id)
    return StreamingHttpResponse(
        stream,
        content_type=EVENT_STREAM,
        # Keeps proxies such as nginx from buffering the events.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
    )


class Stream:
    """The event stream of one client. A disconnect closes the subscription, and changes nothing else.

    The server does not close the iterator that it drops; it closes the response, which calls `close`.
    """

    def __init__(
        self,
        long: LongResponse,
        actor: Actor,
        delivery: SessionDelivery,
        *,
        session_id: UUID,
        after: int,
        resync: bool,
        turn_id: UUID | None,
    ) -> None:
        self._actor = actor
        self._session_id = session_id
        self._after = after
        self._resync = resync
        self._turn_id = turn_id
        self._turn = str(turn_id) if turn_id else None
        self._long = long
        self._delivery = delivery
        self._loop = asyncio.get_running_loop()
        self._subscription = get_hub().subscribe(session_id, after)
        long.watch(session_id, self._subscription.close)

    def close(self) -> None:
        """Close the subscription and free the slot; may be called from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._subscription.close)
            self._loop.call_soon_threadsafe(self._long.end)

    def __del__(self) -> None:
        # A request that is cancelled between its view and its first byte drops the response without closing it.
        self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield _OPENING
            async for chunk in self._chunks(self._subscription):
                yield chunk
        except BandstandError as error:
            yield self._error_event(error)
        except DATABASE_FAULTS:
            yield self._error_event(Unavailable(retry_after_seconds=1))
        except Exception as error:
            log.exception("stream.failed", exc_info=error, session=str(self._session_id))
            yield _error_frame_bytes(OurFault())
        finally:
            self._subscription.close()
            self._long.end()

    def _error_event(self, error: BandstandError) -> bytes:
        """The last event of a stream that ends early, and its line in the log: the status was sent long ago."""
        log.warning("stream.ended", session=str(self._session_id), rule=error.context.get("rule", error.code))
        return _error_frame_bytes(error)

    async def _chunks(self, subscription: Subscription) -> AsyncIterator[bytes]:
        if self._resync:
            yield await self._snapshot(subscription)
        last_sent_at = monotonic()
        while True:
            item = await subscription.get(max(0.01, last_sent_at + HEARTBEAT_SECONDS - monotonic()))
            self._long.check()
            if subscription.closed:
                raise ServerStops(retry_after_seconds=1)
            if isinstance(item, Resync):
                yield await self._snapshot(subscription)
                if await self._turn_has_ended():
                    return
            elif item:
                events, is_finished = self._filter_events(item)
                if events:
                    yield "".join(map(_event_frame, events)).encode()
                    last_sent_at = monotonic()
                    for event in events:
                        self._delivery.sent(event)
                    subscription.record_sent(item)
                if is_finished:
                    return
            if monotonic() - last_sent_at >= HEARTBEAT_SECONDS:
                yield _HEARTBEAT
                last_sent_at = monotonic()

    async def _snapshot(self, subscription: Subscription) -> bytes:
        """A `resync` event with the session as it is now, in place of compacted events."""
        snapshot = await in_db_thread(read_snapshot, actor=self._actor, session_id=self._session_id)
        subscription.reset(after=snapshot["seq"])
        data = strict_json.dumps({"type": "resync", **snapshot})
        return b"id: %d\nevent: resync\ndata: %s\n\n" % (snapshot["seq"], data)

    async def _turn_has_ended(self) -> bool:
        if self._turn_id is None:
            return False
        try:
            turn = await in_db_thread(access_turn, actor=self._actor, turn_id=self._turn_id)
        except NotFound:
            return True
        return turn.status in TERMINAL

    def _filter_events(self, events: list[LoggedEvent]) -> tuple[list[LoggedEvent], bool]:
        """The events of the followed turn, and whether they end it; without a turn all of them and False."""
        if self._turn is None:
            return events, False
        turn_events = [event for event in events if event.turn == self._turn]
        return turn_events, bool(turn_events) and turn_events[-1].type in TERMINAL_EVENTS


def waits_for_approval(event: LoggedEvent) -> bool:
    """Whether the turn of `event` waits for a person's approval from then on."""
    return event.type == EventType.TURN_WAITING and orjson.loads(event.data)["for"] == WaitReason.APPROVAL


def _event_frame(event: LoggedEvent) -> str:
    # One line of data: JSON text has no line breaks of its own.
    return f"id: {event.seq}\nevent: {event.type}\ndata: {event_json(event)}\n\n"


def _error_frame_bytes(error: BandstandError) -> bytes:
    # Without an id, so that a reconnecting client resumes after the last real event.
    return b"event: error\ndata: %s\n\n" % strict_json.dumps(error_frame(error))


async def wait_until_terminal(
    long: LongResponse, *, session_id: UUID, turn_id: UUID, after: int, seconds: float, or_approval: bool = False
) -> int | None:
    """Return None when the turn's end is in the log, when its events were compacted, or after `seconds`; with
    `or_approval` also when it begins to wait for a person's approval: the seq of that event.

    Raises `Unauthenticated` and `NotFound` when the client loses its rights meanwhile.
    """
    subscription = get_hub().subscribe(session_id, after)
    long.watch(session_id, subscription.close)
    turn_text, ends_at = str(turn_id), monotonic() + seconds
    try:
        while (remaining := ends_at - monotonic()) > 0:
            item: Any = await subscription.get(remaining)
            long.check()
            if item is None or isinstance(item, Resync):
                return None
            for event in item:
                if event.turn == turn_text and event.type in TERMINAL_EVENTS:
                    return None
                if event.turn == turn_text and or_approval and waits_for_approval(event):
                    return int(event.seq)
        return None
    finally:
        subscription.close()
