"""One window of load: so many sessions at a time play their turns, until the sessions or the seconds are spent."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.bench import machine
from tests.bench.clients import Client, Played, SocketClient, StreamClient, TurnFailed
from tests.bench.plan import Case

TEXT = "message {} of this session, please answer briefly"
OPENED_AT_ONCE = 8
ERRORS_TOO_MANY = 20


@dataclass(slots=True)
class Window:
    """What one window of a case brought. `by_key` counts turns by person, `spent` is by process: web, runner,
    postgresql, provider, bench."""

    seconds: float = 0
    played: list[Played] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    by_key: Counter[str] = field(default_factory=Counter)
    spent: dict[str, machine.Spent] = field(default_factory=dict)
    neighbours_cores: float = 0
    calibration_ms: float = 0


async def play(
    case: Case,
    sessions: Sequence[tuple[str, str]],
    *,
    base: str,
    pids: dict[str, int],
    begin: Callable[[], None] = lambda: None,
) -> Window:
    """Open the sockets, call `begin`, start the clock, play. Turns under way when the time is over are let finish and
    count."""
    window = Window()
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        make = SocketClient if case.transport == "websocket" else StreamClient
        clients: list[Client] = [make(http, base, session, key) for session, key in sessions]
        await at_most(OPENED_AT_ONCE, [client.open() for client in clients])
        await clients[-1].turn("warm up")
        begin()
        await _measured(window, case, iter(clients[:-1]), pids)
        await at_most(OPENED_AT_ONCE, [client.close() for client in clients])
    return window


async def _measured(window: Window, case: Case, clients: Iterator[Client], pids: dict[str, int]) -> None:
    everyone = {**pids, "bench": os.getpid()}
    window.calibration_ms = machine.calibrate()
    all_before, before = machine.everybody(), {name: machine.spent(pid) for name, pid in everyone.items()}
    began = time.perf_counter()
    end = began + case.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(case.concurrency):
            late = case.pace.total_ms / 1000 * number / case.concurrency
            group.create_task(_worker(window, case, clients, end, late=late), name=f"worker {number}")
    window.seconds = time.perf_counter() - began
    window.spent = {name: machine.spent(pid) - before[name] for name, pid in everyone.items()}
    others = machine.spent_by_others(all_before, everyone.values())
    window.neighbours_cores = others / 1000 / window.seconds


async def _worker(window: Window, case: Case, clients: Iterator[Client], end: float, *, late: float) -> None:
    await asyncio.sleep(late)
    for client in clients:
        for number in range(case.turns):
            if time.perf_counter() > end or len(window.errors) > ERRORS_TOO_MANY:
                return
            try:
                window.played.append(await client.turn(TEXT.format(number)))
                window.by_key[client.key] += 1
            except (TurnFailed, TimeoutError, TypeError, aiohttp.ClientError) as error:
                window.errors.append(f"{type(error).__name__}: {error}"[:200])
                break


async def at_most(count: int, work: Sequence[object]) -> None:
    """Await all of it, `count` at a time."""
    gate = asyncio.Semaphore(count)

    async def one(task: object) -> None:
        async with gate:
            await task  # type: ignore[misc]

    async with asyncio.TaskGroup() as group:
        for task in work:
            group.create_task(one(task))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
