"""The closed list of what alert rules may be about, and the one reader of its values, live and for the past."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from agents.journal.rollup_sql import CALLS, TURNS
from health_checks.check import Link
from monitoring.alerts.gauge_values import Across, GaugeSource, Over, read_gauge_values
from monitoring.alerts.label_sets import LabelSet
from monitoring.alerts.window_formulas import Percentage, Quantile, Total
from monitoring.alerts.window_values import FAILED, Formula, WindowSource, read_window_values
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
_HOUR: Final = timedelta(hours=1)
_NEWEST: Final = timedelta(0)
_OF_TURNS: Final = ("agent", "release")
_OF_CALLS: Final = ("operation", "name", "agent", "release")
# Fewer calls of an operation say nothing about it. (The turns that failed for it count from the first one.)
MIN_CALLS: Final = 5

_TURNS_PAGE: Final = Link("admin:agents_turn_changelist")
_FAILED_PAGE: Final = Link("admin:agents_turn_changelist", query={"state": "unanswered"})
_PATTERNS_PAGE: Final = Link("admin:patterns")
_RUNNERS_PAGE: Final = Link("admin:agents_runner_changelist")
_PROCESSES_PAGE: Final = Link("admin:monitoring_recommendation_changelist")
_DASHBOARD_PAGE: Final = Link("admin:dashboard")
_INBOX_PAGE: Final = Link("admin:agents_handoff_changelist", query={"show": "waiting"})
_BUDGETS_PAGE: Final = Link("admin:agents_budget_changelist")
_SCHEDULES_PAGE: Final = Link("admin:scheduling_schedule_changelist")


def _turns(
    name: str,
    title: str,
    description: str,
    *,
    unit: Unit,
    formula: Formula,
    window: timedelta = _FIVE_MINUTES,
    page: Link = _PATTERNS_PAGE,
) -> AlertMetric:
    return AlertMetric(name, title, description, unit, _OF_TURNS, window, page, WindowSource(TURNS, formula))


def _calls(name: str, title: str, description: str, *, unit: Unit, formula: Formula) -> AlertMetric:
    source = WindowSource(CALLS, formula)
    return AlertMetric(name, title, description, unit, _OF_CALLS, _FIVE_MINUTES, _PATTERNS_PAGE, source)


def _gauge(
    name: str,
    title: str,
    description: str,
    *,
    unit: Unit,
    source: GaugeSource,
    page: Link,
    labels: Collection[str] = (),
) -> AlertMetric:
    # What happened since the sample before is of use only over a time.
    window = _FIVE_MINUTES if source.over is Over.SUM else _NEWEST
    return AlertMetric(name, title, description, unit, labels, window, page, source)


_ALL: Final = (
    _turns(
        "turn_error_rate",
        "Failed turns",
        "The percentage of the turns that ended in the window and failed or expired, without those that operators "
        "failed. No data where none ended.",
        unit=Unit.PERCENT,
        formula=Percentage(FAILED, "turns"),
        page=_FAILED_PAGE,
    ),
    _turns(
        "turn_seconds_p95",
        "Response time, 95 %",
        "What 95 % of the turns that ended in the window did not exceed, from the acceptance of the message to the "
        "end. No data where none ended.",
        unit=Unit.SECONDS,
        formula=Quantile("seconds", 0.95, bounded=True),
    ),
    _turns(
        "turn_seconds_p50",
        "Response time, median",
        "What half of the turns that ended in the window did not exceed. No data where none ended.",
        unit=Unit.SECONDS,
        formula=Quantile("seconds", 0.5, bounded=True),
    ),
    _turns(
        "first_token_seconds_p95",
        "First token, 95 %",
        "What 95 % of the turns that ended in the window did not exceed from the acceptance of the message to the "
        "first token. No data where no turn had one.",
        unit=Unit.SECONDS,
        formula=Quantile("first_token_seconds", 0.95),
    ),
    _turns(
        "queue_seconds_p95",
        "Time in the queue, 95 %",
        "What 95 % of the turns that ended in the window did not exceed until a runner took them.",
        unit=Unit.SECONDS,
        formula=Quantile("queue_seconds", 0.95),
    ),
    _turns(
        "turns_ended",
        "Turns ended",
        "How many turns ended in the window, in whatever way.",
        unit=Unit.NUMBER,
        formula=Total(("turns",)),
        page=_TURNS_PAGE,
    ),
    _turns(
        "turns_failed",
        "Turns failed",
        "How many turns failed or expired in the window, without those that operators failed.",
        unit=Unit.NUMBER,
        formula=Total((FAILED,)),
        page=_FAILED_PAGE,
    ),
    _turns(
        "tokens_per_hour",
        "Tokens per hour",
        "Input and output tokens of the turns that ended in the window, for an hour.",
        unit=Unit.NUMBER,
        formula=Total(("input_tokens", "output_tokens"), per_hour=True),
        window=_HOUR,
    ),
    _turns(
        "cost_per_hour",
        "Cost per hour",
        "What the turns that ended in the window have cost, for an hour; those of unknown cost count as nothing.",
        unit=Unit.DOLLARS,
        formula=Total(("cost_usd",), per_hour=True),
        window=_HOUR,
    ),
    _calls(
        "operation_error_rate",
        "Failed calls",
        "The percentage of the calls of models and tools that ended in the window and failed. No data "
        f"below {MIN_CALLS} calls.",
        unit=Unit.PERCENT,
        formula=Percentage(FAILED, "calls", minimum=MIN_CALLS),
    ),
    _calls(
        "operation_seconds_p95",
        "Duration of calls, 95 %",
        "What 95 % of the calls of models and tools that ended in the window did not exceed. No data "
        f"below {MIN_CALLS} calls.",
        unit=Unit.SECONDS,
        formula=Quantile("seconds", 0.95, bounded=True, minimum=MIN_CALLS),
    ),
    _gauge(
        "queue_depth",
        "Turns in the queue",
        "Turns that wait for a runner.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.QUEUE_DEPTH),
        page=Link("admin:agents_turn_changelist", query={"state": "queued"}),
    ),
    _gauge(
        "queue_oldest_seconds",
        "Oldest turn in the queue",
        "How long the oldest queued turn waits; 0 for an empty queue.",
        unit=Unit.SECONDS,
        source=GaugeSource(Gauge.QUEUE_OLDEST_SECONDS, over=Over.MAX),
        page=Link("admin:agents_turn_changelist", query={"state": "queued"}),
    ),
    _gauge(
        "running_turns",
        "Running turns",
        "Turns with a runner.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.RUNNING_TURNS),
        page=Link("admin:agents_turn_changelist", query={"state": "any_running"}),
    ),
    _gauge(
        "stuck_turns",
        "Stuck turns",
        "Turns more than a minute past their lease (nobody renews it and nobody takes them back) or past their "
        "deadline (nobody ends them).",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.STUCK_TURNS, over=Over.MAX),
        page=Link("admin:agents_turn_changelist", query={"state": "stuck"}),
    ),
    _gauge(
        "handoffs_waiting",
        "People waiting",
        "Sessions whose user waits for words of a person, without those that were snoozed.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.HANDOFFS_WAITING),
        page=_INBOX_PAGE,
    ),
    _gauge(
        "handoff_wait_seconds",
        "Longest wait for a person",
        "How long the first of them waits; 0 if nobody does.",
        unit=Unit.SECONDS,
        source=GaugeSource(Gauge.HANDOFF_WAIT_SECONDS, over=Over.MAX),
        page=_INBOX_PAGE,
    ),
    _gauge(
        "handoffs_late",
        "First replies overdue",
        "Sessions whose user waits for the first words of a person for longer than the release of the agent allows.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.HANDOFFS_LATE),
        page=_INBOX_PAGE,
    ),
    _gauge(
        "handoffs_unattended",
        "People waiting, nobody on duty",
        "Sessions whose user waits for a person while nobody is on duty who may answer for the agent.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.HANDOFFS_UNATTENDED),
        page=_INBOX_PAGE,
    ),
    _gauge(
        "approvals_open",
        "Open approvals",
        "Calls of tools that wait until a person agrees.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.APPROVALS_OPEN),
        page=Link("admin:agents_approval_changelist", query={"state": "waiting"}),
    ),
    _gauge(
        "budget_used_percent",
        "Budgets in use",
        "How much is spent of a budget in its present period; of those of API keys together, the most. Budgets of "
        "single users and of 0 are not among them. Without groups the one of which most is spent.",
        unit=Unit.PERCENT,
        source=GaugeSource(Gauge.BUDGET_USED_PERCENT, across=Across.MAX, over=Over.MAX),
        page=_BUDGETS_PAGE,
        labels=("budget",),
    ),
    _gauge(
        "budgets_overdrawn",
        "Budgets overdrawn",
        "Budgets in whose present period a call has cost more than it had reserved.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.BUDGETS_OVERDRAWN, over=Over.MAX),
        page=_BUDGETS_PAGE,
    ),
    _gauge(
        "budget_differences",
        "Differences of the ledger",
        "Where the ledger of budgets and the calls that it is about do not agree, and nobody has reviewed it.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.BUDGET_DIFFERENCES, over=Over.MAX),
        page=_BUDGETS_PAGE,
    ),
    _gauge(
        "memory_percent",
        "Memory in use",
        "What everybody uses of the memory of a host: of its container's limit, else of the machine's. Without groups "
        "that of the fullest host.",
        unit=Unit.PERCENT,
        source=GaugeSource(Gauge.MEMORY_FRACTION, across=Across.MAX, factor=100),
        page=_RUNNERS_PAGE,
        labels=("host",),
    ),
    _gauge(
        "disk_used_percent",
        "Disk in use",
        "How full the disk with the data folder of a host is. Without groups the fullest.",
        unit=Unit.PERCENT,
        source=GaugeSource(Gauge.DISK_FRACTION, across=Across.MAX, factor=100),
        page=_DASHBOARD_PAGE,
        labels=("host",),
    ),
    _gauge(
        "runners_alive",
        "Runners alive",
        "Runners that take turns and have a recent heartbeat.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.RUNNERS_ALIVE),
        page=_RUNNERS_PAGE,
    ),
    _gauge(
        "runner_failed_checks",
        "Failed health checks of runners",
        "How often in the window the heartbeat of a runner was too old when somebody looked, which is every 10 "
        "seconds. A runner that ended is not looked at, nor one whose place on its host another one has taken; one "
        "that vanished is for 15 minutes.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.RUNNER_FAILED_CHECKS, over=Over.SUM),
        page=_RUNNERS_PAGE,
        labels=("runner",),
    ),
    _gauge(
        "open_routes",
        "Open routes",
        "Routes to models that nobody asks because they fail, or that are only tried; without those that nobody has "
        "used for 15 minutes since they could be tried. In groups, 1 for each.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.OPEN_ROUTES),
        page=Link("admin:agents_routehealth_changelist"),
        labels=("route",),
    ),
    _gauge(
        "database_connections_percent",
        "Database connections in use",
        "Of those that the server allows, those of other databases among them.",
        unit=Unit.PERCENT,
        source=GaugeSource(Gauge.DATABASE_CONNECTIONS_PERCENT),
        page=_DASHBOARD_PAGE,
    ),
    _gauge(
        "database_bytes",
        "Size of the database",
        "Tables and indexes on disk.",
        unit=Unit.BYTES,
        source=GaugeSource(Gauge.DATABASE_BYTES),
        page=_DASHBOARD_PAGE,
    ),
    _gauge(
        "scheduler_silent_seconds",
        "Silence of the scheduler",
        "Since its last heartbeat, which it writes each minute. No data where it has never run.",
        unit=Unit.SECONDS,
        source=GaugeSource(Gauge.SCHEDULER_SILENT_SECONDS, over=Over.MAX),
        page=_SCHEDULES_PAGE,
    ),
    _gauge(
        "failed_jobs",
        "Failed jobs",
        "Jobs of the scheduler whose last run failed or was lost.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.FAILED_JOBS),
        page=Link("admin:scheduling_schedule_changelist", query={"trouble": "failed"}),
    ),
    _gauge(
        "event_lag_seconds",
        "Lag of events, 95 %",
        "How long after its commit an event reached those who watch: what 95 % of the events of the last half minute "
        "did not exceed, in the slowest web process. No data while nobody watches.",
        unit=Unit.SECONDS,
        source=GaugeSource(Gauge.EVENT_LAG_SECONDS, across=Across.MAX, over=Over.MAX),
        page=_PROCESSES_PAGE,
    ),
    _gauge(
        "dropped_spans",
        "Dropped spans",
        "Spans that processes have dropped in the window, because the database did not take them in time.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.DROPPED_SPANS, over=Over.SUM),
        page=_PROCESSES_PAGE,
    ),
    _gauge(
        "failed_notifications",
        "Failed notifications",
        "Notifications of alerts that could not be delivered to their channel in the window, after all attempts; "
        "without those of rules about this.",
        unit=Unit.NUMBER,
        source=GaugeSource(Gauge.FAILED_NOTIFICATIONS, over=Over.SUM),
        page=Link("admin:monitoring_notification_changelist", query={"state": "failed"}),
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
    the sets that have a value at one of the times; one that is missing has no data.

    Raises `ValueError` for labels that the metric does not have, and without a time; `TooManyValues` where there are
    very many sets for so many times.
    """
    unknown = {*labels, *group_by} - {*metric.labels}
    if unknown or not at:
        raise ValueError(f"{metric.name} has no label {', '.join(sorted(unknown))}." if unknown else "No time.")
    if isinstance(metric.source, WindowSource):
        values = read_window_values(metric.source, labels=labels, group_by=group_by, window=window, at=at)
    else:
        values = read_gauge_values(metric.source, labels=labels, group_by=group_by, window=window, at=at)
    if not group_by:
        return values
    return {label_set: series for label_set, series in values.items() if any(value is not None for value in series)}
