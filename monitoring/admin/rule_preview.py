"""What the rule in a form would have done: the part of its page that says so, and the chart of an alert."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from console.charts import (
    Axis,
    Chart,
    ChartShape,
    Series,
    ShadedTime,
    Threshold,
    bucket_number,
    make_chart,
    round_top,
)
from console.formatting import format_seconds
from foundation.clock import now
from foundation.db_threads import DATABASE_FAULTS
from foundation.db_timeouts import statement_timeout
from foundation.durations import format_duration_exactly
from monitoring.admin.alert_rule_form import AlertRuleForm
from monitoring.alerts.alert_descriptions import (
    describe_condition,
    describe_labels,
    describe_scope,
    format_metric_value,
    metric_title,
)
from monitoring.alerts.backtest import Backtest
from monitoring.alerts.label_sets import TooManyValues
from monitoring.alerts.metrics import METRICS, Unit, read_values
from monitoring.alerts.rule_backtest import MAX_DAYS, backtest_rule
from monitoring.models import Alert, AlertRule, Comparison, Severity
from monitoring.time_ranges import floor_time

log = structlog.get_logger(__name__)

PREVIEW_SECONDS: Final = 5.0
SHOWN_FIRINGS: Final = 10
_HOUR: Final = timedelta(hours=1)
# Of the chart of an alert: what is shown of the time around it, and the widths of buckets with the labels of the axis.
MAX_POINTS: Final = 180
_BEFORE: Final = timedelta(minutes=30)
_AFTER: Final = timedelta(minutes=15)
_EPISODE_BUCKETS: Final = (
    (timedelta(minutes=1), timedelta(minutes=15), "%H:%M"),
    (timedelta(minutes=5), timedelta(hours=2), "%H:%M"),
    (timedelta(minutes=15), timedelta(hours=6), "%H:%M"),
    (timedelta(hours=1), timedelta(days=1), "%d %b"),
)
_FALLING: Final = frozenset({Comparison.BELOW, Comparison.AT_MOST})
# What is later than that into the days was not measured from their beginning on.
_LATE: Final = timedelta(hours=12)


def preview_context(form: AlertRuleForm) -> dict[str, Any]:
    """The context of the template of the preview, for the values in a form that was validated, or for those of its rule
    if it is not bound."""
    errors = form.judging_errors() if form.is_bound else []
    rule = form.judged_rule()
    if rule is None:
        return {"preview_errors": errors, "days": MAX_DAYS}
    try:
        with statement_timeout(PREVIEW_SECONDS):
            result = backtest_rule(rule, now=now())
    except TooManyValues as error:
        return {"preview_refusal": str(error), "days": MAX_DAYS}
    except (*DATABASE_FAULTS, ValueError, KeyError) as error:
        log.warning("alert_preview.failed", reason=str(error))
        return {"preview_fault": True, "days": MAX_DAYS}
    return {
        "days": MAX_DAYS,
        "preview_condition": describe_condition(rule),
        "preview_scope": describe_scope(rule),
        "metric_description": METRICS[rule.metric].description,
        "verdict": describe_result(rule, result),
        "is_noisy": len(result.firings) > MAX_DAYS * 3,
        "preview_chart": backtest_chart(rule, result),
        "firings": [
            (firing.firing_at, describe_labels(dict(firing.labels)), _duration(result.duration(firing)), firing)
            for firing in list(reversed(result.firings))[:SHOWN_FIRINGS]
        ],
        "more_firings": max(0, len(result.firings) - SHOWN_FIRINGS),
    }


def describe_result(rule: AlertRule, result: Backtest) -> str:
    """In sentences how often the rule would have fired: "Would have fired 3 times in the last 7 days, the longest for
    1 h 05 min.\""""
    return " ".join(_sentences(rule, result))


def _sentences(rule: AlertRule, result: Backtest) -> Iterator[str]:
    first = _first_value(result)
    if first is None:
        yield f"There are no values in the last {MAX_DAYS} days."
    times = len(result.firings)
    if not times and first is not None:
        yield f"Would not have fired in the last {MAX_DAYS} days."
    if times == 1:
        yield f"Would have fired once in the last {MAX_DAYS} days, for {_duration(result.longest)}."
    elif times:
        longest = _duration(result.longest)
        yield f"Would have fired {times:,} times in the last {MAX_DAYS} days, the longest for {longest}."
    if result.dropped:
        hold = format_duration_exactly(rule.for_seconds)
        also = " also" if times else ""
        yield f"The condition{also} held {_times(result.dropped)} for less than {hold}."
    if any(firing.resolved_at is None for firing in result.firings):
        yield "It would be firing now."
    if first is not None and first - result.times[0] > _LATE:
        yield f"There are values only since {first:%d %b %H:%M} UTC."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _first_value(result: Backtest) -> datetime | None:
    """The first time at which there is a value."""
    firsts = [
        next((number for number, value in enumerate(series) if value is not None), None)
        for series in result.values.values()
    ]
    present = [number for number in firsts if number is not None]
    return result.times[min(present)] if present else None


def _duration(duration: timedelta | None) -> str:
    return format_seconds(duration.total_seconds()).removesuffix(" 00 s") if duration else "a moment"


def backtest_chart(rule: AlertRule, result: Backtest) -> Chart:
    """The values of each hour that were nearest to firing, with the threshold, and shaded when the rule would have
    fired."""
    falling = rule.comparison in _FALLING
    first = floor_time(result.times[0], _HOUR)
    count = (result.times[-1] - first) // _HOUR + 1
    axis = Axis([first + _HOUR * number for number in range(count)], _HOUR, timedelta(days=1), "%d %b")
    values = worst_in_buckets(result, axis, falling=falling)
    spans = [
        ShadedTime(one.firing_at, one.resolved_at or result.times[-1], "it would have fired") for one in result.firings
    ]
    return alert_chart(rule, axis, values, spans, key="preview", title=metric_title(rule.metric))


def alert_chart(
    rule: AlertRule, axis: Axis, values: Sequence[float | None], spans: Sequence[ShadedTime], *, key: str, title: str
) -> Chart:
    """The chart of a rule's metric with its thresholds."""
    falling = rule.comparison in _FALLING
    level = "bad" if rule.severity == Severity.CRITICAL else "warn"
    verb = Comparison(rule.comparison).label
    thresholds = [Threshold(rule.threshold, f"fires {verb} {format_metric_value(rule.metric, rule.threshold)}", level)]
    if rule.clear_threshold is not None:
        clear = format_metric_value(rule.metric, rule.clear_threshold)
        thresholds.append(Threshold(rule.clear_threshold, f"ends past {clear}", "warn"))
    present = [value for value in values if value is not None]
    top = round_top(max([*present, *(one.value for one in thresholds)], default=0.0))
    extreme, word = (min, "lowest") if falling else (max, "highest")
    summary = f"{word}: {format_metric_value(rule.metric, extreme(present))}" if present else "no values"
    return make_chart(
        key,
        title,
        axis,
        [Series(f"{word} value", "used", values)],
        shape=ChartShape.LINES,
        format_value=_format(rule.metric),
        top=100.0 if _is_percent(rule.metric) and top > 50 else top,
        thresholds=thresholds,
        summary=summary,
        empty_words="There are no values.",
        spans=spans,
    )


def episode_chart(alert: Alert) -> Chart | None:
    """The values of what an alert is about, from before it was pending to after it has ended; None if they cannot be
    read. Up to three statements."""
    rule = alert.rule
    since, until = alert.pending_at - _BEFORE, min(now(), (alert.resolved_at or now()) + _AFTER)
    bucket, marked, mark_format = next(
        (choice for choice in _EPISODE_BUCKETS if (until - since) / choice[0] <= MAX_POINTS), _EPISODE_BUCKETS[-1]
    )
    first = floor_time(max(since, until - bucket * MAX_POINTS), bucket)
    count = (until - first) // bucket + 1
    axis = Axis([first + bucket * number for number in range(count)], bucket, marked, mark_format)
    try:
        with statement_timeout(PREVIEW_SECONDS):
            series = read_values(
                METRICS[rule.metric],
                labels={**rule.labels, **alert.labels},
                group_by=(),
                window=timedelta(seconds=rule.window_seconds),
                # As of the end of each bucket: that of the last one is now.
                at=[min(start + bucket, until) for start in axis.starts],
            )
    except (*DATABASE_FAULTS, ValueError, KeyError) as error:
        log.warning("alert_chart.failed", reason=str(error))
        return None
    end = alert.resolved_at or until
    spans = [ShadedTime(alert.firing_at, end, "it fires")] if alert.firing_at else []
    return alert_chart(rule, axis, series[()], spans, key="episode", title=metric_title(rule.metric))


def worst_in_buckets(result: Backtest, axis: Axis, *, falling: bool) -> list[float | None]:
    """Of all sets of labels the value in each bucket that is nearest to firing, or furthest beyond."""
    worst: list[float | None] = [None] * len(axis.starts)
    choose = min if falling else max
    numbers = [bucket_number(at, axis) for at in result.times]
    for series in result.values.values():
        for number, value in zip(numbers, series, strict=True):
            if value is not None:
                present = worst[number]
                worst[number] = value if present is None else choose(present, value)
    return worst


def _is_percent(metric: str) -> bool:
    return METRICS[metric].unit is Unit.PERCENT


def _format(metric: str) -> Callable[[float], str]:
    return lambda value: format_metric_value(metric, value)
