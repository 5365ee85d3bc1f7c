"""From the model's text to rows in the log: the first text at once, then with every tick."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agents.engine.ticker import TICK_SECONDS, Ticker, TickSlot

FLUSH_SECONDS = TICK_SECONDS
FLUSH_BYTES = 1024
# Shorter waits are not worth a timer, and times that differ by less count as the same tick.
_EPSILON_SECONDS = 0.001


class DeltaBuffer:
    """Gathers text and hands it to `flush`, never two flushes at a time.

    The first text goes out as soon as the event loop is free, which lets an answer that arrives whole be committed
    together with its end. A flush that fails is reported once, to `on_failed` and again by `close`.
    """

    def __init__(
        self, flush: Callable[[str], Awaitable[object]], on_failed: Callable[[], object], ticker: Ticker
    ) -> None:
        self._flush_text = flush
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._pieces: list[str] = []
        self._size = 0
        self._ticker = ticker
        self._timer: asyncio.Handle | TickSlot | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_flush_at = -FLUSH_SECONDS
        self._error: BaseException | None = None
        self._closed = False

    def feed(self, text: str) -> None:
        """Add text; it is flushed `FLUSH_SECONDS` after the last flush at the latest."""
        self._pieces.append(text)
        self._size += len(text)
        if self._task is not None or self._closed:
            return
        if self._timer is None:
            self._schedule()
        elif self._size >= FLUSH_BYTES:
            self._timer.cancel()
            self._start()

    async def close(self) -> str:
        """Wait for the flush under way and return the text that was not flushed. Raises what a flush has raised."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._error is not None:
            raise self._error
        return self._take_text()

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
        self._task = self._loop.create_task(self._run(self._take_text()), name="flush")

    async def _run(self, text: str) -> None:
        try:
            self._last_flush_at = self._loop.time()
            await self._flush_text(text)
        except BaseException as error:
            self._error = error
            self._closed = True
            self._on_failed()
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._task = None
        if self._pieces and not self._closed:
            self._schedule()

    def _take_text(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return text
