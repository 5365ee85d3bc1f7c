"""The closed list of what alert rules may be about, and the reader of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from monitoring.alerts.label_sets import LabelSet, make_label_set
from monitoring.models import GaugeSample


@dataclass(frozen=True, slots=True)
class AlertMetric:
    """Something that a rule may be about."""

    name: str
    title: str


METRICS: Final[Mapping[str, AlertMetric]] = {
    "queue_depth": AlertMetric("queue_depth", "Turns in the queue"),
    "memory_percent": AlertMetric("memory_percent", "Memory in use"),
}


def read_values(
    metric: AlertMetric,
    *,
    labels: Mapping[str, str],
    group_by: Sequence[str],
    window: timedelta,  # noqa: ARG001
    at: Sequence[datetime],
) -> dict[LabelSet, list[float | None]]:
    """The newest samples."""
    values: dict[LabelSet, list[float | None]] = {} if group_by else {(): [None]}
    for moment in at:
        rows = GaugeSample.objects.filter(
            metric=metric.name, labels__contains=labels, at__lte=moment, at__gt=moment - timedelta(seconds=90)
        )
        for row in rows.order_by("at"):
            values[make_label_set((name, row.labels[name]) for name in group_by)] = [row.value]
    return values
