"""Values of metrics: the same for one time and for many, whether turns are counted yet or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.journal.compaction import compact_turns
from agents.models import Turn
from monitoring.alerts.backtest import AlertFiring
from monitoring.alerts.gauge_values import GaugeSource
from monitoring.alerts.label_sets import LabelSet, TooManyValues
from monitoring.alerts.metrics import METRICS, MetricKind, read_values
from monitoring.alerts.rule_backtest import backtest_rule
from monitoring.alerts.state_machine import INACTIVE, AlertState, AlertStatus, Change, evaluate, read_terms
from monitoring.models import AlertRule, GaugeSample
from monitoring.sampling.gauge_samples import Gauge
from tests.support.conversations import Conversation, conversation
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import agent

pytestmark = pytest.mark.django_db

FIVE = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)
HOUR = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


def at(minute: float) -> datetime:
    """A time of a recent hour."""
    return HOUR + timedelta(minutes=minute)


def talk(slug: str = "demo", name: str = "ada") -> Conversation:
    agent(slug, tools=["clock"])
    return conversation(name, slug=slug)


def compact() -> None:
    compact_turns(list(Turn.objects.filter(compacted=False).values_list("agent_session_id", "id")))


@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_rate_covers_the_whole_minutes_that_are_over(is_compacted: bool) -> None:
    ada = talk()
    for minute, status in ((0.5, "completed"), (2.1, "failed"), (2.2, "completed"), (9.9, "completed")):
        past_turn(ada.row, ended_at=at(minute), status=status, error_class="transient" if status == "failed" else "")
    past_turn(ada.row, ended_at=at(2.3), status="failed", error_class="set_aside")
    if is_compacted:
        compact()
    times = [at(1), at(1) + timedelta(seconds=5), at(3.5), at(6.5), at(8.5), at(15.05), at(15.5)]
    values = read_values(METRICS["turn_error_rate"], labels={}, group_by=(), window=FIVE, at=times)
    assert values == {(): [None, 0.0, 25.0, pytest.approx(100 / 3), None, 0.0, None]}
    one_by_one = [
        read_values(METRICS["turn_error_rate"], labels={}, group_by=(), window=FIVE, at=[moment])[()][0]
        for moment in times
    ]
    assert one_by_one == values[()]


def test_groups_and_selections_are_by_names() -> None:
    ada, bob = talk(), talk("other", "bob")
    past_turn(ada.row, ended_at=at(0.5), status="failed", error_class="transient")
    past_turn(bob.row, ended_at=at(3.5))
    metric, times = METRICS["turn_error_rate"], [at(2), at(4.5), at(30)]
    by_agent = read_values(metric, labels={}, group_by=["agent"], window=FIVE, at=times)
    assert by_agent == {(("agent", "demo"),): [100.0, 100.0, None], (("agent", "other"),): [None, 0.0, None]}
    both = read_values(metric, labels={"agent": "demo"}, group_by=["release", "agent"], window=FIVE, at=times)
    assert both == {(("agent", "demo"), ("release", "demo/1")): [100.0, 100.0, None]}
    assert read_values(metric, labels={"agent": "nobody"}, group_by=(), window=FIVE, at=times) == {(): [None] * 3}
    assert read_values(metric, labels={"agent": "nobody"}, group_by=["agent"], window=FIVE, at=times) == {}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        read_values(metric, labels={"release": "demo/1"}, group_by=["agent"], window=FIVE, at=times)
    assert len(queries) <= 3


def test_a_label_that_a_metric_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="queue_depth has no label agent"):
        read_values(METRICS["queue_depth"], labels={}, group_by=["agent"], window=FIVE, at=[at(0)])
    with pytest.raises(ValueError, match="No time"):
        read_values(METRICS["queue_depth"], labels={}, group_by=(), window=FIVE, at=[])


def test_very_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    past_turn(talk().row, ended_at=at(0.5))
    past_turn(talk("other", "bob").row, ended_at=at(0.5))
    sample("memory_fraction", 0, 0.5, host="a")
    sample("memory_fraction", 0, 0.9, host="b")
    monkeypatch.setattr("monitoring.alerts.label_sets.MAX_VALUES", 5)
    for name, label, window in (("turns_ended", "agent", MINUTE), ("memory_percent", "host", FIVE)):
        times = [at(2), at(2.5), at(3)]
        assert read_values(METRICS[name], labels={}, group_by=[label], window=window, at=times[:2])
        with pytest.raises(TooManyValues, match="2 sets of labels, too many to be evaluated 3 times"):
            read_values(METRICS[name], labels={}, group_by=[label], window=window, at=times)


def sample(metric: str, minute: float, value: float, **labels: str) -> None:
    GaugeSample.objects.create(metric=metric, at=at(minute), value=value, labels=labels)


def test_a_gauge_is_its_newest_sample_or_the_mean_of_a_window() -> None:
    for minute, value in ((0, 4), (0.5, 8), (1, 3)):
        sample("queue_depth", minute, value)
    metric, times = METRICS["queue_depth"], [at(-1), at(0), at(0.7), at(2.4), at(2.6)]
    newest = read_values(metric, labels={}, group_by=(), window=timedelta(0), at=times)
    assert newest == {(): [None, 4, 8, 3, None]}
    mean = read_values(metric, labels={}, group_by=(), window=MINUTE, at=times)
    assert mean == {(): [None, 4, 6, None, None]}
    with CaptureQueriesContext(connection) as queries:
        read_values(metric, labels={}, group_by=(), window=MINUTE, at=times)
    assert len(queries) == 1


def test_a_gauge_of_hosts_is_the_highest_or_one_for_each() -> None:
    sample("memory_fraction", 0, 0.5, host="a")
    sample("memory_fraction", 0, 0.9, host="b")
    sample("memory_fraction", 0.5, 0.25, host="a")
    metric, times = METRICS["memory_percent"], [at(0.2), at(0.6)]
    zero = timedelta(0)
    assert read_values(metric, labels={}, group_by=(), window=zero, at=times) == {(): [90, 25]}
    assert read_values(metric, labels={"host": "a"}, group_by=(), window=zero, at=times) == {(): [50, 25]}
    by_host = read_values(metric, labels={}, group_by=["host"], window=zero, at=times)
    assert by_host == {(("host", "a"),): [50, 25], (("host", "b"),): [90, 90]}


COUNTS = {"turns_ended", "turns_failed", "tokens_per_hour", "cost_per_hour"}
FAILED: dict[str, Any] = {"status": "failed", "error_class": "transient"}
CALLED: dict[str, Any] = {"details": {"first_token_seconds": 1.5}, "input_tokens": 500, "output_tokens": 20}


def test_each_metric_of_turns_and_calls_says_what_happened() -> None:
    ada = talk()
    tokens: dict[str, Any] = {"input_tokens": 1000, "output_tokens": 500, "cost_usd": Decimal("0.25")}
    for number in range(4):
        steps = [PastStep(0.5, 3.5, **CALLED), *(PastStep(4, 5, "tool", "clock", **FAILED) for _ in range(number % 2))]
        past_turn(ada.row, ended_at=at(0.5), seconds=8, queue=4, steps=steps, **tokens)
    past_turn(ada.row, ended_at=at(1.5), seconds=100, queue=4, **FAILED, **tokens)
    expected = {
        "turn_error_rate": 20,
        "turn_seconds_p95": pytest.approx(90),
        "turn_seconds_p50": pytest.approx(9.25),
        "first_token_seconds_p95": pytest.approx(2.4, abs=0.1),
        "queue_seconds_p95": pytest.approx(4.9, abs=0.1),
        "turns_ended": 5,
        "turns_failed": 1,
        "tokens_per_hour": 7500 * 12,
        "cost_per_hour": pytest.approx(1.25 * 12),
        "operation_error_rate": pytest.approx(100 / 3),
        "operation_seconds_p95": pytest.approx(2.9625),
    }  # fmt: skip
    windows = {name for name, metric in METRICS.items() if metric.kind is MetricKind.WINDOW}
    assert set(expected) == windows
    for name, value in expected.items():
        values = read_values(METRICS[name], labels={}, group_by=(), window=FIVE, at=[at(2.5), at(50)])
        assert (name, values) == (name, {(): [value, 0 if name in COUNTS else None]})


def test_calls_are_told_apart_by_their_operation_and_name_and_few_say_nothing() -> None:
    ada = talk()
    for number in range(5):
        steps = [PastStep(0, 1), PastStep(1, 2, "tool", "clock", **(FAILED if number < 2 else {}))]
        past_turn(ada.row, ended_at=at(0.5), steps=steps)
    past_turn(
        ada.row,
        ended_at=at(0.5),
        steps=[PastStep(0, 1, name="openai:another", **FAILED)],
    )
    metric, times = METRICS["operation_error_rate"], [at(1.5)]
    by_name = read_values(metric, labels={}, group_by=["operation", "name"], window=FIVE, at=times)
    assert by_name == {
        (("name", "clock"), ("operation", "tool")): [40],
        (("name", "openai:gpt-4o"), ("operation", "model")): [0],
    }
    tools = read_values(metric, labels={"operation": "tool"}, group_by=["agent"], window=FIVE, at=times)
    assert tools == {(("agent", "demo"),): [40]}
    assert read_values(metric, labels={"name": "none"}, group_by=(), window=FIVE, at=times) == {(): [None]}


def test_calls_of_a_turn_that_goes_on_are_there_at_once_and_are_the_same_when_it_has_ended() -> None:
    steps = [PastStep(10 * number, 10 * number + 5, **FAILED) for number in range(30)]
    waits: dict[str, Any] = {"status": "retry_wait", "finished_at": None, "available_at": at(25)}
    turn = past_turn(talk().row, ended_at=at(20), seconds=20 * 60, steps=steps, **waits)
    past_turn(talk("other", "bob").row, ended_at=at(1), queue=None, status="expired", error_class="deadline")
    metric, times = METRICS["operation_error_rate"], [at(minute) for minute in (0.5, 1.5, 3.5, 8.5, 30)]
    live = read_values(metric, labels={}, group_by=["operation"], window=FIVE, at=times)
    assert live == {(("operation", "model"),): [None, 100, 100, 100, None]}
    Turn.objects.filter(pk=turn.pk).update(
        status="failed", error_class="transient", finished_at=at(20), available_at=None
    )
    assert read_values(metric, labels={}, group_by=["operation"], window=FIVE, at=times) == live
    compact()
    assert read_values(metric, labels={}, group_by=["operation"], window=FIVE, at=times) == live


def test_looks_at_runners_are_added_up_for_each_runner() -> None:
    for number in range(7):
        sample("runner_failed_checks", number / 6, 0)
    for number in (2, 3, 4):
        sample("runner_failed_checks", number / 6, 1, runner="a:1")
    sample("runner_failed_checks", 4 / 6, 1, runner="b:1")
    metric, times = METRICS["runner_failed_checks"], [at(-1), at(0.2), at(1), at(1.4), at(5)]
    by_runner = read_values(metric, labels={}, group_by=["runner"], window=MINUTE, at=times)
    assert by_runner == {(("runner", "a:1"),): [None, None, 3, 2, None], (("runner", "b:1"),): [None, None, 1, 1, None]}
    assert read_values(metric, labels={}, group_by=(), window=MINUTE, at=times) == {(): [None, 0, 4, 3, None]}


def test_every_gauge_of_the_samples_is_a_metric_and_every_page_exists() -> None:
    sampled = {metric.source.gauge for metric in METRICS.values() if isinstance(metric.source, GaugeSource)}
    # Without a limit they say nothing; open breakers are the open routes.
    assert set(Gauge) - sampled == {
        Gauge.RUNNER_CAPACITY, Gauge.ACTIVE_SESSIONS, Gauge.OPEN_BREAKERS, Gauge.DATABASE_CONNECTIONS
    }  # fmt: skip
    for name, metric in METRICS.items():
        assert metric.name == name
        assert len(name) <= 40
        if "notification" not in metric.page.view:
            assert metric.page.url().startswith("/admin/")


@given(st.data())
@settings(max_examples=6, deadline=None)
def test_evaluations_one_by_one_see_what_the_backtest_sees(data: st.DataObject) -> None:
    """With turns of two agents at random times, some of them counted in rollups already, and samples of a gauge."""
    with transaction.atomic():
        conversations = [talk(), talk("other", "bob")]
        for _ in range(data.draw(st.integers(1, 12))):
            status = data.draw(st.sampled_from([{}, FAILED]))
            ended_at = at(data.draw(st.integers(0, 20 * 60)) / 60)
            past_turn(
                data.draw(st.sampled_from(conversations)).row,
                ended_at=ended_at,
                seconds=data.draw(st.sampled_from([1, 45])),
                **status,
            )
            if data.draw(st.booleans()):
                compact()
        for number in range(0, 20 * 60, 30):
            sample("queue_depth", (number + data.draw(st.integers(0, 9))) / 60, data.draw(st.sampled_from([0, 50])))
        rules = [
            AlertRule(metric="turn_error_rate", threshold=5, for_seconds=60, group_by=["agent"], window_seconds=120),
            AlertRule(metric="turn_seconds_p95", threshold=30, for_seconds=0, keep_firing_for_seconds=120),
            AlertRule(metric="queue_depth", threshold=20, for_seconds=60, window_seconds=0),
            AlertRule(metric="turns_ended", comparison="lt", threshold=1, window_seconds=60, clear_threshold=2),
        ]
        for rule in rules:
            result = backtest_rule(rule, now=at(25), days=25 / 1440)
            assert list(result.firings) == sorted(
                evaluate_each(rule, result.times), key=lambda one: (one.firing_at, one.labels)
            )
        transaction.set_rollback(True)


def evaluate_each(rule: AlertRule, times: Sequence[datetime]) -> list[AlertFiring]:
    """As the evaluator does: each time by itself, with what is open remembered."""
    statuses: dict[LabelSet, AlertStatus] = {}
    firings: list[AlertFiring] = []
    for moment in times:
        window = timedelta(seconds=rule.window_seconds)
        values = read_values(
            METRICS[rule.metric], labels=rule.labels, group_by=rule.group_by, window=window, at=[moment]
        )
        for labels in {*values, *statuses}:
            value = values[labels][0] if labels in values else None
            before = statuses.pop(labels, INACTIVE)
            status, change = evaluate(before, read_terms(rule), value, moment)
            if status.state is not AlertState.INACTIVE:
                statuses[labels] = status
            elif change is Change.RESOLVED and before.pending_at and before.firing_at:
                firings.append(AlertFiring(labels, before.pending_at, before.firing_at, moment))
    for labels, status in statuses.items():
        if status.pending_at and status.firing_at:
            firings.append(AlertFiring(labels, status.pending_at, status.firing_at, None))
    return firings


def test_a_backtest_over_very_many_labels_is_refused_and_an_evaluation_is_not() -> None:
    samples = [
        GaugeSample(metric="runner_failed_checks", labels={"runner": str(n)}, value=9, at=at(1)) for n in range(400)
    ]
    GaugeSample.objects.bulk_create(samples)
    for name in ("ada", "bob"):
        past_turn(talk(name, name).row, ended_at=at(0.5))
    looks = AlertRule(metric="runner_failed_checks", group_by=["runner"], threshold=3, window_seconds=60)
    with pytest.raises(ValueError, match="400 sets of labels"):
        backtest_rule(looks, now=at(2))
    looks_now = read_values(METRICS[looks.metric], labels={}, group_by=["runner"], window=MINUTE, at=[at(1)])
    assert len(looks_now) == 400
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitoring.alerts.label_sets.MAX_VALUES", 15_000)
        with pytest.raises(ValueError, match="2 sets of labels"):
            backtest_rule(
                AlertRule(metric="turns_ended", group_by=["agent"], threshold=3, interval_seconds=3600), now=at(2)
            )
