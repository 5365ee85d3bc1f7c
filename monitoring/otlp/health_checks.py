"""The check of the export of traces. Registered only where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from foundation.clock import now
from foundation.ids import lowest_id
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements
from monitoring.models import TraceExport
from monitoring.otlp.export import MAX_AGE

# One refusal is nothing; so many are a quarter of an hour.
FAILURES: Final = 6


def trace_export(measurements: Measurements) -> TraceExport | None:  # noqa: ARG001
    """Its row; None before the first run."""
    return TraceExport.objects.first()


def evaluate_trace_export(state: TraceExport | None, at: datetime | None = None) -> Sequence[Finding]:
    """A finding when the receiver has not taken anything for a while, or turns are about to be passed over."""
    if state is None:
        return []
    if state.visited < lowest_id((at or now()) - MAX_AGE + timedelta(days=1)):
        return [Finding(Level.BAD, "traces of a week wait; older ones are not sent any more")]
    if state.failures >= FAILURES:
        return [Finding(Level.WARN, f"traces are not exported: {state.last_error}")]
    return []


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="trace_export",
        title="Export of traces",
        measure=trace_export,
        evaluator=evaluate_trace_export,
        alarms_when="the receiver has taken nothing for a quarter of an hour, or turns of the last week wait for it",
        remedy="See that OTEL_EXPORTER_OTLP_ENDPOINT and …_HEADERS are right and the receiver runs. Nothing is lost "
        "for a week.",
        readers=frozenset({Reader.OVERVIEW}),
        order=155,
        link=Link("admin:scheduling_jobrun_changelist"),
        permissions=("scheduling.view_jobrun",),
    ),
)
