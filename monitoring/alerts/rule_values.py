"""The values of a rule at a moment, from the metric that it names."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta

from monitoring.alerts.label_sets import LabelSet
from monitoring.alerts.metrics import METRICS, read_values
from monitoring.models import AlertRule


def read_rule_values(rule: AlertRule, at: datetime) -> dict[LabelSet, float | None]:
    """The value for each set of labels of the rule; None: no data. Raises `ValueError` for a metric that is none."""
    if rule.metric not in METRICS:
        raise ValueError(f"There is no metric {rule.metric}.")
    series = read_values(
        METRICS[rule.metric],
        labels=rule.labels,
        group_by=rule.group_by,
        window=timedelta(seconds=rule.window_seconds),
        at=[at],
    )
    return {labels: values[0] for labels, values in series.items()}


def series_key(rule: AlertRule) -> str:
    """Equal for rules that measure the same; at most 32 characters. Over which window is not part of it."""
    measured = [rule.metric, sorted(rule.labels.items()), sorted(rule.group_by)]
    return hashlib.sha256(json.dumps(measured).encode()).hexdigest()[:32]
