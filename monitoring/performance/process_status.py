"""What each process said of itself in the last half hour: for the console's page and the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import F

from foundation.process_work import ProcessKind
from monitoring.models import ProcessSample
from monitoring.performance.effects import make_point
from monitoring.performance.series import TurnWindow
from monitoring.sampling.gauge_samples import SAMPLE_SECONDS, STALE_SECONDS

HISTORY: Final = timedelta(minutes=30)
# A process that says nothing any more is shown for so long.
GONE: Final = timedelta(minutes=5)
# Figures of the present are those of the last intervals: five minutes.
PRESENT: Final = 10
# The largest page: of more processes the newest are shown.
MOST_PROCESSES: Final = 60
_MOST_SAMPLES: Final = MOST_PROCESSES * int(HISTORY.total_seconds() // SAMPLE_SECONDS)


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process as of its newest sample. `mean_seconds` and `error_percent` are those of the last five minutes, None
    where nothing was done. `memory_percent` is the share of `memory_limit_bytes` that the process itself uses."""

    id: UUID
    kind: str
    host: str
    pid: int
    status: str
    at: datetime
    requests_total: int
    errors_total: int
    mean_seconds: float | None
    error_percent: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    memory_percent: float | None
    cpu_percent: float | None
    queue_length: int
    active_sessions: int
    context_percent: float | None
    capacity: int | None
    claim_limit: int | None
    memory_history: Sequence[float | None]
    cpu_history: Sequence[float | None]
    seconds_history: Sequence[float | None]

    @property
    def name(self) -> str:
        """Its host and pid."""
        return f"{self.host}:{self.pid}"

    def as_json(self) -> dict[str, Any]:
        """For programs: without what is drawn."""
        rounded = {
            name: None if (value := getattr(self, name)) is None else round(value, 3)
            for name in ("mean_seconds", "error_percent", "memory_percent", "cpu_percent", "context_percent")
        }
        return {
            "id": str(self.id),
            "kind": self.kind,
            "host": self.host,
            "pid": self.pid,
            "status": self.status,
            "at": self.at.isoformat(),
            "requests_total": self.requests_total,
            "errors_total": self.errors_total,
            "memory_bytes": self.memory_bytes,
            "memory_limit_bytes": self.memory_limit_bytes,
            "queue_length": self.queue_length,
            "active_sessions": self.active_sessions,
            "capacity": self.capacity,
            "claim_limit": self.claim_limit,
            **rounded,
        }


def read_processes(now: datetime) -> list[ProcessStatus]:
    """Runners, then web processes, by host. One query."""
    newest = ProcessSample.objects.filter(at__gt=now - HISTORY).order_by(F("at").desc())[:_MOST_SAMPLES]
    samples: dict[UUID, list[ProcessSample]] = {}
    for sample in newest:
        samples.setdefault(sample.process_id, []).insert(0, sample)
    present = [rows for rows in samples.values() if rows[-1].at > now - GONE]
    processes = [_status(rows, now) for rows in present[:MOST_PROCESSES]]
    return sorted(processes, key=lambda one: (one.kind != ProcessKind.RUNNER, one.host, one.pid))


def _status(rows: Sequence[ProcessSample], now: datetime) -> ProcessStatus:
    last = rows[-1]
    points = [make_point(row) for row in rows[-PRESENT - 1 :]]
    window = TurnWindow(points)
    percents = [row.context_percent for row in rows[-PRESENT:] if row.context_percent is not None]
    limit_bytes = last.memory_limit_bytes
    age_seconds = (now - last.at).total_seconds()
    return ProcessStatus(
        id=last.process_id,
        kind=last.kind,
        host=last.host,
        pid=last.pid,
        status=_describe_status(last.status, age_seconds),
        at=last.at,
        requests_total=last.requests_total,
        errors_total=last.errors_total,
        mean_seconds=window.mean_seconds,
        error_percent=window.error_percent,
        memory_bytes=last.memory_bytes,
        memory_limit_bytes=limit_bytes,
        memory_percent=points[-1].memory_percent,
        cpu_percent=last.cpu_percent,
        queue_length=last.queue_length,
        active_sessions=last.active_sessions,
        context_percent=sum(percents) / len(percents) if percents else None,
        capacity=last.figures.get("capacity"),
        claim_limit=last.figures.get("claim_limit"),
        memory_history=[None if not limit_bytes else make_point(row).memory_percent for row in rows],
        cpu_history=[row.cpu_percent for row in rows],
        seconds_history=[row.mean_seconds for row in rows],
    )


def _describe_status(status: str, age_seconds: float) -> str:
    """As it said itself, but for one that has ended (its last sample is that of its end) and one that says nothing."""
    if status == "draining":
        return "ended" if age_seconds > 1.5 * SAMPLE_SECONDS else status
    return "silent" if age_seconds > STALE_SECONDS else status
