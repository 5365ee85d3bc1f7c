"""A web process touches its file while its event loop runs, and only then."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bandstand.web import loop_liveness
from bandstand.web.loop_liveness import LoopLiveness


async def test_a_loop_that_stands_still_lets_the_file_grow_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_liveness, "TOUCH_SECONDS", 0.001)
    file = tmp_path / "web-1.alive"
    liveness = LoopLiveness(file)
    await liveness.start()
    times: set[int] = set()
    async with asyncio.timeout(20):
        while len(times) < 3:
            await asyncio.sleep(0.005)
            times.add(file.stat().st_mtime_ns)
    before = file.stat().st_mtime_ns
    time.sleep(0.05)  # noqa: ASYNC251 - the loop is to stand still
    assert file.stat().st_mtime_ns == before
    await liveness.stop()
    after = file.stat().st_mtime_ns
    await asyncio.sleep(0.01)
    assert file.stat().st_mtime_ns == after


async def test_without_a_file_there_is_nothing_to_do() -> None:
    liveness = LoopLiveness(None)
    await liveness.start()
    await liveness.stop()
