"""Writes that a cancellation may not tear: it waits until the statement under way has ended, then goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from foundation.db_threads import in_db_thread

P = ParamSpec("P")
T = TypeVar("T")


async def run_shielded(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a journal function in a database thread.

    A thread cannot be stopped. If its statement went on after a cancellation, the ending that follows could overtake
    it, so a cancelled caller first waits for it and is cancelled then; how the statement ended is lost to it.
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
    """Like `run_shielded`, for the statement that ends a turn: once it has committed, nothing is left to cancel."""
    running = asyncio.ensure_future(in_db_thread(fn, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if running.cancelled() or running.exception() is not None:
            raise
        return running.result()
