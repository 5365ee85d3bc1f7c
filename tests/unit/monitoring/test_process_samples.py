"""The sample of a process, from its totals and those before."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import LazySettings

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


def test_dropped_spans_and_the_lag_of_events_are_those_since_the_sample_before() -> None:
    def lag(*buckets: int) -> dict[str, Any]:
        return {"bounds": [0.1, 1.0, 10.0], "buckets": list(buckets)}

    old, new = lag(5, 1, 0, 7), lag(24, 1, 1, 7)
    sample = make_sample(PROCESS, reading(10, 1.0, spans_dropped=3), reading(40, 1.0, spans_dropped=5, event_lag=old))
    assert (sample.figures["new_spans_dropped"], sample.figures["event_lag_p95_seconds"]) == (2, 10.0)
    sample = make_sample(PROCESS, reading(40, 1.0, event_lag=old), reading(70, 1.0, event_lag=new))
    assert (sample.figures["new_spans_dropped"], sample.figures["event_lag_p95_seconds"]) == (0, 0.1)
    for figures in ({}, {"event_lag": new}):
        sample = make_sample(PROCESS, reading(40, 1.0, **figures), reading(70, 1.0, **figures))
        assert sample.figures["event_lag_p95_seconds"] is None


def test_a_process_says_how_full_the_disk_of_its_data_is(tmp_path: Path, settings: LazySettings) -> None:
    settings.BANDSTAND = settings.BANDSTAND.model_copy(update={"data_dir": tmp_path})
    process = Process(ProcessKind.WEB, UUID(int=8), dict, SpanBuffer())
    assert 0 < read_process(process).total("disk_used_fraction") < 1
    settings.BANDSTAND = settings.BANDSTAND.model_copy(update={"data_dir": tmp_path / "missing"})
    assert "disk_used_fraction" not in read_process(process).figures


def test_a_process_is_read_with_what_its_spans_lost() -> None:
    found = read_process(Process(ProcessKind.WEB, UUID(int=8), lambda: {"requests_total": 3}, SpanBuffer()))
    assert dict(found.figures) | {"disk_used_fraction": 0.0} == {
        "requests_total": 3, "spans_dropped": 0, "spans_buffered": 0, "disk_used_fraction": 0.0,
    }  # fmt: skip
    assert found.resident_bytes > 0
    assert found.cpu_seconds > 0
