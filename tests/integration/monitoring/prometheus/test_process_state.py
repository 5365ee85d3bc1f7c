"""What processes say of themselves, from their newest samples."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from foundation.clock import now
from monitoring.models import GaugeSample, ProcessSample
from monitoring.prometheus import families
from monitoring.prometheus.families import Distribution, Figures
from monitoring.prometheus.process_state import GONE_AFTER, read_lag, read_process_state

pytestmark = pytest.mark.django_db
LAG = {"bounds": [0.1, 1], "buckets": [3, 0, 1], "count": 4, "seconds_total": 2.5}


def sample(process_id: UUID | None = None, *, seconds_ago: float = 0, **changes: Any) -> UUID:
    fields: dict[str, Any] = {
        "process_id": process_id or uuid4(), "kind": "web", "host": "here", "pid": 7, "status": "running",
        "requests_total": 10, "errors_total": 1, "memory_bytes": 1000, "memory_used_bytes": 4000,
        "memory_limit_bytes": 8000, "cpu_percent": 50.0, "queue_length": 0, "active_sessions": 0,
        "figures": {"spans_dropped": 2, "event_lag": LAG}, "at": now() - timedelta(seconds=seconds_ago),
    }  # fmt: skip
    return ProcessSample.objects.create(**fields | changes).process_id


def read() -> Figures:
    figures = Figures()
    read_process_state(figures)
    return figures


def test_the_newest_sample_of_each_process_counts() -> None:
    web = sample(seconds_ago=60)
    sample(web, seconds_ago=1, requests_total=25)
    sample(kind="runner", pid=8, requests_total=3, figures={}, cpu_percent=None, memory_bytes=None)
    sample(pid=9, seconds_ago=GONE_AFTER.total_seconds() + 1)
    values = read().values
    assert values[families.PROCESS_REQUESTS] == {("web here:7",): 25, ("runner here:8",): 3}
    assert values[families.PROCESS_ERRORS] == {("web here:7",): 1, ("runner here:8",): 1}
    assert values[families.PROCESS_CPU] == {("web here:7",): 0.5}
    assert values[families.PROCESS_MEMORY] == {("web here:7",): 1000}
    assert values[families.SPANS_DROPPED] == {("web here:7",): 2, ("runner here:8",): 0}
    assert values[families.MEMORY_USED] == {("here",): 4000}
    assert values[families.MEMORY_LIMIT] == {("here",): 8000}
    lag = Distribution(4, 2.5, (("0.1", 3), ("1.0", 3), ("+Inf", 4)))
    assert values[families.EVENT_LAG_SECONDS] == {("web here:7",): lag}


def test_a_process_that_starts_again_under_its_old_number_is_the_newer_one() -> None:
    sample(seconds_ago=20, requests_total=1000)
    sample(requests_total=2)
    assert read().values[families.PROCESS_REQUESTS] == {("web here:7",): 2}


def test_nothing_is_said_of_nobody() -> None:
    assert read().values == {}


def test_active_sessions_are_those_of_the_newest_sample() -> None:
    for seconds_ago, value in ((60, 5.0), (1, 7.0), (30, 6.0)):
        GaugeSample.objects.create(metric="active_sessions", at=now() - timedelta(seconds=seconds_ago), value=value)
    assert read().values == {families.ACTIVE_SESSIONS: {(): 7.0}}


@pytest.mark.parametrize(
    "stored", [None, 7, [], {}, LAG | {"buckets": []}, LAG | {"bounds": [0.1]}, LAG | {"buckets": ["x", 1, 2]}]
)
def test_a_lag_that_cannot_be_read_is_left_out(stored: object) -> None:
    assert read_lag(stored) is None
