"""Gauges over time, from the samples of each 30 seconds, and the memory of the hosts now."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from console.charts import Axis
from foundation.process_memory import read_memory_use
from monitoring.models import GaugeSample
from monitoring.sampling.gauge_samples import Gauge

WARN_MEMORY_PERCENT: Final = 70
BAD_MEMORY_PERCENT: Final = 85
# A host that has not said anything for so long is gone.
FRESH: Final = timedelta(minutes=2)
_GIB: Final = 2**30


# Those of the dashboard.
GAUGES: Final = (Gauge.QUEUE_DEPTH, Gauge.RUNNING_TURNS, Gauge.QUEUE_OLDEST_SECONDS, Gauge.MEMORY_FRACTION)

GaugePoints = Mapping[str, Sequence[tuple[datetime, float]]]

# The highest value of each bucket, of all hosts.
_HIGHEST: Final = """
SELECT metric, date_bin(make_interval(secs => %(bucket)s), at, %(since)s) AS start, max(value)
FROM monitoring_gaugesample WHERE metric = ANY(%(metrics)s) AND at >= %(since)s
GROUP BY metric, start
"""


def read_gauges(axis: Axis) -> GaugePoints:
    """The highest value of each gauge in each bucket of `axis` that has a sample. One statement."""
    points: dict[str, list[tuple[datetime, float]]] = {}
    with connection.cursor() as cursor:
        seconds = axis.bucket.total_seconds()
        cursor.execute(_HIGHEST, {"bucket": seconds, "since": axis.starts[0], "metrics": [*GAUGES]})
        for metric, at, value in cursor.fetchall():
            points.setdefault(metric, []).append((at, value))
    return points


@dataclass(frozen=True, slots=True)
class HostMemory:
    """How full the memory of a host is, and what that is in words."""

    percent: float
    label: str


def read_host_memory(now: datetime) -> list[HostMemory]:
    """The memory of this process's host or container now, and of others by their newest samples, the fullest first.
    One statement."""
    own = socket.gethostname()
    samples = GaugeSample.objects.filter(metric=Gauge.MEMORY_FRACTION, at__gte=now - FRESH).order_by("at")
    newest = {str(labels.get("host")): fraction for labels, fraction in samples.values_list("labels", "value")}
    hosts = [HostMemory(100 * fraction, f"of the host {host}") for host, fraction in newest.items() if host != own]
    if (here := _here()) is not None:
        hosts.append(here)
    return sorted(hosts, key=lambda host: -host.percent)


def _here() -> HostMemory | None:
    use = read_memory_use()
    if not use.limit_bytes or use.used_bytes is None:
        return None
    limit = "the machine" if use.of_machine else "the container's limit"
    sizes = f"{use.used_bytes / _GIB:.1f} of {use.limit_bytes / _GIB:.1f} GB of {limit}"
    return HostMemory(100 * use.used_bytes / use.limit_bytes, sizes)
