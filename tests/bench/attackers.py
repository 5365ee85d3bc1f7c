"""Greedy clients, all kinds: `tests.bench.child attack` reads its orders from standard input, attacks, and says what
was allowed and what it cost itself.

Every kind also has a polite form, which only does what was allowed, evenly over the same time: what others' answers
are compared against.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import uvloop

LOWEST_PRIORITY = 19
MASKED = 0x80
EMPTY_MASK = b"\0\0\0\0"
PINGS = (bytes([0x89, MASKED]) + EMPTY_MASK) * 1000
FRAGMENTS = (bytes([0x00, MASKED]) + EMPTY_MASK) * 1000
FIRST_FRAGMENT = bytes([0x01, MASKED]) + EMPTY_MASK
POLITE_PINGS = 4


@dataclass(slots=True)
class Orders:
    """`rate` is None for an attack; else so many attempts a second are made by all together. `who` is a list of
    (session, key)."""

    kind: str
    base: str
    who: list[tuple[str, str]]
    seconds: float
    at_once: int
    rate: float | None = None


@dataclass(slots=True)
class Attack:
    """What all attackers of a window share."""

    orders: Orders
    http: aiohttp.ClientSession
    ends_at: float
    tally: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    began_at: float = field(default_factory=time.perf_counter)

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self.ends_at

    async def next_attempt(self) -> bool:
        """Wait for the next attempt's time; False: there is no more."""
        number, self.attempts = self.attempts, self.attempts + 1
        if self.orders.rate is not None:
            await asyncio.sleep(max(0.0, self.began_at + number / max(self.orders.rate, 0.01) - time.perf_counter()))
        else:
            await asyncio.sleep(0)
        return not self.is_over

    async def request(self, method: str, path: str, key: str, body: object = None, **headers: str) -> int:
        """Make a request, read all of the answer, and count its status."""
        headers = {"Authorization": f"Bearer {key}", **headers}
        async with self.http.request(method, self.orders.base + path, json=body, headers=headers) as answer:
            await answer.read()
            self.tally[str(answer.status)] += 1
            return answer.status


Attacker = Callable[[Attack, str, str], Awaitable[None]]


async def stream(attack: Attack, session: str, key: str) -> None:
    """Open an event stream, and keep it until the end."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    async with attack.http.get(f"{attack.orders.base}/api/v1/sessions/{session}/events", headers=headers) as answer:
        attack.tally[str(answer.status)] += 1
        if answer.status == 200:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.1, attack.ends_at - time.perf_counter())):
                    await answer.read()
        else:
            await answer.read()


async def wait(attack: Attack, session: str, key: str) -> None:
    """Ask, and wait for the answer."""
    await attack.request("POST", f"/api/v1/sessions/{session}/turns", key, {"input": "Hi"}, Prefer="wait=30")


async def complete(attack: Attack, _session: str, key: str) -> None:
    """Ask as a client of OpenAI does."""
    body = {"model": "bench-0", "messages": [{"role": "user", "content": "Hi"}]}
    await attack.request("POST", "/v1/chat/completions", key, body)


async def look(attack: Attack, _session: str, key: str) -> None:
    """Read one's own sessions."""
    await attack.request("GET", "/api/v1/sessions", key)


async def find(attack: Attack, _session: str, key: str) -> None:
    """Search for what is nowhere."""
    await attack.request("GET", "/api/v1/sessions?search=nowheretobefound", key)


async def store(attack: Attack, session: str, key: str) -> None:
    """Copy a long conversation."""
    await attack.request("POST", f"/api/v1/sessions/{session}/fork", key)


async def ping(attack: Attack, session: str, key: str) -> None:
    """Send pings over a websocket, without end."""
    await _flood(attack, session, key, PINGS, b"")


async def fragment(attack: Attack, session: str, key: str) -> None:
    """Send one message in empty fragments, without end."""
    await _flood(attack, session, key, FRAGMENTS, FIRST_FRAGMENT)


async def _flood(attack: Attack, session: str, key: str, frames: bytes, first: bytes) -> None:
    address = urlsplit(attack.orders.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(
            f"GET /ws/sessions/{session}/ HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {key}\r\n\r\n".encode()
        )
        status = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        attack.tally[status] += 1
        if attack.orders.rate is not None:
            writer.write((bytes([0x89, MASKED]) + EMPTY_MASK) * POLITE_PINGS)
            await asyncio.sleep(1)
            return
        draining = asyncio.create_task(_read_all(reader))
        writer.write(first)
        while not (attack.is_over or draining.done() or writer.transport.is_closing()):
            writer.write(frames)
            attack.tally["frames"] += 1000
            await writer.drain()
            await asyncio.sleep(0)
        draining.cancel()
    finally:
        writer.transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(65536):
            pass


KINDS: dict[str, Attacker] = {
    attacker.__name__: attacker for attacker in (stream, wait, complete, look, find, store, ping, fragment)
}


async def attack(orders: Orders) -> dict[str, object]:
    """Attack for the time of the orders."""
    timeout = aiohttp.ClientTimeout(total=orders.seconds + 20)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        shared = Attack(orders, http, time.perf_counter() + orders.seconds)
        tasks = [
            asyncio.create_task(_keep_on(shared, session, key), name=f"attacker-{uuid4()}")
            for session, key in orders.who
            for _ in range(orders.at_once)
        ]
        _, late = await asyncio.wait(tasks, timeout=orders.seconds + 5)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "tally": shared.tally,
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "seconds": round(time.perf_counter() - shared.began_at, 1),
    }


async def _keep_on(shared: Attack, session: str, key: str) -> None:
    attempt = KINDS[shared.orders.kind]
    while await shared.next_attempt():
        try:
            await attempt(shared, session, key)
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            shared.tally[type(error).__name__] += 1


def main() -> None:
    os.nice(LOWEST_PRIORITY)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    orders = json.load(sys.stdin)
    print("ready", flush=True)
    print(json.dumps(uvloop.run(attack(Orders(**orders)))))


if __name__ == "__main__":
    main()
