"""The backtest of a rule, stored or only in a form: what it would have done in the last days."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from monitoring.alerts.backtest import Backtest, backtest
from monitoring.alerts.metrics import METRICS, read_values
from monitoring.alerts.state_machine import read_terms
from monitoring.models import AlertRule

# As far back as there are counters of minutes for the longest window.
MAX_DAYS: Final = 7


def backtest_rule(rule: AlertRule, *, now: datetime, days: float = MAX_DAYS) -> Backtest:
    """What evaluations of `rule` in the last `days` (7 at most) before `now` would have done, at its interval.

    Reads by `read_values`, in one to three statements. Raises `KeyError` for a metric that does not exist, and
    `ValueError` for labels that it does not have, and where there are too many sets of them.
    """
    interval = timedelta(seconds=rule.interval_seconds)
    count = int(timedelta(days=min(days, MAX_DAYS)) / interval)
    times = [now - interval * number for number in range(count, -1, -1)]
    values = read_values(
        METRICS[rule.metric],
        labels=rule.labels,
        group_by=rule.group_by,
        window=timedelta(seconds=rule.window_seconds),
        at=times,
    )
    return backtest(read_terms(rule), times, values)
