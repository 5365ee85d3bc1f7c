"""`python -m tests.chaos.attack`: hostile tools on two runners of a whole installation, while others chat.

First tools of the compute pool: a call of C code without an end, a memory bomb, an output flood, a blocking sleep, a
tool that starts processes. Nobody loses a turn, and the others' 95th percentile grows to twice of what it was at most.
Then two tools that nobody isolated, one that holds the interpreter's lock and one that holds the event loop: the
supervisor ends the runner, the turn is handed on once and then fails with `tool_stalled`, and nobody else loses one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.chaos.hostile_tools import AGENT, ISOLATED, MARKER, STALLING, install
from tests.support.running import Running
from tests.support.surroundings import ROOT

CHATTERS, CALCULATORS, ATTACKERS = 6, 2, 4
LEASE_SECONDS, HEARTBEAT_SECONDS = 4, 1
QUESTION = "[[offline words=12 pace_ms=10]]"
PAUSE_SECONDS = 0.25
FACTOR = 2.0
# A few milliseconds are noise on a loaded machine.
TOLERANCE_SECONDS = 0.05


@dataclass
class Figures:
    """Seconds of answers, and states of turns, of one group of people."""

    seconds: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))] if self.seconds else 0.0

    def line(self, name: str) -> str:
        numbers = ", ".join(
            f"p{share:.0%}".replace("%", "") + f" {self.percentile(share):.3f}" for share in (0.5, 0.95)
        )
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        return f"   {name:<34} {numbers}, max {max(self.seconds, default=0):.3f} s; {states}"


class Person:
    """Asks one question after the other in a session of their own."""

    def __init__(self, http: aiohttp.ClientSession, base: str, key: str) -> None:
        self._http = http
        self._base = base
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session = ""

    async def begin(self) -> None:
        async with self._http.post(f"{self._base}/sessions", json={"agent": AGENT}, headers=self._headers) as response:
            self._session = (await response.json())["id"]

    async def ask(self, text: str) -> dict[str, Any]:
        """The turn at its end; `seconds` is how long that took."""
        began = time.monotonic()
        headers = {**self._headers, "Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=30"}
        url = f"{self._base}/sessions/{self._session}/turns"
        async with self._http.post(url, json={"input": text}, headers=headers) as response:
            turn: dict[str, Any] = await response.json()
        while turn.get("status") in ("queued", "running"):
            await asyncio.sleep(0.1)
            async with self._http.get(f"{self._base}/turns/{turn['id']}", headers=self._headers) as response:
                turn = await response.json()
        return {**turn, "seconds": time.monotonic() - began}

    async def keep_asking(self, text: Callable[[], str], figures: Figures, until: asyncio.Event) -> None:
        while not until.is_set():
            turn = await self.ask(text())
            figures.seconds.append(turn["seconds"])
            error = turn.get("error") or {}
            figures.states[error.get("error_class") or turn.get("status") or f"refused {turn}"] += 1
            await asyncio.sleep(PAUSE_SECONDS)


@dataclass
class Crowd:
    chatters: list[Person]
    calculators: list[Person]
    attackers: list[Person]

    async def chat(self, while_: Coroutine[Any, Any, Any], *, attack: bool) -> tuple[Figures, Figures, Figures]:
        """Let everybody ask as long as `while_` takes: who chats, who calculates, who attacks."""
        chats, sums, attacks = Figures(), Figures(), Figures()
        enough, tools = asyncio.Event(), iter(ISOLATED * 1000)
        async with asyncio.TaskGroup() as group:
            for person in self.chatters:
                group.create_task(person.keep_asking(lambda: QUESTION, chats, enough))
            for person in self.calculators:
                group.create_task(person.keep_asking(lambda: "calculate 6*7", sums, enough))
            for person in self.attackers if attack else ():
                group.create_task(person.keep_asking(lambda: f"[[offline tool={next(tools)}]]", attacks, enough))
            await while_
            enough.set()
        return chats, sums, attacks


async def fight(running: Running, keys: list[str], seconds: float) -> list[str]:
    """What is not as it should be."""
    findings: list[str] = []
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        people = [Person(http, f"http://127.0.0.1:{running.port}/api/v1", key) for key in keys]
        await asyncio.gather(*(person.begin() for person in people))
        crowd = Crowd(people[:CHATTERS], people[CHATTERS:-ATTACKERS], people[-ATTACKERS:])
        await crowd.chat(asyncio.sleep(2), attack=False)  # everything is loaded
        runners = {name: pid for name, pid in running.children().items() if "runner" in name}

        calm, calm_sums, _ = await crowd.chat(asyncio.sleep(seconds), attack=False)
        stormy, sums, attacks = await crowd.chat(asyncio.sleep(2 * seconds), attack=True)
        print(calm.line("chat, alone"), stormy.line("chat, under attack"), sep="\n")
        print(calm_sums.line("calculator, alone"), sums.line("calculator, under attack"), sep="\n")
        print(attacks.line("attacks"), flush=True)
        findings += [
            f"{name}: {dict(figures.states)}"
            for name, figures in (("chat", stormy), ("calculator", sums), ("attacks", attacks))
            if figures.states.keys() != {"completed"}
        ]
        if stormy.percentile(0.95) > FACTOR * calm.percentile(0.95) + TOLERANCE_SECONDS:
            findings.append(f"others waited: p95 {calm.percentile(0.95):.3f} → {stormy.percentile(0.95):.3f} s")
        if {name: pid for name, pid in running.children().items() if "runner" in name} != runners:
            findings.append("a runner was lost to an isolated tool")
        if left := processes(MARKER):
            findings.append(f"processes are left: {left}")

        for name in STALLING:
            attack = asyncio.create_task(crowd.attackers[0].ask(f"[[offline tool={name}]]"))
            others, sums, _ = await crowd.chat(asyncio.wait([attack]), attack=False)
            turn = attack.result()
            print(others.line(f"chat, {name}"), sums.line(f"calculator, {name}"), sep="\n")
            error = (turn.get("error") or {}).get("error_class")
            print(f"   {name}: {turn['status']} {error} after {turn['seconds']:.1f} s", flush=True)
            if error != "tool_stalled":
                findings.append(f"{name} ended as {turn['status']} {error}")
            findings += [
                f"others, {name}: {dict(figures.states)}"
                for figures in (others, sums)
                if figures.states.keys() != {"completed"}
            ]
        silent = sum("has been silent" in line for line in running.lines)
        print(f"   runners that were silent and ended by the supervisor: {silent}")
        if silent != 2 * len(STALLING):
            findings.append(f"the supervisor ended {silent} runners instead of {2 * len(STALLING)}")
    return findings


def processes(marker: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE and marker in " ".join(process.info["cmdline"] or [])
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("chaos: stopped from outside"))
    with tempfile.TemporaryDirectory(prefix="bandstand-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        path = os.pathsep.join([install(folder / "packages"), str(ROOT), str(ROOT / "platform")])
        running = Running(
            folder / "data",
            PYTHONPATH=path,
            RUNNERS="2",
            BANDSTAND_LEASE_SECONDS=str(LEASE_SECONDS),
            BANDSTAND_HEARTBEAT_SECONDS=str(HEARTBEAT_SECONDS),
            BANDSTAND_COMPUTE_MEMORY_MB="64",
        )
        try:
            running.wait_until_ready().wait_until_all_parts_work()
            people = CHATTERS + CALCULATORS + ATTACKERS
            code = f"from tests.chaos.attack_seed import main; main({people})"
            keys = json.loads(running.manage("shell", "-v", "0", "-c", code).splitlines()[-1])
            print(f"== attack: {people - ATTACKERS} people and {ATTACKERS} attackers on two runners")
            findings = asyncio.run(fight(running, keys, options.seconds))
        finally:
            running.end()
        if left := running.left():
            findings.append(f"processes are left after the end: {left}")
    for finding in findings:
        print(f"   found: {finding}")
    print(f"   verdict: {'FAILED' if findings else 'passed'}", flush=True)
    return bool(findings)


if __name__ == "__main__":
    raise SystemExit(main())
