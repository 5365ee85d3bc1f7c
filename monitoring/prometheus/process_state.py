"""What each process last said of itself, and the memory of its machine."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate
from typing import Any, Final

from django.db.models.functions import Now

from monitoring.models import GaugeSample, ProcessSample
from monitoring.prometheus import families
from monitoring.prometheus.families import Distribution, Figures

# Three samples: a process that has not written one for so long is not there any more.
GONE_AFTER: Final = timedelta(seconds=90)
MAX_PROCESSES: Final = 200
ACTIVE_SESSIONS: Final = "active_sessions"


def read_process_state(figures: Figures) -> None:
    """Add what processes and machines say of themselves. Totals of a process count from its start, so its series begin
    anew with it, as Prometheus expects."""
    since = Now() - GONE_AFTER
    newest = ProcessSample.objects.filter(at__gte=since).order_by("process_id", "-at").distinct("process_id")
    # The newest one first: a container that starts again has the host and the process id of the one before it.
    for sample in sorted(newest, key=lambda sample: sample.at, reverse=True)[:MAX_PROCESSES]:
        if (str(sample),) not in figures.values.get(families.PROCESS_REQUESTS, {}):
            _add_process(figures, sample)
    active = GaugeSample.objects.filter(metric=ACTIVE_SESSIONS, at__gte=since).order_by("-at").first()
    if active is not None:
        figures.set(families.ACTIVE_SESSIONS, active.value)


def _add_process(figures: Figures, sample: ProcessSample) -> None:
    name = str(sample)
    figures.set(families.PROCESS_REQUESTS, sample.requests_total, name)
    figures.set(families.PROCESS_ERRORS, sample.errors_total, name)
    if sample.memory_bytes is not None:
        figures.set(families.PROCESS_MEMORY, sample.memory_bytes, name)
    if sample.cpu_percent is not None:
        figures.set(families.PROCESS_CPU, sample.cpu_percent / 100, name)
    figures.set(families.SPANS_DROPPED, _number(sample.figures.get("spans_dropped")), name)
    lag = read_lag(sample.figures.get("event_lag"))
    if lag is not None:
        figures.set(families.EVENT_LAG_SECONDS, lag, name)
    is_new_host = (sample.host,) not in figures.values.get(families.MEMORY_LIMIT, {})
    if is_new_host and sample.memory_used_bytes is not None and sample.memory_limit_bytes is not None:
        figures.set(families.MEMORY_USED, sample.memory_used_bytes, sample.host)
        figures.set(families.MEMORY_LIMIT, sample.memory_limit_bytes, sample.host)


def read_lag(stored: Any) -> Distribution | None:
    """The histogram that a web process has stored: bounds, and how many are in each bucket; None for anything else,
    such as what another version has stored."""
    try:
        counts = tuple(accumulate(int(count) for count in stored["buckets"]))
        bounds = (*(str(float(bound)) for bound in stored["bounds"]), "+Inf")
        return Distribution(counts[-1], float(stored["seconds_total"]), tuple(zip(bounds, counts, strict=True)))
    except (TypeError, KeyError, IndexError, ValueError):
        return None


def _number(stored: Any) -> float:
    return float(stored) if isinstance(stored, int | float) else 0.0
