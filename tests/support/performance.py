"""Runners with samples of the past minutes, for the performance monitor to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from agents.models import Runner
from foundation.clock import now
from monitoring.models import ProcessSample

MIB = 1024 * 1024
LIMIT_BYTES = 1000 * MIB
Value = float | Callable[[int], float]


def make_runner(host: str = "host-1", **values: Any) -> Runner:
    return Runner.objects.create(**{"host": host, "pid": 1, "capacity": 8, "running": 2, **values})


def sample(
    runner: Runner,
    *,
    memory: Value = 30.0,
    seconds: float = 2.0,
    failed: float = 0.0,
    turns: int = 5,
    running: int = 2,
    passes: int = 14,
    until: timedelta = timedelta(),
    **values: Any,
) -> None:
    """`passes` samples of a runner, each 30 s, the last one `until` before now. `memory` is a percentage; each sample
    has so many `turns` more."""
    end = now() - until
    rows = []
    for number in range(1, passes + 1):
        percent = memory(number) if callable(memory) else memory
        requests = number * turns
        rows.append(
            ProcessSample(
                process_id=runner.pk,
                kind="runner",
                host=runner.host,
                pid=runner.pid,
                at=end - timedelta(seconds=30 * (passes - number) + 1),
                **{
                    "status": "running",
                    "requests_total": requests,
                    "errors_total": round(requests * failed),
                    "mean_seconds": seconds,
                    "memory_bytes": int(percent / 100 * LIMIT_BYTES),
                    "memory_used_bytes": LIMIT_BYTES // 2,
                    "memory_limit_bytes": LIMIT_BYTES,
                    "cpu_percent": 12.5,
                    "queue_length": 3,
                    "active_sessions": running,
                    "context_percent": 20.0,
                    "figures": {"seconds_total": requests * seconds, "running": running, "capacity": runner.capacity},
                    **values,
                },
            )
        )
    ProcessSample.objects.bulk_create(rows)
