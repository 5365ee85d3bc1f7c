"""Patterns: which tasks count as completed, and the figures per agent, release and day."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agents.journal.compaction import compact_turns
from agents.journal.turn_texts import store_turn_texts
from agents.models import Agent, AgentSession, Feedback, Handoff, Message, Turn, TurnText
from agents.sessions import give_feedback
from foundation.clock import now
from memory.enums import MemoryScope, MemorySource
from memory.ownership import OwnerKey
from memory.writing import remember
from monitoring.models import TurnSpan
from monitoring.patterns import Choice, Pattern, Patterns, read_patterns
from monitoring.spans.partitions import create_partitions
from monitoring.task_completion import Breakdown
from monitoring.time_ranges import RANGES
from tests.support.conversations import Conversation, answer, claimed, conversation
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")

HOUR = RANGES["1h"]


def patterns(**choice: Any) -> Patterns:
    return read_patterns(Choice(choice.pop("time_range", HOUR), **choice), now())


def asked_and_answered(ada: Conversation, text: str = "Hi", **options: Any) -> Turn:
    turn_id = ada.ask(text, **options).turn_id
    answer(claimed())
    assert turn_id is not None
    return Turn.objects.get(pk=turn_id)


def completed() -> tuple[int | None, int]:
    """How many tasks were completed, of how many turns."""
    total = patterns().total
    return total.tasks_completed, total.period.turns


def said(turn: Turn, author: str) -> Message:
    return Message.objects.get(turn=turn, author=author)


def test_a_task_is_completed_if_nothing_speaks_against_it() -> None:
    ada = conversation()
    asked_and_answered(ada, "One")
    asked_and_answered(ada, "Two")
    assert completed() == (2, 2)


def test_a_task_whose_answer_was_rated_down_is_not_completed() -> None:
    ada = conversation()
    good, bad = asked_and_answered(ada, "One"), asked_and_answered(ada, "Two")
    give_feedback(ada.actor, message_id=said(good, "agent").pk, value=1)
    give_feedback(ada.actor, message_id=said(bad, "agent").pk, value=-1)
    assert completed() == (1, 2)
    ratings = patterns().total.ratings
    assert (ratings.up, ratings.down) == (1, 1)


def test_a_task_that_was_handed_off_is_not_completed() -> None:
    ada = conversation()
    turn = asked_and_answered(ada)
    Handoff.objects.create(
        agent_session=ada.row, turn=turn, state=Handoff.State.PENDING, requested_by="fallback", reason="unknown"
    )
    assert completed() == (0, 1)


def test_a_task_that_was_asked_again_is_not_completed_but_the_later_one_is() -> None:
    ada = conversation()
    asked_and_answered(ada, "Same")
    asked_and_answered(ada, "Same")
    assert completed() == (1, 2)
    # Others' questions, and those of other words, are not the same ones.
    asked_and_answered(conversation("bob"), "Same")
    asked_and_answered(ada, "Other")
    assert completed() == (3, 4)


@pytest.mark.parametrize("first", [True, False], ids=["the first one", "a later one"])
def test_a_task_whose_question_got_another_branch_is_not_completed(first: bool) -> None:
    ada = conversation()
    before = None if first else said(asked_and_answered(ada, "Before"), "agent").pk
    asked_and_answered(ada, "Once", parent=before)
    asked_and_answered(ada, "Twice", parent=before)
    assert completed() == (1, 2) if first else (2, 3)


def test_a_task_that_was_asked_again_stays_so_when_its_words_are_stored() -> None:
    ada, bob, carl = conversation(), conversation("bob"), conversation("carl")
    for text in ("Same", "Same", "Other"):
        asked_and_answered(ada, text)
    asked_and_answered(bob, "Once", parent=None)
    asked_and_answered(bob, "Twice", parent=None)
    before = said(asked_and_answered(carl, "Before"), "agent").pk
    for text in ("First", "Second", "Third"):
        asked_and_answered(carl, text, parent=before)
    assert completed() == (5, 9)
    turns = list(Turn.objects.values_list("agent_session", "pk"))
    store_turn_texts([turn for _, turn in turns])
    compact_turns(turns)
    assert completed() == (5, 9)
    assert TurnText.objects.filter(repeated_turns__isnull=False).count() == 4


def test_a_question_that_is_asked_again_after_ten_minutes_is_a_new_one() -> None:
    session, at = conversation().row, now()
    for minutes in (50, 35, 30):
        past_turn(session, ended_at=at - timedelta(minutes=minutes), fingerprint=b"same")
    assert completed() == (2, 3)


def test_a_turn_that_failed_or_was_stopped_completed_no_task() -> None:
    session, at = conversation().row, now() - timedelta(minutes=5)
    past_turn(session, ended_at=at, status="failed", error_class="transient")
    past_turn(session, ended_at=at, status="cancelled")
    assert completed() == (0, 2)
    assert patterns().total.task_completion == 0


def test_patterns_of_nothing_are_unknown_and_not_zero() -> None:
    found = patterns()
    assert (found.groups, found.errors, found.operations) == ([], [], [])
    assert found.total.task_completion is found.total.context.mean is found.total.period.seconds.mean is None


# --- groups ---


def two_agents() -> tuple[AgentSession, AgentSession]:
    return conversation("ada", slug="one").row, conversation("bob", slug="two").row


def by_name(found: Patterns) -> dict[str, Pattern]:
    return {group.label: group for group in found.groups}


def test_each_agent_has_its_own_figures_and_all_together_their_sum() -> None:
    one, two = two_agents()
    at = now() - timedelta(minutes=5)
    answered = past_turn(one, ended_at=at, seconds=1)
    past_turn(one, ended_at=at, seconds=3, status="failed", error_class="transient", retried_by=answered)
    past_turn(one, ended_at=at, seconds=3, status="expired", error_class="deadline")
    past_turn(two, ended_at=at, seconds=7, input_tokens=100)
    found = patterns()
    names = [Agent.objects.get(pk=session.agent_id).name for session in (one, two)]
    first, second = (by_name(found)[name] for name in names)
    assert (first.period.turns, first.period.completed, first.period.failed, first.period.answered_later) == (
        3,
        1,
        1,
        1,
    )
    assert (first.period.seconds.min, first.period.seconds.max) == (1, 3)
    assert first.period.seconds.mean == pytest.approx(7 / 3)
    assert (second.period.turns, second.period.input_tokens, second.task_completion) == (1, 100, 1.0)
    assert second.per_hour == pytest.approx(1, rel=0.05)
    assert (found.total.period.turns, found.total.tasks_completed) == (4, 2)
    assert [(error.error_class, error.turns, error.share) for error in found.errors] == [
        ("deadline", 1, 0.25), ("transient", 1, 0.25),
    ]  # fmt: skip
    [only] = patterns(agent_id=two.agent_id).groups
    assert only.key == two.agent_id
    assert patterns(release_id=one.release_id).total.period.turns == 3
    assert {group.key for group in patterns(by=Breakdown.RELEASE).groups} == {one.release_id, two.release_id}


def test_each_day_has_its_own_figures() -> None:
    session, at = conversation().row, now()
    for days in (0, 0, 2):
        past_turn(session, ended_at=at - timedelta(days=days, seconds=1))
    found = patterns(time_range=RANGES["7d"], by=Breakdown.DAY)
    assert all(isinstance(group.key, datetime) for group in found.groups)
    assert [group.label for group in found.groups] == [
        f"{at - timedelta(days=days, seconds=1):%Y-%m-%d}" for days in (0, 2)
    ]
    assert [group.period.turns for group in found.groups] == [2, 1]
    assert [group.tasks_completed for group in found.groups] == [2, 1]


def test_calls_are_told_by_operation_with_what_went_wrong() -> None:
    details = {"context": {"window": 1000, "tokens": {"system": 100, "history": 400}}}
    steps = [
        PastStep(0, 1, "model", "openai:gpt", "failed", "rate_limit"),
        PastStep(1, 2, "model", "openai:gpt", details=details),
        PastStep(2, 3, "tool", "clock", "failed", "tool_error"),
    ]
    agent("demo", tools=["clock"])
    past_turn(conversation().row, ended_at=now() - timedelta(minutes=5), seconds=5, steps=steps)
    found = patterns()
    assert [(one.operation, one.name, one.calls, one.failed, list(one.errors)) for one in found.operations] == [
        ("model", "openai:gpt", 2, 1, [("rate_limit", 1)]), ("tool", "clock", 1, 1, [("tool_error", 1)]),
    ]  # fmt: skip
    assert (found.total.context.mean, found.total.context.max) == (50, 50)
    assert found.groups[0].context == found.total.context


def test_memories_and_recalls_are_those_of_the_agent() -> None:
    ada = conversation()
    session, at = ada.row, now()
    past_turn(session, ended_at=at - timedelta(minutes=5))
    owner = OwnerKey(MemoryScope.USER, user_id=session.user_id, agent_id=session.agent_id)
    for text in ("I live in Bern.", "I like tea."):
        remember(ada.actor, owner, text, source=MemorySource.FORM)
    past_turn(session, ended_at=now())  # shortly after midnight all of this is of two days, and each has a turn
    with connection.cursor() as cursor:
        create_partitions(cursor, [at.date(), (at - timedelta(minutes=1)).date()])
    for number, name in enumerate(["search_memory", "search_memory", "bandstand.context"]):
        TurnSpan.objects.create(
            id=number, turn_id=session.pk, agent_id=session.agent_id, name=name,
            started_at=at - timedelta(minutes=1), ended_at=at - timedelta(minutes=1) + timedelta(seconds=0.2),
            error_type="", attributes={},
        )  # fmt: skip
    for found in (patterns(), patterns(by=Breakdown.DAY)):
        for uses in ([group.memory for group in found.groups], [found.total.memory]):
            assert sum(use.stored or 0 for use in uses) == sum(use.recalls or 0 for use in uses) == 2
            assert [use.recall_p95 for use in uses if use.recalls] == [pytest.approx(0.2)]
    assert patterns(by=Breakdown.RELEASE).total.memory.stored is None


# --- the command ---


def test_the_command_says_the_same() -> None:
    session = conversation(slug="one").row
    turn = past_turn(session, ended_at=now() - timedelta(minutes=5), seconds=3)
    Feedback.objects.create(
        agent_session=session, user_id=session.user_id, value=-1, turn=turn, release_id=session.release_id,
        message=Message.objects.create(agent_session=session, ordinal=99, author="agent", turn=turn),
    )  # fmt: skip
    out = StringIO()
    call_command("figures", "--range", "1h", "--agent", "one", "--release", "1", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert [group["key"] for group in found["groups"]] == [str(session.agent_id)]
    total = found["total"]
    assert (total["turns"], total["tasks_completed"], total["task_completion"]) == (1, 0, 0)
    assert (total["seconds"]["mean"], total["ratings"], total["cost_usd"]) == (3, {"up": 0, "down": 1}, "0.00000000")
    text = StringIO()
    call_command("figures", "--by", "day", stdout=text)
    assert "tasks completed" in text.getvalue()


@pytest.mark.parametrize("options", [["--agent", "none"], ["--release", "1"], ["--agent", "one", "--release", "9"]])
def test_the_command_refuses_what_there_is_not(options: list[str]) -> None:
    conversation(slug="one")
    with pytest.raises(CommandError):
        call_command("figures", *options)


def test_what_takes_too_long_to_tell_is_unknown_and_the_rest_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    past_turn(conversation().row, ended_at=now() - timedelta(minutes=5))
    slow = "SELECT {group}, pg_sleep(60) FROM agents_turn turn, agents_release release"
    monkeypatch.setattr("monitoring.task_completion._REFUTED", slow)
    monkeypatch.setattr("monitoring.patterns.REFUTED_SECONDS", 0.05)
    total = patterns().total
    assert (total.tasks_completed, total.task_completion, total.period.turns) == (None, None, 1)
