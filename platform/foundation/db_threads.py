"""Database work off the event loop: synchronous functions run in a thread pool of the process.

asgiref's default is one thread per process outside HTTP views, and a thread per request inside them; both were measured
to be several times slower than one small pool. There is one pool per process, whose threads hold Django's thread-local
connections. Those who ask for work (`bind_requester`) take turns, and nobody has more than a share of the threads. What
must be answered while all are busy has a thread and a connection of its own (`start_in_own_thread`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, close_old_connections, connections

from foundation.fair_shares import FairShares
from foundation.stop_iteration import convert_stop_iteration

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

# Exceptions of a database that is unreachable, busy or too slow.
DATABASE_FAULTS = (OperationalError, InterfaceError)

# Enough to overlap commits that wait for the disk; more threads only queue for the interpreter.
DATABASE_THREADS = 8

# Of one requester: others always find a thread.
THREADS_PER_REQUESTER = DATABASE_THREADS // 2
# A connection that was idle for longer is opened anew.
PROBE_CONNECTION_SECONDS = 60

_requester: ContextVar[str | None] = ContextVar("requester", default=None)


def bind_requester(requester: str) -> None:
    """Have the database work of this task, and of tasks that it creates, count for `requester`, such as "u:17"."""
    _requester.set(requester)


@dataclass(slots=True, eq=False)
class _Work:
    requester: str | None
    call: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class _FairThreads:
    """Threads that work for many in turns."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shares: FairShares[_Work] = FairShares(DATABASE_THREADS, THREADS_PER_REQUESTER)
        self._executor = ThreadPoolExecutor(max_workers=DATABASE_THREADS, thread_name_prefix="database")

    def submit(self, requester: str | None, call: Callable[[], Any]) -> Future[Any]:
        work = _Work(requester, call)
        with self._lock:
            is_started = self._shares.add(requester, work)
        if is_started:
            self._executor.submit(self._run, work)
        return work.future

    def stop(self) -> None:
        """Wait for all work, and end the threads."""
        self._executor.shutdown(wait=True)

    def _run(self, work: _Work | None) -> None:
        while work is not None:
            if work.future.set_running_or_notify_cancel():
                _resolve(work.future, work.call)
            with self._lock:
                work = self._shares.finish(work.requester)


def _resolve(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


_threads: _FairThreads | None = None
_own_threads: dict[str, ThreadPoolExecutor] = {}


def _pool() -> _FairThreads:
    global _threads  # noqa: PLW0603 - one pool per process is the point
    if _threads is None:
        _threads = _FairThreads()
    return _threads


@convert_stop_iteration
def _call(fn: Callable[[], T]) -> T:
    try:
        return fn()
    finally:
        # Returns the connection to the pool (CONN_MAX_AGE=0), or drops a broken one.
        close_old_connections()


async def in_db_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `fn` in a database thread and return what it returns; it runs to its end even if the caller is cancelled."""
    call = partial(_call, partial(fn, *args, **kwargs))
    result: T = await asyncio.wrap_future(_pool().submit(_requester.get(), call))
    return result


def start_in_db_thread(fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Future[object]:
    """Start `fn` in a database thread and return its future. Exceptions are logged."""
    future = _pool().submit(None, partial(_call, partial(fn, *args, **kwargs)))
    future.add_done_callback(_report)
    return future


def start_in_own_thread(name: str, fn: Callable[[], T], /) -> Future[T]:
    """Start `fn` in the thread called `name`, whose connection is no other's, and return its future."""
    if name not in _own_threads:
        _own_threads[name] = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=f"database-{name}", initializer=use_own_connection
        )
    return _own_threads[name].submit(_call, fn)


def start_in_probe_thread(fn: Callable[[], T], /) -> Future[T]:
    """Start `fn` in the thread for probes and return its future."""
    return start_in_own_thread("probe", fn)


def use_own_connection(**timeouts: str) -> None:
    """Give this thread a connection beside the pool, which may be exhausted. `timeouts` are settings of PostgreSQL
    that it begins with, such as `lock_timeout="1s"`. Whoever ends the thread closes it."""
    own = connections[DEFAULT_DB_ALIAS].copy()
    options = own.settings_dict["OPTIONS"]
    options.pop("pool", None)
    if timeouts:
        own_options = [f"-c {name}={value}" for name, value in timeouts.items()]
        options["options"] = " ".join([options.get("options", ""), *own_options])
    own.settings_dict["CONN_MAX_AGE"] = PROBE_CONNECTION_SECONDS
    own.settings_dict["CONN_HEALTH_CHECKS"] = True
    connections[DEFAULT_DB_ALIAS] = own


def _report(future: Future[object]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("database_thread.failed", exc_info=error)


def close_db_threads() -> None:
    """End the threads and their connections (process shutdown; end of a test session)."""
    global _threads
    threads, _threads = _threads, None
    own = list(_own_threads.values())
    _own_threads.clear()
    if threads is not None:
        threads.stop()
    for thread in own:
        thread.submit(connections.close_all)
        thread.shutdown(wait=True)
    connections.close_all()
