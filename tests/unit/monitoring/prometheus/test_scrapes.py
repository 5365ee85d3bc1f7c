"""How often a scrape reads: at most every ten seconds, and one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from monitoring.prometheus import families, scrapes
from monitoring.prometheus.exposition import TextFormat
from monitoring.prometheus.families import Figures
from monitoring.prometheus.scrapes import CACHE_SECONDS, ScrapeCache


class Reading:
    """Counts how often it reads; each is as slow as somebody wants."""

    def __init__(self) -> None:
        self.times = 0
        self.may_end = Event()
        self.may_end.set()
        self.seconds = 0.0
        self.executor = ThreadPoolExecutor(max_workers=1)
        self.cache = ScrapeCache(self.read, self.start, lambda: self.seconds)

    def read(self) -> Figures:
        self.times += 1
        self.may_end.wait(10)
        figures = Figures()
        figures.set(families.QUEUE_DEPTH, self.times)
        return figures

    def start(self, fn: Callable[[], Any]) -> Future[Any]:
        return self.executor.submit(fn)

    async def queue_depth(self, text_format: TextFormat = TextFormat.PLAIN) -> str:
        return (await self.cache.text(text_format)).decode().splitlines()[2]


async def test_it_reads_again_after_ten_seconds() -> None:
    reading = Reading()
    seen = [await reading.queue_depth() for reading.seconds in (0.0, 5.0, CACHE_SECONDS - 0.1, CACHE_SECONDS, 15.0)]
    assert seen == [f"bandstand_queue_depth {number}.0" for number in (1, 1, 1, 2, 2)]


async def test_who_asks_meanwhile_waits_for_the_same_reading() -> None:
    reading = Reading()
    reading.may_end.clear()
    asked = [asyncio.create_task(reading.queue_depth()) for _ in range(50)]
    await asyncio.sleep(0)
    reading.may_end.set()
    assert set(await asyncio.gather(*asked)) == {"bandstand_queue_depth 1.0"}
    assert reading.times == 1


async def test_each_format_is_made_of_the_same_reading() -> None:
    reading = Reading()
    assert {await reading.queue_depth(text_format) for text_format in (*TextFormat, *TextFormat)} == {
        "bandstand_queue_depth 1.0"
    }
    assert reading.times == 1


async def test_one_who_goes_away_ends_nobody_elses_reading() -> None:
    reading = Reading()
    reading.may_end.clear()
    gone, stays = (asyncio.create_task(reading.queue_depth()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    reading.may_end.set()
    assert await stays == "bandstand_queue_depth 1.0"


async def test_a_reading_that_hangs_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "ANSWER_SECONDS", 0.01)
    reading = Reading()
    reading.may_end.clear()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await reading.queue_depth()
    reading.may_end.set()
    reading.executor.shutdown()
    assert reading.times == 1


async def test_a_reading_that_fails_is_begun_again() -> None:
    reading = Reading()
    broken = ScrapeCache(lambda: 1 / 0, reading.start, lambda: reading.seconds)  # type: ignore[arg-type, return-value]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await broken.text(TextFormat.PLAIN)
        reading.seconds += CACHE_SECONDS
