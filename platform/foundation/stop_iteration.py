"""`StopIteration` out of a thread: before Python 3.13, whoever awaits the thread would wait for ever.

asyncio refuses to put it into a future, and leaves the future pending (python/cpython#112182).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from asgiref.sync import SyncToAsync

P = ParamSpec("P")
T = TypeVar("T")


def convert_stop_iteration(fn: Callable[P, T]) -> Callable[P, T]:
    """`fn`, which raises `RuntimeError` in place of `StopIteration`, as a generator does."""

    @wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return fn(*args, **kwargs)
        except StopIteration as error:
            raise RuntimeError("StopIteration was raised in a thread") from error

    return call


def guard_sync_to_async() -> None:
    """Have all that Django and others run by `sync_to_async` convert it: views, middleware, rendering. asgiref has no
    other place that all of these pass."""
    SyncToAsync.thread_handler = convert_stop_iteration(SyncToAsync.thread_handler)  # type: ignore[method-assign]
