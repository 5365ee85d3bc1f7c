"""Thumbs up and down: one of each person on each answer, told to everybody who listens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from accounts.actor import Actor, Scope
from agents.domain.serialization import message_shape
from agents.models import AgentSession, Feedback, Message
from agents.sessions import delete_session, give_feedback, session_messages, withdraw_feedback
from agents.sessions.feedback import MAX_COMMENT
from foundation.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from foundation.ids import new_id
from tests.support.conversations import Conversation, answer, claimed, conversation, replayed, side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")


def answered() -> tuple[Conversation, UUID]:
    """A conversation and its answer."""
    ada = conversation()
    ada.ask()
    answer(claimed())
    return ada, ada.messages()[1].pk


def seen(ada: Conversation) -> list[Any]:
    return [message["feedback"] for message in ada.snapshot()["messages"]]


def test_an_answer_is_rated_rated_anew_and_no_more() -> None:
    ada, said = answered()
    begun = ada.snapshot()
    give_feedback(ada.actor, message_id=said, value=1)
    assert seen(ada) == [None, {"value": "up", "comment": ""}]
    give_feedback(ada.actor, message_id=said, value=-1, comment=" Wrong. ")
    assert seen(ada) == [None, {"value": "down", "comment": "Wrong."}]
    assert Feedback.objects.count() == 1
    withdraw_feedback(ada.actor, message_id=said)
    assert seen(ada) == [None, None]
    assert ada.log()[-3:] == ["message.rated"] * 3
    assert replayed(ada, begun) == ada.snapshot()


def test_the_same_again_and_nothing_to_take_back_are_no_news() -> None:
    ada, said = answered()
    withdraw_feedback(ada.actor, message_id=said)
    first = give_feedback(ada.actor, message_id=said, value=1, comment="x")
    assert give_feedback(ada.actor, message_id=said, value=1, comment="x") == first
    assert ada.log().count("message.rated") == 1


def test_what_a_person_of_the_console_said_can_be_rated_and_ones_own_words_cannot() -> None:
    ada, _ = answered()
    said = Message.objects.create(agent_session=ada.row, ordinal=9, author="human")
    give_feedback(ada.actor, message_id=said.pk, value=1)
    for message in (ada.messages()[0], Message.objects.create(agent_session=ada.row, ordinal=10, author="system")):
        with pytest.raises(InvalidInput):
            give_feedback(ada.actor, message_id=message.pk, value=1)


def test_the_answers_of_others_are_not_there() -> None:
    said = answered()[1]
    eve = conversation("eve").actor
    for message_id in (said, new_id()):
        with pytest.raises(NotFound):
            give_feedback(eve, message_id=message_id, value=1)
        with pytest.raises(NotFound):
            withdraw_feedback(eve, message_id=message_id)
    assert not Feedback.objects.exists()


def test_who_may_not_chat_rates_nothing() -> None:
    ada, said = answered()
    reader = Actor.user(user_id=ada.row.user_id, name="ada", scopes=frozenset({Scope.READ}))
    for actor, refusal in [(reader, Forbidden), (Actor.system("tests"), Unauthenticated)]:
        with pytest.raises(refusal):
            give_feedback(actor, message_id=said, value=1)
        with pytest.raises(refusal):
            withdraw_feedback(actor, message_id=said)


@pytest.mark.parametrize("comment", ["x" * (MAX_COMMENT + 1), "a\x00", "\ud800"])
def test_a_bad_comment_is_refused_with_a_pointer(comment: str) -> None:
    ada, said = answered()
    with pytest.raises(InvalidInput) as refusal:
        give_feedback(ada.actor, message_id=said, value=1, comment=comment)
    assert refusal.value.pointer == "/comment"


def test_two_devices_at_the_same_moment_leave_one_rating_and_no_gap() -> None:
    ada, said = answered()

    def rate(value: int) -> object:
        return give_feedback(ada.actor, message_id=said, value=value)

    outcomes = side_by_side(*(lambda value=value: rate(value) for value in (1, -1, 1, -1)))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert Feedback.objects.count() == 1
    assert ada.log()[-1] == "message.rated"


def test_messages_are_read_with_the_ratings_of_their_owner_in_one_query(django_assert_num_queries: Any) -> None:
    ada, said = answered()
    give_feedback(ada.actor, message_id=said, value=1, comment="Good.")
    other = Feedback(agent_session=ada.row, message_id=said, user=conversation("eve").row.user, value=-1)
    other.save()
    session = ada.row
    with django_assert_num_queries(1):
        found = [message_shape(message)["feedback"] for message in session_messages(session).order_by("ordinal")]
    assert found == [None, {"value": "up", "comment": "Good."}]


def test_a_rated_session_can_be_deleted() -> None:
    ada, said = answered()
    give_feedback(ada.actor, message_id=said, value=1)
    delete_session(ada.actor, session_id=ada.session_id, expected_version=1)
    assert not AgentSession.objects.exists()
    assert not Feedback.objects.exists()
