"""A scraper of `/metrics` while everything is killed: what was counted never falls, and is right in the end."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable

import aiohttp

from tests.chaos.program import Program
from tests.chaos.stack import Stack
from tests.chaos.waiting import until

PAUSE_SECONDS = 0.2
ANSWER_SECONDS = 20.0

_SAMPLE = re.compile(r"(?P<series>[^#\s{]+(?:\{.*\})?) (?P<value>\S+)")
# Of the whole installation. What a process says of itself begins anew with it.
_COUNTED = re.compile(r"(?:bandstand_turn(?!s_open|s_stuck)|gen_ai_)\w*(?:_total|_bucket|_count|_sum)\b")
_TURNS = re.compile(r'bandstand_turns_total\{.*status="(?P<status>\w+)"\}')
_CALLS = "gen_ai_client_operation_duration_seconds_count{"

Series = dict[str, float]


class Scraper:
    """Asks each web process once, when it has not yet kept an answer that is older than another's. One of them is
    spared for the end. `faults` collects what was lower than before."""

    def __init__(self, stack: Stack) -> None:
        self.faults: list[str] = []
        self.scrapes = 0
        self._stack = stack
        self._asked: set[Program] = set()
        self._highest: Series = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            fresh = self._fresh()
            if len(fresh) > 1:
                await self._scrape(fresh[0])
            await asyncio.sleep(PAUSE_SECONDS)

    async def read_last(self) -> Series:
        """The counters when all is quiet. Raises `NotSeen` when nobody says them."""

        async def attempt() -> Series:
            for number in self._fresh():
                if await self._scrape(number):
                    return self._highest
            return {}

        return await until(attempt, seconds=2 * ANSWER_SECONDS, what="a scrape after the end")

    def _fresh(self) -> list[int]:
        return [number for number, web in enumerate(self._stack.webs) if web.alive and web not in self._asked]

    async def _scrape(self, number: int) -> bool:
        """Whether the process said its counters. Nothing is found where it dies, or the database does."""
        web, address = self._stack.webs[number], f"http://127.0.0.1:{self._stack.ports[number]}/metrics"
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as client, client.get(address) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return False
        if response.status != 200:
            self.faults.append(f"{web.name} answered {response.status}")
            return False
        series = read_counters(text.splitlines())
        if series:
            self._asked.add(web)
            self.scrapes += 1
            self.faults += lowered(self._highest, series)
            self._highest = series
        return bool(series)


def read_counters(lines: Iterable[str]) -> Series:
    """The counters of the installation, by their names and labels."""
    matches = (match for line in lines if (match := _SAMPLE.fullmatch(line)) and _COUNTED.match(match["series"]))
    return {match["series"]: float(match["value"]) for match in matches}


def lowered(before: Series, after: Series) -> list[str]:
    """What fell, or is not there any more."""
    return [
        f"{name} was {value:g}, and then {after.get(name)}"
        for name, value in before.items()
        if after.get(name, -1.0) < value
    ]


def turns_by_status(series: Series) -> Counter[str]:
    """How many turns ended, by their status."""
    counts: Counter[str] = Counter()
    for name, value in series.items():
        if value and (match := _TURNS.fullmatch(name)):
            counts[match["status"]] += int(value)
    return counts


def calls(series: Series) -> int:
    """How many calls of models and tools ended."""
    return int(sum(value for name, value in series.items() if name.startswith(_CALLS)))
