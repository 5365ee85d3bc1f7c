"""Writes that a cancellation must not interrupt: the cancellation takes effect when the running statement has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from foundation.db_threads import in_db_thread

P = ParamSpec("P")
T = TypeVar("T")


async def run_shielded(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a journal function in a database thread.

    A thread cannot be stopped. If its statement continued after a cancellation, the write that ends the turn could
    overtake it. So a cancelled caller waits for the statement and is cancelled then, without learning its result.
    """
    running = asyncio.ensure_future(in_db_thread(fn, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise


async def run_last_shielded(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Like `run_shielded`, for the statement that ends a turn: if it has committed, the cancellation is ignored and its
    result is returned."""
    running = asyncio.ensure_future(in_db_thread(fn, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if running.cancelled() or running.exception() is not None:
            raise
        return running.result()
