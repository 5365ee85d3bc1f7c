"""Values of metrics: the same for one time and for many, whether turns are counted yet or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents.journal.compaction import compact_turns
from agents.models import Turn
from monitoring.alerts.metrics import METRICS, read_values
from monitoring.models import GaugeSample
from tests.support.conversations import Conversation, conversation
from tests.support.past_turns import past_turn
from tests.support.people import agent

pytestmark = pytest.mark.django_db

FIVE = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)


def at(minute: float) -> datetime:
    """A time of a recent hour."""
    hour = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    return hour + timedelta(minutes=minute)


def talk(slug: str = "demo", name: str = "ada") -> Conversation:
    agent(slug)
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
