"""What an open websocket costs that nobody uses: memory of the web process, and its CPU while all of them wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from tests.bench import machine
from tests.bench.clients import SocketClient
from tests.bench.load import at_most, percentile

PINGED = 100
WATCHED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Idle:
    """`socket_kib` is the growth of the web process's resident memory per socket. `cpu_share` is the part of a core
    that the process uses while all of them wait; `ping_p95_ms` how long one of them waits for an answer then."""

    sockets: int
    socket_kib: float
    cpu_share: float
    ping_p95_ms: float


async def sit(sessions: Sequence[tuple[str, str]], *, base: str, web: int) -> Idle:
    """Open a socket on each session, all authenticated and resumed, and look at the process `web`."""
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        clients = [SocketClient(http, base, session, key) for session, key in sessions]
        # What the first ones load is the process's, not theirs.
        early, rest = clients[:PINGED], clients[PINGED:]
        await at_most(8, [client.open() for client in early])
        before = machine.resident_kib(web)
        await at_most(8, [client.open() for client in rest])
        grown = machine.resident_kib(web) - before
        spent, began = machine.spent(web), time.perf_counter()
        await asyncio.sleep(WATCHED_SECONDS)
        cpu = (machine.spent(web) - spent).cpu / 1000 / (time.perf_counter() - began)
        pings = [await client.ping() for client in early]
        await at_most(64, [client.close() for client in clients])
    return Idle(
        sockets=len(clients),
        socket_kib=round(grown / len(rest), 1),
        cpu_share=round(cpu, 3),
        ping_p95_ms=round(percentile(pings, 0.95), 1),
    )
