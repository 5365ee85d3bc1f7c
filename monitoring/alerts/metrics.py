"""The closed list of what alert rules may be about, and the one reader of its values, live and for the past."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agents.journal.rollup_sql import TURNS
from health_checks.check import Link
from monitoring.alerts.gauge_values import Across, GaugeSource, read_gauge_values
from monitoring.alerts.label_sets import LabelSet
from monitoring.alerts.window_formulas import Percentage
from monitoring.alerts.window_values import WindowSource, read_window_values
from monitoring.sampling.gauge_samples import Gauge


class Unit(StrEnum):
    """What a value counts; empty for a plain number."""

    NUMBER = ""
    PERCENT = "%"
    SECONDS = "s"
    BYTES = "bytes"
    DOLLARS = "USD"


class MetricKind(StrEnum):
    """Where values come from: what happened in a window of whole minutes, or samples of each half minute."""

    WINDOW = "window"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class AlertMetric:
    """Something that a rule may be about. `labels` are those by which it can be selected and grouped; `page` shows the
    rows behind it. A window of 0 s is the newest sample of a gauge; other metrics have one of a minute at least."""

    name: str
    title: str
    description: str
    unit: Unit
    labels: Collection[str]
    default_window: timedelta
    page: Link
    source: WindowSource | GaugeSource

    @property
    def kind(self) -> MetricKind:
        return MetricKind.WINDOW if isinstance(self.source, WindowSource) else MetricKind.GAUGE


_FIVE_MINUTES: Final = timedelta(minutes=5)
_NEWEST: Final = timedelta(0)
_OF_TURNS: Final = ("agent", "release")

_ALL: Final = (
    AlertMetric(
        "turn_error_rate",
        "Failed turns",
        "The percentage of the turns that ended in the window and failed or expired, without those that operators "
        "failed. No data where none ended.",
        Unit.PERCENT,
        _OF_TURNS,
        _FIVE_MINUTES,
        Link("admin:agents_turn_changelist", query={"state": "unanswered"}),
        WindowSource(TURNS, Percentage("failed", "turns")),
    ),
    AlertMetric(
        "queue_depth",
        "Turns in the queue",
        "Turns that wait for a runner.",
        Unit.NUMBER,
        (),
        _NEWEST,
        Link("admin:agents_turn_changelist", query={"state": "queued"}),
        GaugeSource(Gauge.QUEUE_DEPTH),
    ),
    AlertMetric(
        "memory_percent",
        "Memory in use",
        "What everybody uses of the memory of a host: of its container's limit, else of the machine's. Without groups "
        "that of the fullest host.",
        Unit.PERCENT,
        ("host",),
        _NEWEST,
        Link("admin:agents_runner_changelist"),
        GaugeSource(Gauge.MEMORY_FRACTION, across=Across.MAX, factor=100),
    ),
)
METRICS: Final[Mapping[str, AlertMetric]] = {metric.name: metric for metric in _ALL}


def read_values(
    metric: AlertMetric,
    *,
    labels: Mapping[str, str],
    group_by: Sequence[str],
    window: timedelta,
    at: Sequence[datetime],
) -> dict[LabelSet, list[float | None]]:
    """The value at each time of `at` of what `labels` select, by set of labels of `group_by`; None: no data.

    The only reader: with one time for an evaluation, with many for a backtest or a chart, by the same one to three
    statements. Without `group_by` the answer has one set, the empty one, also where there is no data at all. With it
    the sets of which there is something in the whole range; one that is missing has no data.

    Raises `ValueError` for labels that the metric does not have, and without a time.
    """
    unknown = {*labels, *group_by} - {*metric.labels}
    if unknown or not at:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}." if unknown else "No time.")
    if isinstance(metric.source, WindowSource):
        return read_window_values(metric.source, labels=labels, group_by=group_by, window=window, at=at)
    return read_gauge_values(metric.source, labels=labels, group_by=group_by, window=window, at=at)
