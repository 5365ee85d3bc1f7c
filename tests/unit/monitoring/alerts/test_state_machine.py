"""The states of an alert: one line for each way from one to another, and the backtest that is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.backtest import AlertFiring, backtest
from monitoring.alerts.label_sets import LabelSet
from monitoring.alerts.state_machine import INACTIVE, AlertState, AlertStatus, Change, Terms, evaluate

START = datetime(2026, 11, 30, tzinfo=UTC)
TERMS = Terms("gt", 5.0, None, timedelta(0), timedelta(0), "ok")
HOLD = replace(TERMS, hold=timedelta(seconds=60))
KEEP = replace(TERMS, keep_firing_for=timedelta(seconds=60))
CLEAR = replace(TERMS, clear_threshold=3.0)
NONE, PENDING, DROPPED, FIRING, RESOLVED = "none", "pending", "dropped", "firing", "resolved"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def changes(terms: Terms, values: Iterable[float | None], step: float = 30) -> list[str]:
    status, result = INACTIVE, []
    for number, value in enumerate(values):
        status, change = evaluate(status, terms, value, at(number * step))
        result.append(change.value)
    return result


@pytest.mark.parametrize(
    ("terms", "values", "expected"),
    [
        (TERMS, [5, 6, 6, 5], [NONE, FIRING, NONE, RESOLVED]),
        (HOLD, [6, 6, 6, 6, 5], [PENDING, NONE, FIRING, NONE, RESOLVED]),
        (HOLD, [6, 6, 5, 6, 6, 6], [PENDING, NONE, DROPPED, PENDING, NONE, FIRING]),
        (KEEP, [6, 5, 5, 6, 5, 5, 5], [FIRING, NONE, NONE, NONE, NONE, NONE, RESOLVED]),
        (CLEAR, [6, 4, 3, 6, 3.1], [FIRING, NONE, RESOLVED, FIRING, NONE]),
        (replace(TERMS, comparison="ge"), [4.9, 5, 4.9], [NONE, FIRING, RESOLVED]),
        (replace(TERMS, comparison="lt"), [5, 4.9, 5], [NONE, FIRING, RESOLVED]),
        (replace(TERMS, comparison="le"), [5.1, 5, 5.1], [NONE, FIRING, RESOLVED]),
        (replace(TERMS, no_data="ok"), [None, 6, None], [NONE, FIRING, RESOLVED]),
        (replace(TERMS, no_data="keep"), [None, 6, None, 5, None], [NONE, FIRING, NONE, RESOLVED, NONE]),
        (replace(TERMS, no_data="alert"), [None, None, 5], [FIRING, NONE, RESOLVED]),
        (replace(HOLD, no_data="ok"), [6, None, 6], [PENDING, DROPPED, PENDING]),
        (replace(HOLD, no_data="keep"), [6, None, None, 6], [PENDING, NONE, NONE, FIRING]),
        (replace(KEEP, no_data="keep"), [6, 5, None, 5], [FIRING, NONE, NONE, RESOLVED]),
    ],
)
def test_each_way_from_one_state_to_another(
    terms: Terms, values: Sequence[float | None], expected: Sequence[str]
) -> None:
    assert changes(terms, values) == expected


def test_a_clock_that_was_put_back_ends_no_timer_before_its_time() -> None:
    status, change = evaluate(INACTIVE, HOLD, 6, at(0))
    assert change is Change.PENDING
    for seconds in (-3600, 59):
        status, change = evaluate(status, HOLD, 6, at(seconds))
        assert (change, status.pending_at) == (Change.NONE, at(0))
    status, change = evaluate(status, HOLD, 6, at(60))
    assert (change, status.firing_at) == (Change.FIRING, at(60))


def test_it_needs_no_django() -> None:
    code = "import sys; import monitoring.alerts.backtest; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


values_of_series = st.one_of(st.none(), st.sampled_from([0.0, 3.0, 4.0, 5.0, 5.1, 9.0]))
seconds = st.sampled_from([0, 10, 30, 60, 95])
all_terms = st.builds(
    Terms,
    comparison=st.sampled_from(["gt", "ge", "lt", "le"]),
    threshold=st.sampled_from([4.0, 5.0]),
    clear_threshold=st.sampled_from([None, 3.0, 5.0]),
    hold=seconds.map(lambda value: timedelta(seconds=value)),
    keep_firing_for=seconds.map(lambda value: timedelta(seconds=value)),
    no_data=st.sampled_from(["ok", "keep", "alert"]),
)
series_by_labels = st.dictionaries(
    st.sampled_from([(("agent", "a"),), (("agent", "b"),)]),
    st.lists(values_of_series, min_size=1, max_size=60),
    max_size=2,
)


def stored(status: AlertStatus) -> str:
    return json.dumps(
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(status).items()}
    )


def read(text: str) -> AlertStatus:
    row: dict[str, Any] = json.loads(text)
    times = {name: datetime.fromisoformat(row[name]) for name in ("pending_at", "firing_at", "clear_at") if row[name]}
    return AlertStatus(**row | times | {"state": AlertState(row["state"])})


def live(
    terms: Terms, labels: LabelSet, times: Sequence[datetime], series: Sequence[float | None]
) -> Iterator[AlertFiring]:
    """As a process does that knows nothing but the row of the time before: none while the alert is inactive."""
    row: str | None = None
    for moment, value in zip(times, series, strict=True):
        if row is None and value is None and labels:
            continue  # it does not know that there are such labels
        before = INACTIVE if row is None else read(row)
        status, change = evaluate(before, terms, value, moment)
        row = None if status.state is AlertState.INACTIVE else stored(status)
        if change is Change.RESOLVED and before.pending_at and before.firing_at:
            yield AlertFiring(labels, before.pending_at, before.firing_at, moment)
    if row is not None and (status := read(row)).firing_at and status.pending_at:
        yield AlertFiring(labels, status.pending_at, status.firing_at, None)


@given(
    all_terms,
    st.lists(values_of_series, min_size=1, max_size=60),
    st.lists(st.integers(5, 60), min_size=60, max_size=60),
)
def test_the_backtest_does_what_evaluations_row_by_row_with_restarts_do(
    terms: Terms, series: Sequence[float | None], steps: Sequence[int]
) -> None:
    times = [at(sum(steps[:number])) for number in range(len(series))]
    for labels in ((), (("agent", "a"),)):
        result = backtest(terms, times, {labels: series})
        assert list(result.firings) == list(live(terms, labels, times, series))
        for firing in result.firings:
            assert firing.firing_at - firing.pending_at >= terms.hold


def test_a_backtest_says_how_often_and_how_long() -> None:
    times = [at(30 * number) for number in range(8)]
    a, b = (("agent", "a"),), (("agent", "b"),)
    result = backtest(HOLD, times, {a: [6, 6, 6, 5, 6, 5, 6, 6], b: [5, 6, 6, 6, 6, 6, 6, 6]})
    assert result.firings == [AlertFiring(a, at(0), at(60), at(90)), AlertFiring(b, at(30), at(90), None)]
    assert (result.dropped, result.longest) == (1, timedelta(seconds=120))
    quiet = backtest(HOLD, times, {})
    assert (quiet.firings, quiet.dropped, quiet.longest) == ([], 0, None)


def test_labels_without_data_begin_no_alert_and_a_rule_without_groups_does() -> None:
    terms, times = replace(TERMS, no_data="alert"), [at(0), at(30), at(60)]
    missing: list[float | None] = [None, 5, None]
    assert backtest(terms, times, {(("agent", "a"),): missing}).firings == []
    assert [firing.firing_at for firing in backtest(terms, times, {(): missing}).firings] == [at(0), at(60)]
