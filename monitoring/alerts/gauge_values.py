"""Values of gauges, from their samples: the newest one, or one of all those in a window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Any, Final

from psycopg.types.json import Jsonb

from agents.journal.queries import fetch
from monitoring.alerts.label_sets import LabelSet, check_size, make_label_set
from monitoring.sampling.gauge_samples import Gauge

# An older sample says nothing about now.
FRESH: Final = timedelta(seconds=90)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Across(StrEnum):
    """How samples of one moment with different labels become one value."""

    SUM = "sum"
    MAX = "max"


class Over(StrEnum):
    """How the samples in a window become one value."""

    MEAN = "mean"
    MAX = "max"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class GaugeSource:
    """The samples that are read, and how they become a value; `factor` is what they are multiplied by."""

    gauge: Gauge
    across: Across = Across.SUM
    over: Over = Over.MEAN
    factor: float = 1.0


# A group has the samples that bear its label; no gauge has two. Without groups, those without labels count, too: where
# nothing is amiss there is such a one with 0, which tells "nothing" from "nobody looked". Microseconds since 1970 are
# cheaper to read than times.
_READ: Final = """
SELECT (extract(epoch FROM at) * 1000000)::bigint, labels ->> %(label)s::text AS label,
       CASE WHEN %(is_sum)s THEN sum(value) ELSE max(value) END
FROM monitoring_gaugesample
WHERE metric = %(metric)s AND at > %(since)s AND at <= %(until)s AND labels @> %(selected)s::jsonb
  AND (%(label)s::text IS NULL OR labels ? %(label)s::text)
GROUP BY at, label ORDER BY at
"""


def read_gauge_values(
    source: GaugeSource,
    *,
    labels: Mapping[str, str],
    group_by: Sequence[str],
    window: timedelta,
    at: Sequence[datetime],
) -> dict[LabelSet, list[float | None]]:
    """See `monitoring.alerts.metrics.read_values`. One statement."""
    reach = window or FRESH
    samples: dict[LabelSet, list[tuple[int, float]]] = {} if group_by else {(): []}
    for moment, label, value in _fetch(source, labels, group_by, min(at) - reach, max(at)):
        label_set = make_label_set((name, label) for name in group_by)
        samples.setdefault(label_set, []).append((moment, source.factor * value))
    check_size(len(samples), len(at))
    moments = [_microseconds(moment) for moment in at]
    return {
        label_set: _values(source.over if window else None, rows, moments, reach // _MICROSECOND)
        for label_set, rows in samples.items()
    }


def _fetch(
    source: GaugeSource, labels: Mapping[str, str], group_by: Sequence[str], since: datetime, until: datetime
) -> list[tuple[Any, ...]]:
    params = {
        "metric": source.gauge.value,
        "is_sum": source.across is Across.SUM,
        "selected": Jsonb(dict(labels)),
        "label": next(iter(group_by), None),
        "since": since,
        "until": until,
    }
    return fetch(_READ, params)


def _values(
    over: Over | None, samples: Sequence[tuple[int, float]], moments: Sequence[int], reach: int
) -> list[float | None]:
    """The value at each of `moments`, from the samples not older than `reach`; `over` None: the newest of them."""
    times, values = [moment for moment, _ in samples], [value for _, value in samples]
    spans = [(bisect_right(times, moment - reach), bisect_right(times, moment)) for moment in moments]
    match over:
        case None:
            return [values[end - 1] if end > start else None for start, end in spans]
        case Over.MAX:
            return [max(values[start:end], default=None) for start, end in spans]
    running = list(accumulate(values, initial=0.0))
    totals = [(running[end] - running[start], end - start) for start, end in spans]
    return [None if not count else total / count if over is Over.MEAN else total for total, count in totals]


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
