"""The sample of a process, from its totals and those before."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from foundation.process_memory import MemoryUse
from foundation.process_work import Process, ProcessKind
from foundation.spans import SpanBuffer
from monitoring.sampling.process_samples import ProcessReading, make_sample, read_process

PROCESS = Process(ProcessKind.RUNNER, UUID(int=7), dict, SpanBuffer())


def reading(at: float, cpu: float, **figures: Any) -> ProcessReading:
    return ProcessReading(at, cpu, 1000, MemoryUse(3000, 4000), figures)


def test_totals_are_those_of_its_life_and_means_those_since_the_sample_before() -> None:
    before = reading(
        10, 1.0, requests_total=10, errors_total=1, seconds_total=100.0, context_percent_total=50, context_total=1
    )
    after = reading(
        40, 4.0, requests_total=14, errors_total=2, seconds_total=106.0, context_percent_total=150, context_total=3,
        active_sessions=2, running=2, status="blocked",
    )  # fmt: skip
    sample = make_sample(PROCESS, before, after)
    assert (sample.requests_total, sample.errors_total) == (14, 2)
    assert (sample.mean_seconds, sample.context_percent, sample.cpu_percent) == (1.5, 50.0, 10.0)
    assert (sample.memory_bytes, sample.memory_used_bytes, sample.memory_limit_bytes) == (1000, 3000, 4000)
    assert (sample.status, sample.active_sessions, sample.process_id) == ("blocked", 2, UUID(int=7))
    assert sample.figures["running"] == 2
    assert "requests_total" not in sample.figures


def test_where_nothing_happened_nothing_is_said() -> None:
    sample = make_sample(PROCESS, reading(10, 1.0), reading(10, 1.0))
    assert (sample.mean_seconds, sample.context_percent, sample.cpu_percent) == (None, None, None)
    assert (sample.requests_total, sample.status) == (0, "running")


def test_a_process_is_read_with_what_its_spans_lost() -> None:
    found = read_process(Process(ProcessKind.WEB, UUID(int=8), lambda: {"requests_total": 3}, SpanBuffer()))
    assert found.figures == {"requests_total": 3, "spans_dropped": 0, "spans_buffered": 0}
    assert found.resident_bytes > 0
    assert found.cpu_seconds > 0
