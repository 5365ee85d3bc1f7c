"""Database work off the event loop: synchronous functions run in a thread pool of the process.

asgiref's default is one thread per process outside HTTP views, and a thread per request inside them; both were measured
to be several times slower than one small pool. There is one pool per process, whose threads hold Django's thread-local
connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
from django.db import InterfaceError, OperationalError, close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

# Exceptions of a database that is unreachable, busy or too slow.
DATABASE_FAULTS = (OperationalError, InterfaceError)

# Enough to overlap commits that wait for the disk; more threads only queue for the interpreter.
DATABASE_THREADS = 8

_executor: ThreadPoolExecutor | None = None


def _pool() -> ThreadPoolExecutor:
    global _executor  # noqa: PLW0603 - one pool per process is the point
    if _executor is None:
        _executor = ThreadPoolExecutor(max_workers=DATABASE_THREADS, thread_name_prefix="database")
    return _executor


def _call(fn: Callable[[], T]) -> T:
    try:
        return fn()
    finally:
        # Returns the connection to the pool (CONN_MAX_AGE=0), or drops a broken one.
        close_old_connections()


async def in_db_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` in a database thread and return what it returns; it runs to its end even if the caller is cancelled."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool(), _call, partial(fn, *args, **kwargs))


def start_in_db_thread(fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Future[object]:
    """Start `fn` in a database thread and return its future. Exceptions are logged."""
    future = _pool().submit(_call, partial(fn, *args, **kwargs))
    future.add_done_callback(_report)
    return future


def _report(future: Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("database_thread.failed", exc_info=error)


def close_db_threads() -> None:
    """End the pool's threads and their connections (process shutdown; end of a test session)."""
    global _executor
    pool, _executor = _executor, None
    if pool is not None:
        pool.shutdown(wait=True)
    connections.close_all()
