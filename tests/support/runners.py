"""A runner in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agents.engine.ports import Services
from agents.runner.process import RunnerProcess, RunnerSettings
from foundation.db_threads import in_db_thread
from foundation.pg_listener import RowListener
from tests.chaos.waiting import until
from tests.support.conversations import Conversation

SETTINGS: dict[str, Any] = {
    "concurrency": 4,
    "running_per_user": 3,
    "lease_seconds": 15,
    "heartbeat_seconds": 5,
    "drain_seconds": 4,  # of which three are kept for giving back
}


@asynccontextmanager
async def serving(
    services: Services, listeners: Sequence[RowListener] = (), **settings: Any
) -> AsyncIterator[RunnerProcess]:
    runner = RunnerProcess(RunnerSettings(**SETTINGS | settings), services, listeners=listeners)
    task = asyncio.ensure_future(runner.serve())
    try:
        yield runner
    finally:
        runner.drain()
        await asyncio.wait_for(task, 10)


async def statuses(ada: Conversation) -> list[str]:
    return await in_db_thread(ada.statuses)


async def become(ada: Conversation, *expected: str, seconds: float = 10) -> None:
    async def look() -> bool:
        return await statuses(ada) == list(expected)

    await until(look, seconds=seconds, what=f"turns that are {', '.join(expected)}")
