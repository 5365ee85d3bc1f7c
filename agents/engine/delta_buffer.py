"""From the model's text and reasoning to rows in the log: the first words at once, then with every tick."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agents.domain.events import EventType, MessageDelta, ReasoningDeltaData
from agents.engine.ticker import TICK_SECONDS, Ticker, TickSlot
from agents.journal.fenced_writes import NewEvent

FLUSH_SECONDS = TICK_SECONDS
FLUSH_BYTES = 1024
# Shorter waits are not worth a timer, and times that differ by less count as the same tick.
_EPSILON_SECONDS = 0.001


class DeltaBuffer:
    """Gathers text and reasoning, in their order, and hands them to `flush`, never two flushes at a time. A flush takes
    as much as is of one type.

    The first text goes out as soon as the event loop is free, which lets an answer that arrives whole be committed
    together with its end. A flush that fails is reported once, to `on_failed` and again by `close`.
    """

    def __init__(
        self, flush: Callable[[NewEvent], Awaitable[object]], on_failed: Callable[[], object], ticker: Ticker
    ) -> None:
        self._flush = flush
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        # Runs of one type: its pieces, joined when they are flushed.
        self._runs: list[tuple[EventType, list[str]]] = []
        self._size = 0
        self._ticker = ticker
        self._timer: asyncio.Handle | TickSlot | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_flush_at = -FLUSH_SECONDS
        self._error: BaseException | None = None
        self._closed = False

    def feed(self, text: str, event_type: EventType = EventType.MESSAGE_DELTA) -> None:
        """Add text; it is flushed `FLUSH_SECONDS` after the last flush at the latest, unless text of another type comes
        first."""
        if not self._runs or self._runs[-1][0] is not event_type:
            self._runs.append((event_type, []))
        self._runs[-1][1].append(text)
        self._size += len(text)
        if self._task is not None or self._closed:
            return
        if self._timer is None:
            self._schedule()
        elif self._size >= FLUSH_BYTES:
            self._timer.cancel()
            self._start()

    async def close(self) -> list[NewEvent]:
        """Wait for the flush under way and return what was not flushed. Raises what a flush has raised."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._error is not None:
            raise self._error
        unsent = []
        while self._runs:
            unsent.append(self._take())
        return unsent

    def _schedule(self) -> None:
        due_at = self._last_flush_at + FLUSH_SECONDS
        if due_at - self._loop.time() < _EPSILON_SECONDS or self._size >= FLUSH_BYTES:
            self._timer = self._loop.call_soon(self._start)
        elif self._ticker.next_tick_time() < due_at + _EPSILON_SECONDS:
            self._timer = self._ticker.join(self._start)
        else:
            self._timer = self._loop.call_at(due_at, self._start)

    def _start(self) -> None:
        self._timer = None
        self._task = self._loop.create_task(self._run(self._take()), name="flush")

    async def _run(self, event: NewEvent) -> None:
        try:
            self._last_flush_at = self._loop.time()
            await self._flush(event)
        except BaseException as error:
            self._error = error
            self._closed = True
            self._on_failed()
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._task = None
        if self._runs and not self._closed:
            self._schedule()

    def _take(self) -> NewEvent:
        event_type, pieces = self._runs.pop(0)
        text = "".join(pieces)
        self._size -= len(text)
        is_reasoning = event_type is EventType.REASONING_DELTA
        return NewEvent(event_type, ReasoningDeltaData(text=text) if is_reasoning else MessageDelta(text=text))
