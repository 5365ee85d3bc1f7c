"""A short load with the offline model: sessions that ask side by side, in rounds."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from foundation.db_threads import in_db_thread
from foundation.process_memory import resident_bytes
from monitoring.readiness_validator.scratch.trial_bench import (
    OFFLINE,
    TrialBench,
    ask,
    create_scratch_agent,
    wait_for_turns,
)

_AGENT: Final = "readiness-load"
_ROUND_SECONDS: Final = 10.0


async def try_load(bench: TrialBench) -> dict[str, Any]:
    """The seconds of each turn from its acceptance to its end, how many did not complete, and by how much this process
    grew."""
    await in_db_thread(create_scratch_agent, _AGENT, OFFLINE)
    await _ask_round(bench)  # what is loaded once is no part of the figures
    before, loop = resident_bytes(), asyncio.get_running_loop()
    began = loop.time()
    turns: list[dict[str, Any]] = []
    for _ in range(bench.settings.rounds):
        turns += await _ask_round(bench)
    elapsed = loop.time() - began
    return {
        "turns": len(turns),
        "elapsed_seconds": round(elapsed, 3),
        "seconds": sorted(turn["seconds"] for turn in turns if turn["seconds"] is not None),
        "failed": sorted({turn["error_class"] or turn["status"] for turn in turns if turn["status"] != "completed"}),
        "completed": sum(turn["status"] == "completed" for turn in turns),
        "grown_bytes": resident_bytes() - before,
    }


async def _ask_round(bench: TrialBench) -> list[dict[str, Any]]:
    text = bench.settings.load_text
    asks = [in_db_thread(ask, bench.asker, _AGENT, text) for _ in range(bench.settings.sessions)]
    return await wait_for_turns(await asyncio.gather(*asks), seconds=_ROUND_SECONDS)
