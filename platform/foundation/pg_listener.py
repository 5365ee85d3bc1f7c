"""A thread with its own database connection that waits for notifications.

It wakes on a NOTIFY, on `nudge` from another thread, and after `interval_seconds` in any case: notifications may get
lost, and polling covers that. The work runs on the listening connection, without a hand-over between threads.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg
import structlog

log = structlog.get_logger(__name__)

Connect = Callable[[], psycopg.Connection]

_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wake:
    """Why the work runs: `payloads` are (channel, payload); `polled` requires a full check of all sources, at least
    once per interval and after each new connection."""

    payloads: Sequence[tuple[str, str]]
    polled: bool


class RowListener(Protocol):
    """Something that follows rows which other processes write: `hear` is called with every wake-up of a listening
    connection, in its thread."""

    @property
    def channel(self) -> str: ...

    def hear(self, connection: psycopg.Connection, wake: Wake) -> None: ...


class ListeningThread(threading.Thread):
    """Calls `work(connection, wake)` after every wake-up, in autocommit mode.

    A broken connection is replaced after a short pause, without limit; other errors of `work` are logged, and the
    thread continues.
    """

    def __init__(
        self,
        *,
        name: str,
        channels: Sequence[str],
        connect: Connect,
        work: Callable[[psycopg.Connection, Wake], None],
        interval_seconds: float = 1.0,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._channels = channels
        self._connect = connect
        self._work = work
        self._interval_seconds = interval_seconds
        self._notes: list[tuple[str, str]] = []
        self._nudge_read, self._nudge_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._nudged = threading.Event()
        # Not `_stop`: threading.Thread has a method of that name.
        self._ended = threading.Event()

    def nudge(self) -> None:
        """Wake the thread now. Cheap and thread-safe."""
        if not self._nudged.is_set():
            self._nudged.set()
            os.write(self._nudge_write, b"!")

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop the thread after the present call of `work`; wait for it up to `timeout_seconds`."""
        self._ended.set()
        self._nudged.clear()
        self.nudge()
        self.join(timeout_seconds)

    def run(self) -> None:
        pause = 0.05
        while not self._ended.is_set():
            try:
                with self._connect() as connection:
                    self._listen(connection)
                    pause = 0.05
                    self._serve(connection)
            except psycopg.Error as error:
                log.warning("database.lost", worker=self.name, error=type(error).__name__)
                self._ended.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _listen(self, connection: psycopg.Connection) -> None:
        connection.add_notify_handler(lambda note: self._notes.append((note.channel, note.payload)))
        for channel in self._channels:
            connection.execute(f'LISTEN "{channel}"'.encode())

    def _serve(self, connection: psycopg.Connection) -> None:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        poller.register(self._nudge_read, select.POLLIN)
        next_poll = 0.0
        while not self._ended.is_set():
            notes, self._notes = self._notes, []
            # By the clock, not by idle time: on a busy channel a lost notification must be noticed, too.
            polled = time.monotonic() >= next_poll
            if polled:
                next_poll = time.monotonic() + self._interval_seconds
            self._do(connection, Wake(notes, polled))
            timeout = 0 if self._notes else max(0.0, next_poll - time.monotonic())
            self._collect(connection, {fd for fd, _ in poller.poll(timeout * 1000)})

    def _do(self, connection: psycopg.Connection, wake: Wake) -> None:
        try:
            self._work(connection, wake)
        except psycopg.OperationalError:
            raise
        except Exception:
            log.exception("listener.failed", worker=self.name)
            if connection.closed:
                raise psycopg.OperationalError("the connection is closed") from None

    def _collect(self, connection: psycopg.Connection, ready: set[int]) -> None:
        if self._nudge_read in ready:
            # Cleared after the pipe is drained: a flag that is set while the pipe is empty would suppress all later
            # nudges. One in between is not lost, because the work runs after this.
            os.read(self._nudge_read, 4096)
            self._nudged.clear()
        if ready - {self._nudge_read}:
            connection.pgconn.consume_input()
            while (note := connection.pgconn.notifies()) is not None:
                self._notes.append((note.relname.decode(), note.extra.decode()))
