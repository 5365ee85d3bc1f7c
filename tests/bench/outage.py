"""`PYTHONPATH=platform python -m tests.bench.outage [--fault hang] [--kill]`: an outage of the first route.

Real processes and the clock: one request every four seconds, through the API, to an agent whose second route is the
offline model; several runners.
Printed: what the provider was asked during the outage, how soon after it, and when the breaker had closed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil
import psycopg

from tests.bench.stack import Stack
from tests.provider import Provider

CHAIN = "openai:fake,offline:"
EVERY_SECONDS = 4.0
LOOK_SECONDS = 0.02
AFTER_SECONDS = 90.0
# A provider that hangs is noticed by the time of an ordinary call, which is too long for an outage of a minute.
HANG = {"BANDSTAND_MODEL_FIRST_TOKEN_SECONDS": "8", "BANDSTAND_BREAKER_PROBE_SECONDS": "5"}


class OutageStack(Stack):
    """A web process and several runners, in front of the bench's own provider."""

    def __init__(self, provider_url: str, runners: int, settings: dict[str, str]) -> None:
        super().__init__()
        self._provider_url = provider_url
        self._runners = runners
        self._settings = settings

    def _start_provider(self) -> str:
        self._env.update(self._settings)
        return self._provider_url

    def _start(self) -> None:
        super()._start()
        for number in range(1, self._runners):
            self._program(f"runner-{number}", "runagents", {})


@dataclass
class Seen:
    """Times in seconds since the outage began."""

    asked: list[float] = field(default_factory=list)
    states: list[tuple[float, str]] = field(default_factory=list)
    results: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    killed_at: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.outage", description=__doc__)
    parser.add_argument("--fault", default="503", help="of the provider, such as 503 or hang")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runners", type=int, default=3)
    parser.add_argument("--kill", action="store_true", help="kill the runner that probes first")
    asyncio.run(_run(parser.parse_args()))


async def _run(options: argparse.Namespace) -> None:
    provider = Provider(defaults={"tokens": 5})
    await provider.start()
    hangs = options.fault == "hang"
    stack = OutageStack(provider.base_url, options.runners, HANG if hangs else {})
    try:
        await asyncio.to_thread(stack.__enter__)
        requests = int((options.seconds + AFTER_SECONDS) / EVERY_SECONDS) + 2
        [sessions] = await asyncio.to_thread(stack.seed, [(CHAIN, requests, 0)])
        seen = await _play(options, provider, stack, sessions)
    finally:
        await asyncio.to_thread(stack.stop)
        await provider.stop()
    _report(options, seen)


async def _play(options: argparse.Namespace, provider: Provider, stack: Stack, sessions: list[tuple[str, str]]) -> Seen:
    seen, loop = Seen(), asyncio.get_running_loop()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
        await _ask(http, stack.base, sessions.pop(), seen)  # caches
        seen.results.clear()
        provider.defaults["fault"] = options.fault
        provider.reset()
        began = loop.time()
        watch = asyncio.ensure_future(_watch(options, provider, stack, seen, began))
        tasks = []
        for number, session in enumerate(sessions):
            await asyncio.sleep(max(0.0, began + number * EVERY_SECONDS - loop.time()))
            if loop.time() - began >= options.seconds:
                provider.defaults.pop("fault", None)
                if seen.states and seen.states[-1][1] == "closed" and seen.states[-1][0] > options.seconds:
                    break
            tasks.append(asyncio.ensure_future(_ask(http, stack.base, session, seen)))
        await asyncio.wait(tasks)
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
    return seen


async def _ask(http: aiohttp.ClientSession, base: str, session: tuple[str, str], seen: Seen) -> None:
    headers = {"Authorization": f"Bearer {session[1]}", "Prefer": "wait=60", "Idempotency-Key": "one"}
    address = f"{base}/api/v1/sessions/{session[0]}/turns"
    async with http.post(address, json={"input": "Hello"}, headers=headers) as answer:
        body: dict[str, Any] = await answer.json()
        seen.results[f"{body.get('status')} by {body.get('answered_by')}"] += 1


async def _watch(options: argparse.Namespace, provider: Provider, stack: Stack, seen: Seen, began: float) -> None:
    """Look at the provider and at the row, many times a second."""
    loop = asyncio.get_running_loop()
    connection = await psycopg.AsyncConnection.connect(stack.url, autocommit=True)
    async with connection:
        while True:
            now = loop.time() - began
            seen.asked += [now] * (provider.count - len(seen.asked))
            cursor = await connection.execute("SELECT state FROM agents_routehealth WHERE model = 'fake'")
            row = await cursor.fetchone()
            state = row[0] if row else "closed"
            if not seen.states or seen.states[-1][1] != state:
                seen.states.append((now, state))
            if state == "half_open":
                seen.at_once = max(seen.at_once, provider.running)
                if options.kill and not seen.killed_at and provider.running and _kill_prober(provider, stack):
                    seen.killed_at = now
            await asyncio.sleep(LOOK_SECONDS)


def _kill_prober(provider: Provider, stack: Stack) -> bool:
    """SIGKILL to the runner whose connection to the provider is in use; to none while that is unclear."""
    port = int(provider.base_url.rsplit(":", 1)[1].partition("/")[0])
    busy = [
        pid
        for name, pid in stack.pids.items()
        if name.startswith("runner")
        and any(one.raddr and one.raddr.port == port for one in psutil.Process(pid).net_connections("tcp"))
    ]
    if len(busy) != 1:
        return False
    os.kill(busy[0], signal.SIGKILL)
    return True


def _report(options: argparse.Namespace, seen: Seen) -> None:
    during = [second for second in seen.asked if second < options.seconds]
    after = [second for second in seen.asked if second >= options.seconds]
    closed = [second for second, state in seen.states if state == "closed" and second > options.seconds]
    print(f"fault {options.fault}, {options.seconds:.0f} s, {options.runners} runners, a request each 4 s")
    print(f"asked during the outage: {len(during)} times, at {', '.join(f'{one:.1f}' for one in during)} s")
    print(f"asked again: {after[0] - options.seconds:.1f} s after it" if after else "not asked again")
    print(f"closed: {closed[0] - options.seconds:.1f} s after it" if closed else "not closed")
    print(f"calls at a time while half open: {seen.at_once}")
    if seen.killed_at:
        print(f"killed the prober at {seen.killed_at:.1f} s")
    print(f"states: {', '.join(f'{state} {second:.1f}' for second, state in seen.states)}")
    print(f"turns: {dict(seen.results)}")


if __name__ == "__main__":
    main()
