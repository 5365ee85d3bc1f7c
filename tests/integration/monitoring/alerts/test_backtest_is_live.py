"""The rows that the evaluator leaves are the firings of the backtest, for any series and any restarts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.alerts.backtest import AlertFiring, backtest
from monitoring.alerts.evaluator import evaluate_due_rules
from monitoring.alerts.label_sets import LabelSet, make_label_set
from monitoring.alerts.state_machine import read_terms
from monitoring.models import Alert, AlertRule

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 30, tzinfo=UTC)
LONGEST = 20
Series = Mapping[LabelSet, Sequence[float | None]]

seconds = st.sampled_from([0, 10, 30, 60, 95])
values = st.one_of(st.none(), st.sampled_from([0.0, 3.0, 4.0, 5.0, 5.1, 9.0]))
rules = st.builds(
    AlertRule,
    name=st.just("any"),
    metric=st.just("turn_error_rate"),
    comparison=st.sampled_from(["gt", "ge", "lt", "le"]),
    threshold=st.sampled_from([4.0, 5.0]),
    clear_threshold=st.sampled_from([None, 3.0, 5.0]),
    for_seconds=seconds,
    keep_firing_for_seconds=seconds,
    interval_seconds=st.just(10),
    no_data=st.sampled_from(["ok", "keep", "alert"]),
)
several = st.dictionaries(
    st.sampled_from(["a", "b"]).map(lambda slug: (("agent", slug),)),
    st.lists(values, min_size=LONGEST, max_size=LONGEST),
    min_size=1,
)
alone = st.lists(values, min_size=LONGEST, max_size=LONGEST).map(lambda series: {(): series})


@given(
    st.lists(st.tuples(rules, alone | several), min_size=15, max_size=15),
    st.lists(st.integers(10, 60), min_size=LONGEST, max_size=LONGEST),
)
@settings(max_examples=3, deadline=None)
def test_the_alerts_of_evaluations_are_the_firings_of_the_backtest(
    cases: Sequence[tuple[AlertRule, Series]], steps: Sequence[int]
) -> None:
    times = [START + timedelta(seconds=sum(steps[:number])) for number in range(LONGEST)]
    with transaction.atomic():
        for number, (rule, series) in enumerate(cases):
            # Rules that look at the same share what is read: each has a window of its own.
            rule.name, rule.window_seconds = f"rule-{number}", 60 * (number + 1)
            rule.group_by = [] if () in series else ["agent"]
            rule.save()
        by_rule = {rule.name: series for rule, series in cases}
        for number, at in enumerate(times):
            evaluate(by_rule, number, at)
        for rule, series in cases:
            assert by_time(read_firings(rule)) == by_time(backtest(read_terms(rule), times, series).firings)
        transaction.set_rollback(True)


def evaluate(by_rule: Mapping[str, Series], number: int, at: datetime) -> None:
    """A pass that knows nothing but the rows. A group without a value is not there, as `read_values` has it."""

    def read(rule: AlertRule, _at: datetime) -> dict[LabelSet, float | None]:
        series = by_rule[rule.name]
        return {labels: values[number] for labels, values in series.items() if values[number] is not None or not labels}

    assert evaluate_due_rules(at=at, read_values=read).failures == 0


def read_firings(rule: AlertRule) -> list[AlertFiring]:
    return [
        AlertFiring(make_label_set(row.labels.items()), row.pending_at, row.firing_at, row.resolved_at)
        for row in Alert.objects.filter(rule=rule, firing_at__isnull=False)
        if row.firing_at
    ]


def by_time(firings: Sequence[AlertFiring]) -> list[AlertFiring]:
    return sorted(firings, key=lambda firing: (firing.firing_at, firing.labels))
