"""The newest part of a conversation, as the chat page begins with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import AgentSession, Message
from agents.sessions import cancel_turn, read_window
from agents.sessions.handoff_control import reply_as_human
from foundation import page_size
from foundation.errors import InvalidInput, NotFound
from foundation.ids import new_id
from tests.support.conversations import Conversation, answer, claimed, conversation, fail, say
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


def window(ada: Conversation, limit: int = 10, before: UUID | None = None) -> dict[str, Any]:
    return read_window(actor=ada.actor, session_id=ada.session_id, limit=limit, cursor=before)


def said(found: dict[str, Any]) -> list[str]:
    return [message["parts"][0]["text"] for message in found["messages"]]


def exchange(ada: Conversation, question: str, **options: Any) -> UUID:
    """A question and its answer; the id of the question."""
    accepted = ada.ask(question, **options)
    answer(claimed(), f"{question}!")
    return accepted.message_id


def test_it_holds_what_a_snapshot_holds_when_everything_fits() -> None:
    ada = conversation()
    exchange(ada, "one")
    ada.ask("two")
    fail(claimed())
    ada.ask("three")
    found, whole = window(ada), ada.snapshot()
    assert {name: found[name] for name in whole} == whole
    assert (found["branches"], found["older"]) == ({}, False)


def test_the_newest_come_first_and_older_ones_page_by_page() -> None:
    ada = conversation()
    for n in range(5):
        exchange(ada, str(n))
    found = window(ada, 2)
    assert (said(found), found["older"]) == (["3", "3!", "4", "4!"], True)
    found = window(ada, 2, UUID(found["messages"][0]["id"]))
    assert (said(found), found["older"]) == (["1", "1!", "2", "2!"], True)
    found = window(ada, 2, UUID(found["messages"][0]["id"]))
    assert (said(found), found["older"]) == (["0", "0!"], False)
    assert said(window(ada, 2, UUID(found["messages"][0]["id"]))) == []


def test_megabytes_come_page_by_page_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = conversation()
    for n in range(3):
        exchange(ada, str(n))
    [size, *_] = Message.objects.filter(agent_session=ada.session_id).values_list("size_bytes", flat=True)
    monkeypatch.setattr(page_size.count_fitting, "__defaults__", (4 * size + 3,))
    found = window(ada)
    assert (said(found), found["older"]) == (["1", "1!", "2", "2!"], True)
    assert said(window(ada, before=UUID(found["messages"][0]["id"]))) == ["0", "0!"]


def test_failures_come_with_the_messages_that_they_belong_to() -> None:
    ada = conversation()
    ada.ask("old")
    fail(claimed())
    exchange(ada, "new")
    assert window(ada, 1)["turns"] == {}
    assert [turn["status"] for turn in window(ada, 2)["turns"].values()] == ["failed"]


def test_only_the_branch_of_the_head_is_read_and_the_others_are_named() -> None:
    ada = conversation()
    first = exchange(ada, "one")
    wrong = exchange(ada, "two")
    right = exchange(ada, "other two", parent=first)
    after = exchange(ada, "three")
    found = window(ada)
    assert said(found) == ["one", "one!", "other two", "other two!", "three", "three!"]
    answers = {message.parent_id: str(message.pk) for message in Message.objects.filter(author="agent")}
    assert found["branches"] == {
        str(right): [
            {"id": str(wrong), "head": answers[wrong], "asks": str(wrong)},
            {"id": str(right), "head": answers[after], "asks": str(right)},
        ]
    }
    AgentSession.objects.filter(pk=ada.session_id).update(head_message_id=answers[wrong])
    assert said(window(ada)) == ["one", "one!", "two", "two!"]


def test_a_question_that_was_asked_again_is_told_from_one_that_was_asked_differently() -> None:
    ada = conversation()
    first = exchange(ada, "one")
    other = exchange(ada, "uno", parent=None)
    again = exchange(ada, "one", parent=None)
    (branches,) = window(ada)["branches"].values()
    assert {branch["id"]: branch["asks"] for branch in branches} == {
        str(first): str(first),
        str(other): str(other),
        str(again): str(first),
    }


def test_an_open_turn_of_another_branch_is_told_of() -> None:
    ada = conversation()
    exchange(ada, "one")
    running = ada.ask("two")
    other = ada.ask("other", parent=None)
    found = window(ada)
    assert said(found) == ["other"]
    assert {turn["message"] for turn in found["turns"].values()} == {str(running.message_id), str(other.message_id)}


def test_absent_foreign_and_wrong_look_as_everywhere() -> None:
    ada, bob = conversation(), conversation("bob")
    theirs = ada.ask("mine").message_id
    with pytest.raises(NotFound):
        read_window(actor=bob.actor, session_id=ada.session_id, limit=1)
    for before in (theirs, new_id()):
        with pytest.raises(InvalidInput):
            read_window(actor=bob.actor, session_id=bob.session_id, limit=1, cursor=before)


def test_it_takes_the_same_few_statements_whatever_the_length() -> None:
    ada = conversation()
    counts = []
    for _ in range(2):
        for n in range(4):
            exchange(ada, str(n))
        with CaptureQueriesContext(connection) as queries:
            window(ada, 2)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 8


def test_it_says_whether_a_person_can_be_asked_for_and_where_one_took_over() -> None:
    ada = conversation()
    olga = user_actor(person("olga", Role.OPERATOR))
    assert (window(ada)["offers_handoff"], window(ada)["handoff"]) == (True, None)
    ada.ask("one")
    cancel_turn(ada.actor, turn_id=ada.turn().pk)
    ada.ask("two")
    say(claimed(), "Well")
    reply_as_human(olga, session_id=ada.session_id, text="Here I am", key="1")
    ada.ask("three")
    found = window(ada)
    assert said(found) == ["one", "two", "Well", "Here I am", "three"]
    assert [(turn["status"], turn.get("reason")) for turn in found["turns"].values()] == [
        ("cancelled", None), ("cancelled", "handoff"),
    ]  # fmt: skip
    assert found["handoff"]["state"] == "open"
    assert found["messages"][3]["parts"][0]["by"] == "A person"
