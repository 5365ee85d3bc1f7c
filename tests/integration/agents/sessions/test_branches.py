"""Branches: a question beside another, and which one people see."""

from __future__ import annotations

from uuid import UUID

import pytest

from agents.engine.context import load_context
from agents.models import AgentSession, Message
from agents.sessions import update_session
from foundation.errors import InvalidInput, NotFound, PreconditionFailed
from foundation.ids import new_id
from tests.support.conversations import Conversation, answer, claim, claimed, conversation, replayed

pytestmark = pytest.mark.usefixtures("transactional_db")


def exchange(ada: Conversation, text: str, reply: str, **options: object) -> tuple[UUID, UUID]:
    """The question and its answer."""
    asked = ada.ask(text, **options).message_id
    answer(claimed(), reply)
    return asked, Message.objects.get(parent=asked, author="agent").pk


def choose(ada: Conversation, head: UUID) -> AgentSession:
    return update_session(ada.actor, session_id=ada.session_id, expected_version=ada.row.version, head=head)


def heard(ada: Conversation, text: str, **options: object) -> list[str]:
    """What the model is told when somebody asks this."""
    ada.ask(text, **options)
    [work] = claim()
    said = [item.parts[0]["text"] for item in load_context(work).history]
    answer(work)
    return said


def test_a_question_is_edited_or_asked_again_beside_the_first() -> None:
    ada = conversation()
    question, reply = exchange(ada, "One", "1")
    later, _ = exchange(ada, "Two", "2")
    assert heard(ada, "Two, edited", parent=reply) == ["One", "1", "Two, edited"]
    assert Message.objects.filter(parent=reply, author="user").count() == 2
    assert heard(ada, "One, again", parent=None) == ["One, again"]
    assert Message.objects.get(pk=later).parts[0]["text"] == "Two", "nothing is written over"
    assert question


def test_what_follows_the_chosen_branch_is_told_that_branch() -> None:
    ada = conversation()
    first, first_answer = exchange(ada, "One", "1")
    _, second_answer = exchange(ada, "Uno", "1!", parent=None)
    assert ada.row.head_message_id == second_answer
    before = ada.snapshot()
    assert choose(ada, first_answer).head_message_id == first_answer
    assert replayed(ada, before) == ada.snapshot()
    assert ada.snapshot()["session"]["head"] == str(first_answer)
    assert heard(ada, "More") == ["One", "1", "More"]
    assert choose(ada, second_answer).version == 3
    assert heard(ada, "Più") == ["Uno", "1!", "Più"]
    assert first


def test_an_answer_moves_the_head_only_where_people_still_stand_at_its_question() -> None:
    ada = conversation()
    _, first_answer = exchange(ada, "One", "1")
    ada.ask("Two")
    work = claimed()
    choose(ada, first_answer)
    answer(work, "2")
    assert ada.row.head_message_id == first_answer
    asked = ada.ask("Three").message_id
    assert Message.objects.get(pk=asked).parent_id == first_answer
    choose(ada, asked)
    answer(claimed(), "3")
    assert ada.row.head_message_id == ada.messages()[-1].pk


def test_only_a_message_of_the_session_is_a_head_or_a_parent() -> None:
    ada, eve = conversation(), conversation("eve")
    other = conversation()
    exchange(ada, "One", "1")
    foreign, _ = exchange(eve, "Mine", "m")
    elsewhere, _ = exchange(other, "Elsewhere", "e")
    head = ada.row.head_message_id
    for message_id in (foreign, elsewhere, new_id()):
        with pytest.raises(InvalidInput) as refusal:
            choose(ada, message_id)
        assert refusal.value.pointer == "/head"
        with pytest.raises(InvalidInput) as refusal:
            ada.ask("x", parent=message_id)
        assert refusal.value.pointer == "/parent"
    assert (ada.row.head_message_id, ada.row.version) == (head, 1)


def test_others_and_those_who_read_an_older_version_choose_nothing() -> None:
    ada, eve = conversation(), conversation("eve")
    question, _ = exchange(ada, "One", "1")
    with pytest.raises(NotFound):
        update_session(eve.actor, session_id=ada.session_id, expected_version=1, head=question)
    with pytest.raises(PreconditionFailed):
        update_session(ada.actor, session_id=ada.session_id, expected_version=7, head=question)


# --- titles ---


def untitled() -> Conversation:
    ada = conversation()
    AgentSession.objects.filter(pk=ada.session_id).update(title="")
    return ada


@pytest.mark.parametrize("controller", ["agent", "human"])
def test_the_first_message_names_the_session_and_says_so(controller: str) -> None:
    ada = untitled()
    AgentSession.objects.update(controller=controller)
    before = ada.snapshot()
    accepted = ada.ask("What  is\nthe time?", key="k")
    assert (ada.row.title, ada.row.version) == ("What is the time?", 1)
    assert ada.log()[:2] == ["session.updated", "message.created"]
    assert replayed(ada, before) == ada.snapshot()
    assert accepted.seq == ada.row.next_seq - 1
    assert ada.ask("What  is\nthe time?", key="k").seq == accepted.seq


def test_only_the_first_message_names_it_and_never_what_people_named() -> None:
    ada = untitled()
    ada.ask("One")
    ada.ask("Two")
    assert ada.row.title == "One"
    update_session(ada.actor, session_id=ada.session_id, expected_version=1, title="")
    ada.ask("Three")
    assert ada.row.title == ""
    named = conversation()
    named.ask("One")
    assert named.row.title == "A test"
    assert named.log() == ["message.created", "turn.queued"]


def test_a_session_that_is_kept_off_the_list_needs_no_name() -> None:
    ada = untitled()
    AgentSession.objects.update(listed=False)
    ada.ask("One")
    assert ada.row.title == ""
    assert ada.log() == ["message.created", "turn.queued"]


@pytest.mark.parametrize("text", ["One", "\u200b"])
@pytest.mark.parametrize("title", ["", "Mine"])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_session_gets_the_same_name_whoever_controls_it(text: str, title: str, listed: bool, first: bool) -> None:
    named: list[tuple[str, bool]] = []
    for controller in ("agent", "human"):
        ada = untitled()
        if not first:
            ada.ask("Before")
        AgentSession.objects.filter(pk=ada.session_id).update(controller=controller, title=title, listed=listed)
        before = len(ada.log())
        ada.ask(text)
        named.append((ada.row.title, "session.updated" in ada.log()[before:]))
    wanted = bool(first and listed and not title and text == "One")
    assert named == [("One" if wanted else title, wanted)] * 2
