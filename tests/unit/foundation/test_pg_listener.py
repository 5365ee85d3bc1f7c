"""The thread that listens: a nudge is never the last one that is heard."""

from __future__ import annotations

import os
import threading

import psycopg
import pytest

from foundation.pg_listener import ListeningThread, Wake


class Silent:
    """A connection on which nothing ever arrives, so that only nudges can wake the thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def execute(self, _statement: bytes) -> None: ...

    def add_notify_handler(self, _handler: object) -> None: ...

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_details: object) -> None:
        os.close(self._read)
        os.close(self._write)


def test_a_nudge_while_the_last_one_is_being_taken_leaves_the_thread_able_to_hear_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    woken = threading.Semaphore(0)
    read = os.read

    def nudged_meanwhile(fd: int, length: int) -> bytes:
        """Reading gives other threads their turn, and one of them nudges."""
        thread.nudge()
        return read(fd, length)

    def work(_connection: psycopg.Connection, _wake: Wake) -> None:
        woken.release()

    thread = ListeningThread(
        name="test",
        channels=[],
        connect=Silent,  # type: ignore[arg-type]
        work=work,
        interval_seconds=3600,
    )
    with monkeypatch.context() as patched:
        patched.setattr(os, "read", nudged_meanwhile)
        thread.start()
        assert woken.acquire(timeout=5)  # it looks once when it begins
        thread.nudge()
        assert woken.acquire(timeout=5)
    while woken.acquire(timeout=0.2):
        """What the nudge in between has woken."""
    try:
        thread.nudge()
        assert woken.acquire(timeout=5)
    finally:
        thread.stop()
