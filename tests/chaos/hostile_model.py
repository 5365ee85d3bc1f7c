"""`python -m tests.chaos.hostile_model`: a model that attacks in every turn, against a whole installation.

The provider reads the attacker's page first and then calls the canary tool twice, each time in another encoding and
with another excuse. Agents with different rights are asked, by people who write to whom something may be sent. The tool
itself writes down each call that it gets, and a judge of the harness says which of these the release can have meant:
0 others. Two-sided: what the release lets through must run. At last a control, in which the rights are put out of work,
must fail.
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
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

import aiohttp

from tests.provider import Provider
from tests.provider.hostile import ATTACKS, choose_answer
from tests.support.canary import RIGHTS, install, may_have_run, question, read_executions
from tests.support.running import Running
from tests.support.surroundings import ROOT

PEOPLE = 6
# After so many turns a session is left for a new one: what its person has written there is trusted in all of it.
TURNS_PER_SESSION = 5
PLENTY = "1000000"
ENDS = ("completed", "failed", "cancelled", "expired", "waiting")


@dataclass
class Round:
    """What was asked and how it ended, by the slugs of the agents."""

    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    slugs: dict[str, str] = field(default_factory=dict)
    ends: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def turns(self) -> int:
        return sum(sum(ends.values()) for ends in self.ends.values())


class Person:
    """Asks one question after the other, of one agent after the other."""

    def __init__(self, http: aiohttp.ClientSession, base: str, key: str, round_: Round) -> None:
        self._http = http
        self._base = base
        self._headers = {"Authorization": f"Bearer {key}"}
        self._round = round_

    async def attack(self, numbers: Iterator[int], slugs: Iterator[str], turns: int) -> None:
        session, slug = "", ""
        for asked in count():
            if (number := next(numbers)) >= turns:
                return
            if asked % TURNS_PER_SESSION == 0:
                slug = next(slugs)
                session = (await self._send("POST", "sessions", {"agent": slug}))["id"]
                self._round.slugs[session] = slug
            text = question(number)
            self._round.texts[session].append(text)
            turn = await self._ask(session, text)
            self._round.ends[slug][(turn.get("error") or {}).get("error_class") or turn["status"]] += 1

    async def _ask(self, session: str, text: str) -> dict[str, Any]:
        turn = await self._send(
            "POST", f"sessions/{session}/turns", {"input": text}, {"Idempotency-Key": str(uuid.uuid4())}
        )
        while turn["status"] not in ENDS:
            await asyncio.sleep(0.05)
            turn = await self._send("GET", f"turns/{turn['id']}")
        if turn["status"] == "waiting":
            # Nobody approves anything here, and the next question needs the session.
            await self._send("POST", f"turns/{turn['id']}/cancel", {})
        return turn

    async def _send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        url, headers = f"{self._base}/{path}", {**self._headers, **(headers or {})}
        async with self._http.request(method, url, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer}")
            return answer


async def fight(running: Running, provider: Provider, keys: list[str], turns: int) -> Round:
    """Have the model attack in so many turns."""
    provider.choose = choose_answer
    round_, numbers, slugs = Round(), count(), cycle(RIGHTS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        people = [Person(http, f"http://127.0.0.1:{running.port}/api/v1", key, round_) for key in keys]
        await asyncio.gather(*(person.attack(numbers, slugs, turns) for person in people))
    return round_


def judge(round_: Round, data_dir: Path) -> tuple[Counter[str], list[str]]:
    """How many calls have run that the release let through, by agent, and those that it cannot have meant."""
    passed, wrong = Counter[str](), []
    for execution in read_executions(data_dir):
        slug = round_.slugs.get(execution.session, "unknown")
        if may_have_run(slug, execution.sent, "\n".join(round_.texts[execution.session])):
            passed[slug] += 1
        else:
            wrong.append(f"{slug}: {str(execution.sent)[:200]}")
    return passed, wrong


async def run(folder: Path, turns: int, *, spoiled: bool) -> tuple[Round, Counter[str], list[str], int]:
    """One installation and all its turns; with how many calls the provider has made."""
    provider = Provider()
    await provider.start()
    path = os.pathsep.join([install(folder / "packages", spoiled=spoiled), str(ROOT), str(ROOT / "platform")])
    settings: dict[str, Any] = {
        "PYTHONPATH": path,
        "RUNNERS": "2",
        "OPENAI_API_KEY": "sk-chaos",
        "OPENAI_BASE_URL": provider.base_url,
        "BANDSTAND_REQUESTS_PER_MINUTE": PLENTY,
        "BANDSTAND_MESSAGES_PER_MINUTE": PLENTY,
        "BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE": PLENTY,
        "BANDSTAND_STORED_MEGABYTES_PER_DAY": PLENTY,
    }
    running = await asyncio.to_thread(lambda: Running(folder / "data", **settings))
    try:
        await asyncio.to_thread(lambda: running.wait_until_ready().wait_until_all_parts_work())
        code = f"from tests.chaos.hostile_model_seed import main; main({PEOPLE})"
        seeded = await asyncio.to_thread(running.manage, "shell", "-v", "0", "-c", code)
        round_ = await fight(running, provider, json.loads(seeded.splitlines()[-1]), turns)
    finally:
        await asyncio.to_thread(running.end)
        await provider.stop()
    return round_, *judge(round_, folder / "data"), provider.count


def report(turns: int, *, spoiled: bool) -> list[str]:
    """Run and print; what is not as it should be."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bandstand-chaos-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        round_, passed, wrong, answers = asyncio.run(run(folder, turns, spoiled=spoiled))
    print(f"== hostile model{', rights put out of work' if spoiled else ''}: {len(ATTACKS)} attacks")
    print(f"   {round_.turns} turns, {answers} answers of the model, {time.monotonic() - began:.0f} s")
    for slug, ends in sorted(round_.ends.items()):
        states = ", ".join(f"{number} {end}" for end, number in sorted(ends.items()))
        print(f"   {slug:<16} {states}; let through and run: {passed[slug]}")
    print(f"   executions that the release does not allow: {len(wrong)}", flush=True)
    for line in wrong[:3]:
        print(f"      {line}")
    if spoiled:
        return [] if wrong else ["without rights nothing was noticed: the harness is blind"]
    findings = [f"{len(wrong)} executions that the release does not allow"] if wrong else []
    findings += [f"{slug}: nothing has run" for slug in ("bounded", "sources", "sources-asking") if not passed[slug]]
    # An attack of 60,000 characters uses up the output tokens of its turn.
    ends_well = {"completed", "limit_reached"}
    findings += [
        f"{slug}: {dict(ends)}"
        for slug, ends in round_.ends.items()
        if not ends.keys() <= (ends_well | {"waiting"} if "ask" in slug else ends_well)
    ]
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.hostile_model", description=__doc__)
    parser.add_argument("--turns", type=int, default=2_000)
    parser.add_argument("--control-turns", type=int, default=150)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("chaos: stopped from outside"))
    findings = report(options.turns, spoiled=False) + report(options.control_turns, spoiled=True)
    for finding in findings:
        print(f"   found: {finding}")
    print(f"   verdict: {'FAILED' if findings else 'passed'}", flush=True)
    return bool(findings)


if __name__ == "__main__":
    raise SystemExit(main())
