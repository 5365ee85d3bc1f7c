"""Wait for what is observed, never for time to pass."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

LOOK_SECONDS = 0.03


class NotSeen(Exception):
    """What was waited for did not come to pass in time."""


@overload
async def until(look: Callable[[], Coroutine[Any, Any, T]], *, seconds: float, what: str) -> T: ...
@overload
async def until(look: Callable[[], T], *, seconds: float, what: str) -> T: ...
async def until(look: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """The first truthy value of `look`. Raises `NotSeen` when there is none within `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        seen = look()
        value = await seen if inspect.isawaitable(seen) else seen
        if value:
            return value
        if loop.time() > deadline:
            raise NotSeen(f"{what} (waited {seconds:.0f} s)")
        await asyncio.sleep(LOOK_SECONDS)
