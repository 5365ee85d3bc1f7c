"""Figures of turns and calls: right before a turn is counted, after it, and when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import tasks
from agents.domain.duration_buckets import BUCKET_COUNT, DURATION_BOUNDS
from agents.journal.compaction import compact_turns
from agents.journal.rollups import delete_old_rollups, ended_between
from agents.models import Agent, AgentSession, CallRollup, Turn, TurnRollup
from agents.sessions import delete_expired_sessions, delete_session
from monitoring.figures import By, CallFigures, TurnFigures, read_call_figures, read_turn_figures
from tests.support.conversations import Conversation, answer, claimed, conversation, side_by_side
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ALL = (By.AGENT, By.RELEASE, By.STATUS, By.ERROR_CLASS)
ALL_CALLS = (By.AGENT, By.RELEASE, By.OPERATION, By.NAME, By.ERROR_CLASS)
TOKENS = {"window": 1000, "tokens": {"system": 100, "history": 300}}


def somebody(name: str = "ada", slug: str = "demo") -> Conversation:
    """A conversation with an agent that has two tools."""
    if not Agent.objects.filter(slug=slug).exists():
        agent(slug, tools=["clock", "http_fetch"])
    return conversation(name, slug=slug)


def turn_figures(*by: By, since: datetime = LONG_AGO) -> list[TurnFigures]:
    return read_turn_figures(since, timezone.now(), by=by)


def everything() -> tuple[list[TurnFigures], list[CallFigures]]:
    """All figures, which are the same however they are read: from the days, and from the totals."""
    now = timezone.now()
    turns, calls = read_turn_figures(LONG_AGO, now, by=ALL), read_call_figures(LONG_AGO, now, by=ALL_CALLS)
    for figures, totals in (
        (turns, read_turn_figures(None, None, by=ALL)),
        (calls, read_call_figures(None, None, by=ALL_CALLS)),
    ):
        assert list(map(exact, figures)) == list(map(exact, totals))
    return turns, calls


def exact(figures: TurnFigures | CallFigures) -> TurnFigures | CallFigures:
    """With sums to the millisecond: they were added up in another order."""
    names = ("seconds", "queue", "first_token", "added")
    rounded = {
        name: replace(histogram, total=round(histogram.total, 3))
        for name in names
        if (histogram := getattr(figures, name, None)) is not None
    }
    return replace(figures, **rounded)


def compact() -> int:
    return compact_turns(list(Turn.objects.values_list("agent_session_id", "id")))


def bucket(*counts: tuple[float, int]) -> tuple[int, ...]:
    """A histogram's buckets by upper bound; infinity for the last."""
    numbers = {bound: number for number, bound in enumerate((*DURATION_BOUNDS, float("inf")))}
    buckets = [0] * BUCKET_COUNT
    for bound, count in counts:
        buckets[numbers[bound]] += count
    return tuple(buckets)


def an_hour_ago() -> datetime:
    return timezone.now().replace(microsecond=0) - timedelta(hours=1)


def variety(ada: Conversation) -> None:
    """Turns of every kind of end."""
    session, ended_at = ada.row, an_hour_ago()
    past_turn(
        session, ended_at=ended_at, seconds=10, queue=0.5, input_tokens=700, output_tokens=60, cost_usd=Decimal("0.02"),
        steps=[
            PastStep(0.5, 3.5, input_tokens=500, output_tokens=20, cost_usd=Decimal("0.01"),
                     details={"first_token_seconds": 1.5, "context": TOKENS}),
            # Two tools at once: one second of both counts once.
            PastStep(4, 6, "tool", "clock"),
            PastStep(5, 7, "tool", "http_fetch", "failed", "tool_error"),
            PastStep(7, 9.75, input_tokens=200, output_tokens=40, cost_usd=Decimal("0.01"),
                     details={"first_token_seconds": 0.2, "context": {**TOKENS, "window": 2000}}),
        ],
    )  # fmt: skip
    past_turn(session, ended_at=ended_at, seconds=0.05, queue=0.01, fallback="static_message", cost_usd=None)
    past_turn(session, ended_at=ended_at, seconds=4000, queue=None, status="expired", error_class="deadline")
    past_turn(
        session, ended_at=ended_at, status="failed", error_class="transient",
        steps=[PastStep(0.1, 2, status="failed", error_class="transient", cost_usd=Decimal(0))],
    )  # fmt: skip
    past_turn(session, ended_at=ended_at, status="failed", error_class="set_aside")
    past_turn(
        session, ended_at=ended_at, status="cancelled",
        steps=[
            PastStep(0.1, 2, status="failed", error_class="cancelled"), PastStep(1, 2, "tool", "http_fetch", "unknown")
        ],
    )  # fmt: skip


def test_a_turn_counts_as_what_it_was() -> None:
    variety(somebody())
    somebody("bob").ask()  # open turns do not count
    [figures] = turn_figures()
    assert (figures.turns, figures.completed, figures.failed) == (6, 2, 2), "an operator's end is no failure"
    assert (figures.input_tokens, figures.output_tokens, figures.cost_usd) == (700, 60, Decimal("0.02"))
    assert (figures.cost_unknown, figures.fallbacks) == (1, 1)
    assert figures.seconds.buckets == bucket((0.05, 1), (2.5, 3), (10, 1), (float("inf"), 1)), "bounds are inclusive"
    assert figures.seconds.total == pytest.approx(4016.05)
    assert (figures.seconds.min, figures.seconds.max) == (0.05, 4000)
    assert figures.queue.count == 5, "one was never claimed"
    assert figures.queue.total == pytest.approx(0.81)
    assert figures.first_token.buckets == bucket((2.5, 1))
    assert figures.first_token.total == pytest.approx(2.0)
    by_status = {one.status: one for one in turn_figures(By.STATUS)}
    assert by_status["completed"].added.total == pytest.approx(1.25 + 0.05)
    assert by_status["cancelled"].added.total == pytest.approx(0.1)
    assert (by_status["expired"].failed, by_status["failed"].failed, by_status["cancelled"].failed) == (1, 1, 0)


def test_a_call_counts_as_what_it_was() -> None:
    variety(somebody())
    calls = {
        (one.operation, one.name, one.error_class): one
        for one in read_call_figures(LONG_AGO, timezone.now(), by=[By.OPERATION, By.NAME, By.ERROR_CLASS])
    }
    assert {key: (one.calls, one.failed) for key, one in calls.items()} == {
        ("model", "openai:gpt-4o", ""): (2, 0),
        ("model", "openai:gpt-4o", "transient"): (1, 1),
        ("model", "openai:gpt-4o", "cancelled"): (1, 0),
        ("tool", "clock", ""): (1, 0),
        ("tool", "http_fetch", "tool_error"): (1, 1),
        ("tool", "http_fetch", "unknown"): (1, 1),
    }
    model = calls["model", "openai:gpt-4o", ""]
    assert model.seconds.buckets == bucket((5, 2))
    assert model.first_token.buckets == bucket((0.25, 1), (2.5, 1))
    assert (model.input_tokens, model.output_tokens, model.cost_usd) == (700, 60, Decimal("0.02"))
    assert model.context_percent_mean == pytest.approx((50 + 10) / 2)
    assert model.context_percent_max == pytest.approx(50)
    assert calls["tool", "clock", ""].context_percent_mean is None


def test_a_tool_that_a_model_invents_is_counted_without_its_name() -> None:
    """What a model writes is no label: it would stay when its conversation is deleted, and there is no end of it."""
    steps = [PastStep(0, 1, "tool", f"tell {number}", "failed", "tool_error") for number in range(3)]
    past_turn(somebody().row, ended_at=an_hour_ago(), steps=[*steps, PastStep(1, 2, "tool", "clock")])
    calls = read_call_figures(LONG_AGO, timezone.now(), by=[By.NAME])
    assert [(one.name, one.calls) for one in calls] == [("", 3), ("clock", 1)]


@pytest.mark.parametrize(
    ("details", "epoch", "expected"),
    [({"pause_seconds": 1.0}, 1, 2.5), ({"waits": 2}, 1, 9.0), ({}, 0, 9.0)],
    ids=["after a pause", "after a wait", "after a crash"],
)
def test_the_first_token_of_a_call_that_was_sent_late(details: dict[str, float], epoch: int, expected: float) -> None:
    step = PastStep(0.5, 9, epoch=epoch, details={"first_token_seconds": 1.0, **details})
    past_turn(somebody().row, ended_at=an_hour_ago(), seconds=10, steps=[step])
    [figures] = turn_figures()
    assert figures.first_token.total == pytest.approx(expected)


def test_nothing_changes_when_turns_are_counted_and_when_they_are_deleted() -> None:
    ada, bob = somebody(), somebody("bob", slug="other")
    variety(ada)
    variety(bob)
    live = everything()
    assert len(live[0]) == 10
    assert compact() == 12
    assert everything() == live
    assert compact() == 0, "each once"
    delete_session(ada.actor, session_id=ada.session_id, expected_version=None)
    assert everything() == live
    past_turn(bob.row, ended_at=timezone.now())
    assert sum(one.turns for one in turn_figures(By.AGENT)) == 13


def by_its_user(ada: Conversation) -> None:
    delete_session(ada.actor, session_id=ada.session_id, expected_version=None)


def by_its_end(ada: Conversation) -> None:
    AgentSession.objects.filter(pk=ada.session_id).update(expires_at=LONG_AGO, updated_at=LONG_AGO)
    assert delete_expired_sessions(limit=10) == 1


@pytest.mark.parametrize("delete", [by_its_user, by_its_end])
def test_what_is_deleted_before_it_is_counted_counts_all_the_same(delete: Callable[[Conversation], None]) -> None:
    ada = somebody()
    variety(ada)
    live = everything()
    delete(ada)
    assert not Turn.objects.exists()
    assert everything() == live


def test_a_deletion_that_is_broken_off_counts_nothing() -> None:
    ada = somebody()
    variety(ada)
    live = everything()
    with transaction.atomic():
        by_its_user(ada)
        transaction.set_rollback(True)
    assert everything() == live
    assert not TurnRollup.objects.exists()


def test_a_batch_that_is_broken_off_is_counted_once_by_the_next_one() -> None:
    ada = somebody()
    variety(ada)
    live = everything()
    with transaction.atomic():
        assert compact() == 6
        assert everything() == live
        transaction.set_rollback(True)
    assert everything() == live
    assert compact() == 6
    assert everything() == live


def test_two_schedulers_at_once_and_a_deletion_count_each_turn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(0))
    monkeypatch.setattr(tasks, "COMPACT_TURNS", 2)
    people = [somebody(f"person-{number}") for number in range(6)]
    for one in people:
        variety(one)
    live = everything()
    counts = side_by_side(
        tasks.compact_events, tasks.compact_events, lambda: by_its_user(people[0]), lambda: by_its_user(people[5])
    )
    assert [count for count in counts if isinstance(count, Exception)] == []
    tasks.compact_events()
    assert not Turn.objects.filter(compacted=False).exists()
    now = everything()
    assert [(one.turns, one.seconds.buckets) for one in now[0]] == [(one.turns, one.seconds.buckets) for one in live[0]]
    assert [(one.calls, one.seconds.buckets) for one in now[1]] == [(one.calls, one.seconds.buckets) for one in live[1]]


def test_a_turn_of_the_product_counts_from_its_end_on() -> None:
    ada = somebody()
    ada.ask()
    work = claimed()
    assert turn_figures() == []
    answer(work)
    assert [one.turns for one in turn_figures(By.MINUTE, By.STATUS)] == [1]
    [call] = read_call_figures(LONG_AGO, timezone.now(), by=[By.OPERATION])
    assert (call.operation, call.calls, call.failed) == ("model", 1, 0)


def test_figures_by_time_are_of_the_minute_the_hour_and_the_day_of_the_end() -> None:
    session = somebody().row
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    for hour, minute in ((0, 0), (0, 59), (1, 0), (23, 59)):
        past_turn(session, ended_at=day + timedelta(hours=hour, minutes=minute, seconds=59.5))
    for _ in range(2):
        by_hour = read_turn_figures(day, day + timedelta(days=1), by=[By.HOUR])
        assert [(one.at, one.turns) for one in by_hour] == [
            (day, 2), (day + timedelta(hours=1), 1), (day + timedelta(hours=23), 1)
        ]  # fmt: skip
        by_minute = read_turn_figures(day + timedelta(minutes=59, seconds=59), day + timedelta(days=1), by=[By.MINUTE])
        assert [one.at for one in by_minute] == [day + timedelta(minutes=minute) for minute in (59, 60, 23 * 60 + 59)]
        [one] = read_turn_figures(day, day + timedelta(days=1), by=[By.DAY])
        assert (one.at, one.turns) == (day, 4)
        assert len(read_turn_figures(day + timedelta(hours=2), day + timedelta(hours=23))) == 0
        compact()


def test_figures_of_one_agent_or_release() -> None:
    ada, bob = somebody(), somebody("bob", slug="other")
    for one in (ada, bob, bob):
        past_turn(one.row, ended_at=an_hour_ago(), steps=[PastStep(0, 1)])
    for _ in range(2):
        now = timezone.now()
        assert [one.turns for one in read_turn_figures(LONG_AGO, now, agent_id=bob.row.agent_id)] == [2]
        assert [one.calls for one in read_call_figures(LONG_AGO, now, release_id=ada.row.release_id)] == [1]
        assert read_turn_figures(LONG_AGO, now, agent_id=bob.row.agent_id, release_id=ada.row.release_id) == []
        compact()


def test_old_minutes_and_hours_go_and_the_sums_stay() -> None:
    session = somebody().row
    now = timezone.now()
    for days in (0, 9, 100):
        past_turn(session, ended_at=now - timedelta(days=days), steps=[PastStep(0, 1)])
    live = everything()
    compact()
    assert everything() == live
    since = now - timedelta(days=9, minutes=1)
    assert [one.turns for one in read_turn_figures(since, now)] == [2]

    def widths() -> list[list[str]]:
        return [sorted(rollup.objects.values_list("width", flat=True)) for rollup in (TurnRollup, CallRollup)]

    assert widths() == [["day", "day", "day", "hour", "hour", "minute", "total"]] * 2, (
        "what nobody will read is not counted"
    )
    assert delete_old_rollups() == 0
    for rollup in (TurnRollup, CallRollup):
        rollup.objects.update(at=F("at") - timedelta(days=8, hours=2))
    assert delete_old_rollups() == 2
    for rollup in (TurnRollup, CallRollup):
        rollup.objects.update(at=F("at") - timedelta(days=90))
    assert delete_old_rollups() == 4
    assert widths() == [["day", "day", "day", "total"]] * 2


def test_the_rows_behind_a_figure_are_found_by_the_ends_of_turns() -> None:
    session = somebody().row
    until = timezone.now().replace(second=0, microsecond=0)
    since = until - timedelta(minutes=10)
    inside = [
        past_turn(session, ended_at=since),
        # It was accepted long before the range.
        past_turn(session, ended_at=until - timedelta(seconds=1), seconds=50_000),
    ]
    past_turn(session, ended_at=until)
    past_turn(session, ended_at=since - timedelta(seconds=1))
    for _ in range(2):
        assert set(Turn.objects.filter(ended_between(since, until))) == set(inside)
        assert [one.turns for one in read_turn_figures(since, until)] == [2]
        compact()


def test_what_figures_are_not_broken_down_by_is_refused() -> None:
    with pytest.raises(ValueError, match="status"):
        read_call_figures(LONG_AGO, timezone.now(), by=[By.STATUS])
    with pytest.raises(ValueError, match="hour"):
        turn_figures(By.HOUR, By.DAY)
    with pytest.raises(ValueError, match="all time"):
        read_turn_figures(None, None, by=[By.DAY])
    with pytest.raises(ValueError, match="all time"):
        read_turn_figures(LONG_AGO, None)


def test_figures_are_one_statement_and_so_is_counting() -> None:
    variety(somebody())
    with CaptureQueriesContext(
        connection,
    ) as queries:
        turn_figures(By.MINUTE, *ALL)
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        compact()
    assert len(queries) == 7, "one to list them; BEGIN, lock, mark, compact, count, COMMIT for all"
