"""Write the deltas of all turns of a process with one commit per tick.

A runner with thirty turns would commit seven hundred times a second if each turn flushed by itself. Instead they flush
at common ticks (see `agents.engine.ticker`), and writes that are requested during a commit are combined in the next
one.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, Task
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agents.engine.delta_buffer import DeltaBuffer
from agents.engine.ticker import Ticker
from agents.journal.claims import Claim
from agents.journal.fenced_writes import NewEvent, append, append_each
from foundation.db_threads import DATABASE_FAULTS, in_db_thread

# Deltas in one commit at most.
BATCH = 64


@dataclass(frozen=True, slots=True)
class _Write:
    claim: Claim
    event: NewEvent
    done: Future[None]

    async def commit(self) -> None:
        """Write this delta in a commit of its own, and resolve `done`."""
        try:
            await in_db_thread(append, self.claim, [self.event])
        except Exception as error:
            self.fail(error)
        else:
            self.succeed()

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class BatchingDeltaWriter:
    """The writer of one event loop: one common commit at a time, on a ticker that all its buffers share."""

    def __init__(self) -> None:
        self._ticker = Ticker()
        self._waiting: list[_Write] = []
        self._writer: Task[None] | None = None
        # Writes without others to combine with, and those that the common commit skipped: whatever lock they wait
        # for, the others do not.
        self._single_writes: set[Task[None]] = set()

    def open_buffer(self, claim: Claim, on_failed: Callable[[], object]) -> DeltaBuffer:
        """A buffer for the words of one model call, which it writes to the log of the turn; `on_failed` is called when
        a write fails."""
        return DeltaBuffer(partial(self.write, claim), on_failed, self._ticker)

    async def write(self, claim: Claim, delta: NewEvent) -> None:
        """Append `delta` to the log of the turn, durably. Raises `LostTurn` and database errors.

        A turn may call this again when its last delta is written. A caller that is cancelled still waits for the write:
        it cannot be undone, and no other write may overtake it.
        """
        done: Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Write(claim, delta, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._drain(), name="deltas")
            self._writer.add_done_callback(self._on_drained)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])
            if not done.cancelled():
                done.exception()
            raise

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            await self._commit(batch)

    def _on_drained(self, task: Task[None]) -> None:
        if task.cancelled():  # the process ends
            for write in self._waiting:
                write.done.cancel()
            self._waiting.clear()

    async def _commit(self, batch: list[_Write]) -> None:
        if len(batch) == 1:
            self._write_single(batch[0])
            return
        try:
            written = await in_db_thread(append_each, [(write.claim, write.event) for write in batch])
        except DATABASE_FAULTS as error:
            # Whether it was committed is unknown, for each of them.
            for write in batch:
                write.fail(error)
            return
        except asyncio.CancelledError:
            for write in batch:
                write.done.cancel()
            raise
        except Exception:
            # The statement failed for something in one of them. The others must not fail with it.
            written = set()
        for write in batch:
            if (write.claim.turn_id, write.claim.epoch) in written:
                write.succeed()
            else:
                self._write_single(write)

    def _write_single(self, write: _Write) -> None:
        task = asyncio.create_task(write.commit(), name="delta")
        self._single_writes.add(task)
        task.add_done_callback(lambda _: self._on_single_written(task, write))

    def _on_single_written(self, task: Task[None], write: _Write) -> None:
        self._single_writes.discard(task)
        if task.cancelled():
            write.done.cancel()
