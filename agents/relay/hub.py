"""The hub of a process: it reads the log once for all watchers, and no watcher misses or repeats an event.

A watcher is a cursor. Catching up, following live and recovering from an overflow are one operation, "read what
follows the cursor": a NOTIFY only says that it is worth doing now, and a poll each second does it anyway. For a
watcher with a full buffer nothing is read until it has room; its events wait in the table.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from agents.budgets.exhausted_budgets import exhausted_budgets
from agents.journal import sql
from agents.journal.listen_connection import open_listen_connection
from agents.journal.log import LoggedEvent
from agents.relay.event_lag import EventLag
from foundation.clock import now
from foundation.page_size import PAGE_BYTES
from foundation.pg_listener import ListeningThread, RowListener, Wake

# The largest number of events in memory for one watcher, and of one read for it. A large event counts as several.
BUFFER_EVENTS = 500
EVENT_CHARACTERS = PAGE_BYTES // BUFFER_EVENTS
# Pages that one statement reads.
PAGES_AT_ONCE = 8
POLL_SECONDS = 1.0
# A thread that still waits for the database after this ends with its process.
STOP_SECONDS = 1.0

Batch = list[LoggedEvent]
# (watcher, its generation, what was read for it, whether that is live)
_Delivery = list[tuple["Subscription", int, "Batch | Resync", bool]]


@dataclass(frozen=True, slots=True)
class Resync:
    """The events after `seq` were compacted or pruned: read a snapshot, then `Subscription.reset(after=its seq)`."""

    seq: int


class Subscription:
    """One watcher of one session, used from the hub's event loop only."""

    def __init__(self, hub: Hub, session_id: UUID, after: int) -> None:
        self._hub = hub
        self.session_id = session_id
        # Shared with the hub's thread, under its lock.
        self.cursor = after
        self.due = True
        self.generation = 0
        # Nobody knows how many events there are to read, and how large they are.
        self.is_behind = True
        self.stalled = False
        self.paused = False
        self.buffered = 0
        # Used on the event loop only.
        self._items: deque[tuple[Batch | Resync, bool]] = deque()
        # Whether the last batch was read as it came, and not by a watcher that is behind.
        self._is_live = False
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether there will be no more events: `close` was called, or the process stops."""
        return self._closed

    async def get(self, timeout: float | None = None) -> Batch | Resync | None:  # noqa: ASYNC109 - None, not an error, says that it passed
        """The next events in order, or `Resync`; None when `timeout` seconds passed or the subscription was closed."""
        if not self._items and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait_for(self._waiter, timeout)
            except TimeoutError:
                return None
            finally:
                self._waiter = None
        if not self._items:
            return None
        item, self._is_live = self._items.popleft()
        if not isinstance(item, Resync):
            self._hub.release_buffer(self, _weigh(item))
        return item

    async def __aiter__(self) -> AsyncIterator[Batch | Resync]:
        while (item := await self.get()) is not None:
            yield item

    def reset(self, *, after: int) -> None:
        """Continue after seq `after`; the buffer is dropped."""
        self._items.clear()
        self._hub.move_cursor(self, after)

    def pause(self) -> None:
        """Read nothing more for this watcher until `resume`; the buffer stays."""
        self._hub.set_paused(self, True)

    def resume(self) -> None:
        """Catch up from the table and continue."""
        self._hub.set_paused(self, False)

    def close(self) -> None:
        """Stop watching; a pending `get` returns None."""
        self._closed = True
        self._hub.unsubscribe(self)
        self._wake()

    def record_sent(self, batch: Sequence[LoggedEvent]) -> None:
        """The watcher has sent `batch`, which `get` returned last: how long that took is counted if it was live."""
        if self._is_live:
            self._hub.lag.observe(batch[-1].at, now())

    def put(self, item: Batch | Resync, *, is_live: bool) -> None:
        """Called by the hub with what it has read."""
        self._items.append((item, is_live))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Hub:
    """All the watchers of one event loop, and the thread that reads for them, whose connection `listeners` share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, listeners: Sequence[RowListener] = ()) -> None:
        self.loop = loop
        self._listeners = listeners
        self.lag = EventLag()
        self._lock = threading.Lock()
        self._watchers: dict[UUID, set[Subscription]] = defaultdict(set)
        self._is_closed = False
        self._thread = ListeningThread(
            name="relay",
            channels=[sql.EVENTS_CHANNEL, *(listener.channel for listener in listeners)],
            connect=open_listen_connection,
            work=self._read,
            interval_seconds=POLL_SECONDS,
        )
        self._thread.start()

    def subscribe(self, session_id: UUID, after: int) -> Subscription:
        """Watch a session from the event after seq `after`, which must exist already.

        After `end_watching` the subscription that is returned is closed.
        """
        watcher = Subscription(self, session_id, after)
        if self._is_closed:
            watcher.close()
            return watcher
        with self._lock:
            self._watchers[session_id].add(watcher)
        self._thread.nudge()
        return watcher

    def end_watching(self) -> None:
        """Close every subscription, and each later one at once."""
        self._is_closed = True
        for watcher in [watcher for group in self._watchers.values() for watcher in group]:
            watcher.close()

    def stop(self) -> None:
        """Close every subscription and stop the thread."""
        self.end_watching()
        self._thread.stop(STOP_SECONDS)

    def figures(self) -> dict[str, Any]:
        """How many sessions are watched, by how many, and how late events reach them. May be called in any thread."""
        with self._lock:
            watchers = sum(len(group) for group in self._watchers.values())
            return {
                "active_sessions": len(self._watchers),
                "watchers": watchers,
                "event_lag": self.lag.figures(),
            }

    # --- called by subscriptions, on the event loop ---

    def release_buffer(self, watcher: Subscription, weight: int) -> None:
        with self._lock:
            was_full = watcher.buffered >= BUFFER_EVENTS
            watcher.buffered -= weight
            read_on = was_full and watcher.due
        if read_on:
            self._thread.nudge()

    def move_cursor(self, watcher: Subscription, after: int) -> None:
        with self._lock:
            watcher.generation += 1
            watcher.cursor, watcher.buffered, watcher.stalled, watcher.due = after, 0, False, True
            watcher.is_behind = True
        self._thread.nudge()

    def set_paused(self, watcher: Subscription, paused: bool) -> None:
        with self._lock:
            watcher.paused = paused
            watcher.due = watcher.is_behind = True
        if not paused:
            self._thread.nudge()

    def unsubscribe(self, watcher: Subscription) -> None:
        with self._lock:
            group = self._watchers.get(watcher.session_id)
            if group is not None:
                group.discard(watcher)
                if not group:
                    del self._watchers[watcher.session_id]

    # --- the hub's thread ---

    def _read(self, connection: psycopg.Connection, wake: Wake) -> None:
        for listener in self._listeners:
            listener.hear(connection, wake)
        with self._lock:
            self._mark_due(wake)
            readers = self._group_due_watchers()
            behind = [key for key, watchers in readers.items() if any(watcher.is_behind for watcher, _ in watchers)]
        if not readers:
            return
        live = [key for key in readers if key not in behind] if behind else list(readers)
        batches = [*_read_batches(connection, live), *_read_pages(connection, behind)]
        delivery: _Delivery = []
        with self._lock:
            for key, events in zip([*live, *behind], batches, strict=True):
                for watcher, generation in readers[key]:
                    self._queue_batch(watcher, generation, key[1], events, delivery)
        if delivery:
            self.loop.call_soon_threadsafe(_deliver, delivery)

    def _mark_due(self, wake: Wake) -> None:
        if wake.polled:
            for group in self._watchers.values():
                for watcher in group:
                    watcher.due = True
            return
        for channel, payload in wake.payloads:
            if channel != sql.EVENTS_CHANNEL:
                continue
            session, _, seq = payload.partition(" ")
            for watcher in self._watchers.get(UUID(session), ()):
                if watcher.cursor < int(seq):
                    watcher.due = True

    def _group_due_watchers(self) -> dict[tuple[UUID, int], list[tuple[Subscription, int]]]:
        """The watchers to read for with their generations, by session and seq: those with the same cursor share one
        read."""
        readers: dict[tuple[UUID, int], list[tuple[Subscription, int]]] = defaultdict(list)
        for session_id, group in self._watchers.items():
            for watcher in group:
                if watcher.due and not (watcher.stalled or watcher.paused) and watcher.buffered < BUFFER_EVENTS:
                    readers[session_id, watcher.cursor].append((watcher, watcher.generation))
        return readers

    @staticmethod
    def _queue_batch(watcher: Subscription, generation: int, cursor: int, events: Batch, out: _Delivery) -> None:
        if watcher.generation != generation:
            return
        weight = _weigh(events)
        was_live = not watcher.is_behind
        watcher.due = watcher.is_behind = weight >= BUFFER_EVENTS // 4
        if not events:
            return
        if events[0].first_seq != cursor + 1:
            watcher.stalled = True
            out.append((watcher, generation, Resync(cursor), False))
            return
        watcher.cursor = events[-1].seq
        watcher.buffered += weight
        out.append((watcher, generation, events, was_live))


def _weigh(events: Batch) -> int:
    """How many ordinary events have the size of these."""
    return sum(1 + len(event.data) // EVENT_CHARACTERS for event in events)


def _read_batches(connection: psycopg.Connection, keys: Sequence[tuple[UUID, int]]) -> list[Batch]:
    """The next events after each pair of session and seq, in the order of `keys`."""
    if len(keys) == 1:
        # Most wake-ups are about one session, and asking for one costs half.
        [(session, after)] = keys
        rows = connection.execute(sql.LOG.encode(), {"session": session, "after": after, "limit": BUFFER_EVENTS})
        return [[LoggedEvent(*row) for row in rows.fetchall()]]
    return _read_together(connection, sql.LOGS, keys, {}) if keys else []


def _read_pages(connection: psycopg.Connection, keys: Sequence[tuple[UUID, int]]) -> Iterator[Batch]:
    """The same for watchers that are behind: at most `PAGE_BYTES` for each, or one event."""
    for start in range(0, len(keys), PAGES_AT_ONCE):
        group = keys[start : start + PAGES_AT_ONCE]
        yield from _read_together(connection, sql.LOG_PAGES, group, {"bytes": PAGE_BYTES})


def _read_together(
    connection: psycopg.Connection, statement: str, keys: Sequence[tuple[UUID, int]], params: Mapping[str, int]
) -> list[Batch]:
    sessions, afters = zip(*keys, strict=True)
    batches: list[Batch] = [[] for _ in keys]
    rows = connection.execute(
        statement.encode(), {"sessions": list(sessions), "afters": list(afters), "limit": BUFFER_EVENTS, **params}
    )
    for row in rows.fetchall():
        batches[row[0] - 1].append(LoggedEvent(*row[1:]))
    return batches


def _deliver(delivery: _Delivery) -> None:
    for watcher, generation, item, is_live in delivery:
        # After a reset in between these events are outdated.
        if watcher.generation == generation:
            watcher.put(item, is_live=is_live)


_hub: Hub | None = None


def get_hub() -> Hub:
    """The hub of the running event loop, started on first use."""
    global _hub  # noqa: PLW0603 - one hub per process is the point
    loop = asyncio.get_running_loop()
    if _hub is None or _hub.loop is not loop:
        close_hub()
        _hub = Hub(loop, listeners=[exhausted_budgets])
    return _hub


def hub_figures() -> dict[str, Any]:
    """`Hub.figures` of the process's hub; nothing before there is one."""
    return {} if _hub is None else _hub.figures()


def close_subscriptions() -> None:
    """Close all subscriptions of the running event loop, and later ones at once: its process is about to end."""
    get_hub().end_watching()


def close_hub() -> None:
    """Stop the process's hub, if there is one."""
    global _hub
    hub, _hub = _hub, None
    if hub is not None:
        hub.stop()
