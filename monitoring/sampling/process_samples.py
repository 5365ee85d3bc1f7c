"""The sample of a process: from its own totals and those of its sample before."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from foundation.process_memory import MemoryUse, read_memory_use, resident_bytes
from foundation.process_work import Process, ProcessKind
from monitoring.models import ProcessSample

# What `Process.figures` says and has a column of its own. Whatever else it says goes into `ProcessSample.figures`.
_COLUMNS = frozenset({"status", "requests_total", "errors_total", "queue_length", "active_sessions"})
LAG_SHARE: Final = 0.95
_QUEUE_LENGTH = "SELECT count(*) FROM agents_turn WHERE status = 'queued'"


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """The totals of a process at a moment of its monotonic clock."""

    at_seconds: float
    cpu_seconds: float
    resident_bytes: int
    memory: MemoryUse
    figures: Mapping[str, Any] = field(default_factory=dict)

    def total(self, name: str) -> float:
        """A total of the process; 0 for one that it does not count."""
        return float(self.figures.get(name, 0))


def read_process(process: Process) -> ProcessReading:
    """The totals of this process now. Asks no database."""
    spans = {"spans_dropped": process.spans.dropped, "spans_buffered": len(process.spans)}
    figures = {**process.figures(), **spans, **_disk()}
    return ProcessReading(time.monotonic(), time.process_time(), resident_bytes(), read_memory_use(), figures)


def _disk() -> Mapping[str, float]:
    """How full the disk with the data of the installation is; nothing where there is no such folder."""
    try:
        usage = shutil.disk_usage(settings.BANDSTAND.data_dir)
    except OSError:
        return {}
    # What only root may use counts as used, as for `df`.
    return {"disk_used_fraction": usage.used / (usage.used + usage.free)} if usage.used else {}


def mean_since(previous: ProcessReading, reading: ProcessReading, total: str, count: str) -> float | None:
    """The mean of what was added to `total`, by what was added to `count`; None where nothing was."""
    number = reading.total(count) - previous.total(count)
    return (reading.total(total) - previous.total(total)) / number if number > 0 else None


def event_lag_since(previous: ProcessReading, reading: ProcessReading) -> float | None:
    """The lag in seconds that 95 % of the events since `previous` did not exceed, as the bound of their bucket; the
    last bucket counts as its lower bound. None without events."""
    old, new = previous.figures.get("event_lag"), reading.figures.get("event_lag")
    if not new:
        return None
    counts = (
        [count - earlier for count, earlier in zip(new["buckets"], old["buckets"], strict=True)]
        if old
        else new["buckets"]
    )
    total, below = sum(counts), 0
    for bound, count in zip([*new["bounds"], new["bounds"][-1]], counts, strict=True):
        below += count
        if total and below >= LAG_SHARE * total:
            return float(bound)
    return None


def cpu_percent_since(previous: ProcessReading, reading: ProcessReading) -> float | None:
    """How much of a core the process used since `previous`; None for no time."""
    seconds = reading.at_seconds - previous.at_seconds
    return 100 * (reading.cpu_seconds - previous.cpu_seconds) / seconds if seconds > 0 else None


def make_sample(process: Process, previous: ProcessReading, reading: ProcessReading) -> ProcessSample:
    """The sample of a process, without its time and, for a runner, without the length of the queue."""
    figures = {
        **reading.figures,
        "new_spans_dropped": reading.total("spans_dropped") - previous.total("spans_dropped"),
        "event_lag_p95_seconds": event_lag_since(previous, reading),
    }
    return ProcessSample(
        process_id=process.id,
        kind=process.kind.value,
        host=socket.gethostname(),
        pid=os.getpid(),
        status=figures.get("status", "running"),
        requests_total=int(reading.total("requests_total")),
        errors_total=int(reading.total("errors_total")),
        mean_seconds=mean_since(previous, reading, "seconds_total", "requests_total"),
        memory_bytes=reading.resident_bytes,
        memory_used_bytes=reading.memory.used_bytes,
        memory_limit_bytes=reading.memory.limit_bytes,
        cpu_percent=cpu_percent_since(previous, reading),
        queue_length=int(reading.total("queue_length")),
        active_sessions=int(reading.total("active_sessions")),
        context_percent=mean_since(previous, reading, "context_percent_total", "context_total"),
        figures={name: value for name, value in figures.items() if name not in _COLUMNS},
    )


def store_sample(sample: ProcessSample) -> None:
    """Insert `sample` with the database's time. All runners take turns from one queue: its length is asked for here."""
    if sample.kind == ProcessKind.RUNNER:
        with connection.cursor() as cursor:
            cursor.execute(_QUEUE_LENGTH)
            sample.queue_length = cursor.fetchone()[0]
    sample.at = Now()
    sample.save(force_insert=True)
