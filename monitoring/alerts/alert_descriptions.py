"""Rules and alerts in words: a condition, labels, values with their unit, durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from console.formatting import NOTHING, format_seconds
from foundation.durations import format_duration_exactly
from monitoring.alerts.metrics import METRICS, Unit
from monitoring.alerts.rule_values import series_key
from monitoring.models import Alert, AlertRule, Comparison

_MEGABYTE: Final = 10**6


def metric_title(name: str) -> str:
    """The metric in words; its name, if this version has no such metric."""
    metric = METRICS.get(name)
    return metric.title if metric else name


def metric_unit(name: str) -> str:
    """The unit of a metric's values; "" for numbers without one."""
    metric = METRICS.get(name)
    return metric.unit if metric else ""


def format_metric_value(name: str, value: float | None) -> str:
    """A value of a metric with its unit: "5.2 %", "4 min 05 s", "12 turns"; a dash if there is none."""
    if value is None:
        return NOTHING
    match unit := metric_unit(name):
        case Unit.SECONDS:
            return format_duration_exactly(int(value)) if value == int(value) else format_seconds(value)
        case Unit.BYTES:
            return f"{value / _MEGABYTE:,.0f} MB"
        case Unit.DOLLARS:
            return f"${value:,.2f}"
        case _:
            return f"{value:,.4g} {unit}".rstrip() if abs(value) < 10_000 else f"{value:,.0f} {unit}".rstrip()


def is_of_present_rule(alert: Alert) -> bool:
    """Whether the alert's rule still measures what it did when the alert began; else its value has another unit."""
    return alert.series_key in {"", series_key(alert.rule)}


def format_alert_value(alert: Alert) -> str:
    """The value of an alert with the unit of its rule's metric, without one if the rule measures something else by
    now."""
    return format_metric_value(alert.rule.metric if is_of_present_rule(alert) else "", alert.value)


def describe_condition(rule: AlertRule) -> str:
    """When a rule fires: "Failed turns above 5 % over 5 min, for 5 min"."""
    comparison = Comparison(rule.comparison).label
    threshold = format_metric_value(rule.metric, rule.threshold)
    window = f" over {format_duration_exactly(rule.window_seconds)}" if rule.window_seconds else ""
    hold = f", for {format_duration_exactly(rule.for_seconds)}" if rule.for_seconds else ""
    return f"{metric_title(rule.metric)} {comparison} {threshold}{window}{hold}"


def describe_scope(rule: AlertRule) -> str:
    """What of the metric a rule looks at: "only agent demo, each release by itself"; "" for all together."""
    only = [f"only {name} {value}" for name, value in sorted(rule.labels.items())]
    each = [f"each {name} by itself" for name in rule.group_by]
    return ", ".join([*only, *each])


def describe_labels(labels: Mapping[str, Any]) -> str:
    """The labels of an alert: "agent demo, release 3"; "" without labels."""
    return ", ".join(f"{name} {value}" for name, value in sorted(labels.items()))
