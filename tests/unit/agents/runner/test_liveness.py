"""An event loop that stands still is found out from a thread, and the file that says it lives grows old."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from agents.runner.liveness import Liveness


async def test_a_loop_that_stands_still_is_stalled_until_it_runs_again(tmp_path: Path) -> None:
    file = tmp_path / "run" / "runner.alive"
    liveness = Liveness(asyncio.get_running_loop(), file=file, stalled_seconds=0.2)

    liveness.check()
    assert (liveness.is_stalled, file.stat().st_mode & 0o777) == (False, 0o600)
    beat = file.stat().st_mtime_ns

    time.sleep(0.3)  # noqa: ASYNC251 - the loop is to stand still
    liveness.check()
    assert liveness.is_stalled
    assert file.stat().st_mtime_ns == beat

    await asyncio.sleep(0)
    liveness.check()
    assert not liveness.is_stalled
    assert file.stat().st_mtime_ns > beat


async def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    Liveness(asyncio.get_running_loop(), file=None, stalled_seconds=1).check()
    Liveness(asyncio.get_running_loop(), file=Path("/proc/self/none/runner.alive"), stalled_seconds=1).check()
