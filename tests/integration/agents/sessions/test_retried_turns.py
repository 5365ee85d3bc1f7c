"""A failed turn whose question was asked again: which turn says so, and from when on it counts as no failure."""

from __future__ import annotations

from uuid import UUID

import pytest

from accounts.actor import Actor
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import UNANSWERED_FAILURE, AgentSession, Message, Turn
from agents.sessions import DoesNotApply, retry_turn
from foundation.clock import now
from health_checks.run import Measurements
from monitoring.periods import read_period
from monitoring.time_ranges import RANGES
from tests.support.conversations import Conversation, answer, claimed, conversation, fail, side_by_side
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def olga() -> Actor:
    return user_actor(person("olga", Role.OPERATOR))


@pytest.fixture
def ada() -> Conversation:
    return conversation()


def failed_turn(ada: Conversation, text: str = "Hi", **options: object) -> UUID:
    turn_id = ada.ask(text, **options).turn_id
    fail(claimed())
    assert turn_id is not None
    return turn_id


def retried(ada: Conversation) -> dict[UUID, UUID | None]:
    return {turn.pk: turn.retried_by_id for turn in ada.turns()}


def unanswered() -> set[UUID]:
    """The failures that count: the same in the lists, in the figures and in the chart."""
    from agents.health_checks import turn_figures

    turns = set(Turn.objects.filter(UNANSWERED_FAILURE).values_list("pk", flat=True))
    assert turn_figures(Measurements(now())).failed == read_period(RANGES["1h"], now()).total.failed == len(turns)
    return turns


def test_a_retry_marks_the_failed_turn_at_once_and_answers_it_when_it_completes(olga: Actor, ada: Conversation) -> None:
    first = failed_turn(ada)
    second = retry_turn(olga, turn_id=first).pk
    assert retried(ada) == {first: second, second: None}
    assert unanswered() == {first}
    answer(claimed())
    assert unanswered() == set()


def test_of_several_tries_the_one_that_answered_is_named_by_all_before_it(olga: Actor, ada: Conversation) -> None:
    first = failed_turn(ada)
    second = retry_turn(olga, turn_id=first).pk
    fail(claimed())
    assert unanswered() == {first, second}
    third = retry_turn(olga, turn_id=second).pk
    assert retried(ada) == {first: third, second: third, third: None}
    answer(claimed())
    fourth = failed_turn(ada, parent=None)
    assert retried(ada) == {first: third, second: third, third: None, fourth: None}
    assert unanswered() == {fourth}


def test_a_branch_of_the_user_counts_as_a_retry_and_another_question_does_not(olga: Actor, ada: Conversation) -> None:
    ada.ask("Before")
    answer(claimed(), "Yes")
    first = failed_turn(ada, "What now?")
    other = failed_turn(ada, "Hello?")
    parent = Message.objects.get(turn=first, author="user").parent_id
    again = ada.ask("What now, then?", parent=parent).turn_id
    assert retried(ada) == {ada.turns()[0].pk: None, first: again, other: None, again: None}
    with pytest.raises(DoesNotApply, match="asked again before"):
        retry_turn(olga, turn_id=first)
    answer(claimed())
    assert unanswered() == {other}


def test_a_branch_beside_a_turn_that_still_runs_answers_it_should_it_fail(ada: Conversation) -> None:
    ada.ask("Before")
    question = ada.messages()[0].pk
    behind = ada.ask("Waits for the first").turn_id
    answer(claimed(), "Yes")
    reply = Message.objects.get(author="agent").pk
    work = claimed()
    # The tree counts both as followers of the same exchange: one hangs on its question, the other on its answer.
    assert Message.objects.get(turn=behind, author="user").parent_id == question
    again = ada.ask("Does not wait", parent=reply).turn_id
    fail(work)
    assert retried(ada)[behind] == again  # type: ignore[index]
    assert unanswered() == {behind}
    answer(claimed())
    assert unanswered() == set()


def test_other_sessions_and_completed_turns_are_not_marked(ada: Conversation) -> None:
    other = conversation("bob")
    failed_turn(other)
    done = ada.ask("One").turn_id
    answer(claimed())
    again = ada.ask("Uno", parent=None).turn_id
    assert retried(ada) == {done: None, again: None}
    assert set(retried(other).values()) == {None}


def test_a_message_that_is_refused_or_repeated_marks_nothing_more(ada: Conversation, olga: Actor) -> None:
    first = failed_turn(ada)
    again = ada.ask("Once more", parent=None, key="k").turn_id
    fail(claimed())
    latest = ada.ask("And again", parent=None, key="l").turn_id
    assert ada.ask("Once more", parent=None, key="k").turn_id == again
    assert retried(ada) == {first: latest, again: latest, latest: None}
    AgentSession.objects.update(controller="human")
    ada.ask("Nobody answers this", parent=None)
    assert retried(ada)[first] == latest


def test_two_operators_and_the_user_at_once_ask_twice_at_most(olga: Actor, ada: Conversation) -> None:
    first = failed_turn(ada)
    outcomes = side_by_side(
        *[lambda: retry_turn(olga, turn_id=first).pk] * 3, lambda: ada.ask("Again", parent=None).turn_id
    )
    new = {outcome for outcome in outcomes if isinstance(outcome, UUID)}
    assert len(new) in {1, 2}
    assert all(isinstance(outcome, UUID | DoesNotApply) for outcome in outcomes)
    marks = retried(ada)
    latest = ada.turns()[-1].pk
    assert marks.pop(latest) is None
    assert set(marks.values()) == {latest}
