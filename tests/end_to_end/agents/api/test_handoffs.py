"""People in the loop over REST, on their user's side: ask for one, leave a message, go on with the agent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.handoffs import HandoffOutcome
from agents.models import AgentSession, Handoff, Message, Release
from agents.sessions import create_session
from agents.sessions.handoff_control import claim_handoff, reply_as_human
from agents.sessions.operator_duty import go_on_duty
from rest.models import IdempotencyRecord
from tests.support.approvals import approval_of, wait_for_person
from tests.support.conversations import conversation
from tests.support.people import agent, key_of, person, write_draft
from tests.support.rest import Rest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")

NONE = {"reason": None, "by": None, "requested_at": None, "assignee": None}


class World:
    """Ada has a session with an agent; Olga is an operator."""

    def __init__(self) -> None:
        self.ada, self.olga = person("ada", Role.USER), person("olga", Role.OPERATOR)
        User.objects.filter(pk=self.olga.pk).update(first_name="Olga", last_name="Berg")
        self.agent = agent()
        self.operator = user_actor(User.objects.get(pk=self.olga.pk))
        self.session = create_session(user_actor(self.ada), agent_slug="demo", title="A test")
        self.rest = Rest(key_of(self.ada))
        self.path = f"sessions/{self.session.pk}/handoff"

    def state(self) -> dict[str, Any]:
        return ok(self.rest.get(self.path))


def ok(answer: Any, status: int = 200) -> dict[str, Any]:
    assert answer.status_code == status, (answer.status_code, answer.content)
    found: dict[str, Any] = json.loads(answer.content)
    return found


@pytest.fixture
def world(transactional_db: None) -> World:
    return World()


def test_a_user_asks_reads_that_nobody_is_there_and_goes_on_with_the_agent(world: World) -> None:
    nobody = {"session": str(world.session.pk), "state": "none", "on_duty": False, **NONE}
    assert world.state() == {**nobody, "choices": ["ask", "leave_message"]}
    asked = ok(world.rest.post(world.path, {"reason": " The invoice. "}), 202)
    assert (asked["state"], asked["on_duty"], asked["reason"], asked["by"]) == (
        "pending", False, "The invoice.", "user",
    )  # fmt: skip
    assert asked["choices"] == ["wait", "leave_message", "withdraw"]
    assert ok(world.rest.post(world.path), 202) == asked == world.state(), "a second request meets the first"
    assert world.rest.call("DELETE", world.path).status_code == 204
    assert world.rest.call("DELETE", world.path).status_code == 204
    assert world.state()["state"] == "none"
    assert [one.outcome for one in Handoff.objects.all()] == [HandoffOutcome.WITHDRAWN]


def test_who_is_there_is_said_and_a_person_who_answers_is_named(world: World) -> None:
    go_on_duty(world.operator)
    assert world.state()["on_duty"] is True
    assert ok(world.rest.post(world.path), 202)["on_duty"] is True
    reply_as_human(world.operator, session_id=world.session.pk, text="Here I am.", key="1")
    state = world.state()
    assert (state["state"], state["assignee"], state["choices"]) == ("open", "Olga Berg", ["withdraw"])
    stored = ok(world.rest.post(f"sessions/{world.session.pk}/turns", {"input": "Thank you"}), 202)
    assert (stored["id"], stored["status"]) == (None, "stored")
    assert world.rest.call("DELETE", world.path).status_code == 204
    assert ok(world.rest.post(f"sessions/{world.session.pk}/turns", {"input": "Hi"}), 202)["status"] == "queued"


def test_a_message_for_a_person_is_stored_once_and_nobody_else_answers_it(world: World) -> None:
    body = {"text": " Call me. "}
    first = world.rest.post(f"{world.path}/message", body, Idempotency_Key="k")
    again = world.rest.post(f"{world.path}/message", body, Idempotency_Key="k")
    assert ok(first, 202) == ok(again, 202)
    assert (first.get("Idempotent-Replayed"), again["Idempotent-Replayed"]) == (None, "true")
    problem(world.rest.post(f"{world.path}/message", {"text": "No"}, Idempotency_Key="k"), 422, "idempotency_mismatch")
    message = Message.objects.get(agent_session=world.session)
    assert (str(message.pk), message.turn_id, message.parts[0]["text"]) == (
        ok(first, 202)["message"],
        None,
        " Call me. ",
    )
    assert world.state()["state"] == "pending"


def test_a_release_without_the_button_offers_nobody_but_a_person_may_come_nevertheless(world: World) -> None:
    write_draft(world.agent, handoff={"offered": False})
    draft = world.agent.draft
    release = Release.objects.create(agent=world.agent, number=2, configuration=draft.configuration)
    AgentSession.objects.filter(pk=world.session.pk).update(release=release)
    assert world.state()["choices"] == []
    problem(world.rest.post(world.path), 409, "handoff_not_offered")
    problem(world.rest.post(f"{world.path}/message", {"text": "Hi"}), 409, "handoff_not_offered")
    claim_handoff(world.operator, session_id=world.session.pk)
    assert world.state()["choices"] == ["withdraw"]


def test_what_was_asked_and_answered_goes_with_its_session(world: World) -> None:
    talk = conversation("ada")
    wait_for_person(talk)
    approval = approval_of(talk)
    decision = f"turns/{approval.turn_id}/approvals/{approval.pk}"
    ok(world.rest.post(decision, {"decision": "deny", "note": "A secret."}, Idempotency_Key="k"))
    ok(world.rest.post(f"turns/{approval.turn_id}/cancel"))
    for session_id in (world.session.pk, talk.session_id):
        ok(world.rest.post(f"sessions/{session_id}/handoff", {"reason": "A secret."}, Idempotency_Key="k"), 202)
        assert world.rest.call("DELETE", f"sessions/{session_id}", If_Match="*").status_code == 204
    assert [(record.body, bytes(record.fingerprint)) for record in IdempotencyRecord.objects.all()] == [(None, b"")] * 3


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("", {"reason": 1}, "/reason"),
    ("", {"reason": "x" * 201}, "/reason"),
    ("", {"reason": "a\0b"}, "/reason"),
    ("", {"note": "x"}, "/note"),
    ("/message", {}, "/text"),
    ("/message", {"text": "  "}, "/text"),
    ("/message", {"text": "a\0b"}, "/text"),
    ("/message", {"text": ["x"]}, "/text"),
]


def test_bad_input_is_refused_with_a_pointer_and_writes_nothing(world: World) -> None:
    for path, body, pointer in BAD:
        refusal = problem(world.rest.post(world.path + path, body), 422, "invalid")
        assert [fault["pointer"] for fault in refusal["errors"]] == [pointer], body
    assert not Handoff.objects.exists()
    assert not Message.objects.exists()
