"""Search, forks and exports over REST."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.states import StepStatus
from agents.journal.fenced_writes import StepOutcome, advance
from agents.models import AgentSession
from agents.openai_api.errors import CompletionFailed, openai_error_body
from agents.sessions import (
    accept_message,
    create_session,
    export,
    give_feedback,
    read_completion_result,
    read_window,
)
from agents.sessions.handoff_control import add_note, reply_as_human, resolve_handoff
from foundation.db_threads import in_db_thread
from tests.support.conversations import Conversation, answer, claimed, fail
from tests.support.declared import check, schema
from tests.support.people import agent, key_of, person
from tests.support.rest import V1, AsyncRest, Rest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")


class World:
    """Ada has a session with an answer; Eve is somebody else."""

    def __init__(self) -> None:
        self.ada, self.eve = person("ada", Role.USER), person("eve", Role.USER)
        agent()
        self.actor = user_actor(self.ada)
        self.rest, self.other = AsyncRest(key_of(self.ada)), AsyncRest(key_of(self.eve))
        self.sync = Rest(self.rest.key)
        self.session = self.begun("What is 17 * 3?", "17 * 3 = **51**")
        self.path = f"sessions/{self.session.session_id}"

    def begun(self, question: str, reply: str, title: str = "") -> Conversation:
        made = Conversation(self.actor, create_session(self.actor, agent_slug="demo", title=title).pk)
        made.ask(question)
        answer(claimed(), reply)
        return made

    def found(self, words: str, **more: str) -> list[str]:
        """Titles."""
        query = "".join(f"&{name}={value}" for name, value in more.items())
        page = self.sync.get(f"sessions?search={quote(words)}{query}")
        assert page.status_code == 200, page.content
        return [one["title"] for one in page.json()["results"]]


@pytest.fixture
async def world(transactional_db: None) -> AsyncIterator[World]:
    yield await in_db_thread(World)
    await sync_to_async(connections.close_all)()


async def body_of(answered: Any) -> bytes:
    assert answered.status_code == 200, answered.content
    assert answered["Cache-Control"] == "no-store"
    return b"".join([chunk async for chunk in answered.streaming_content])


# --- search ---


async def test_sessions_are_found_by_title_and_by_what_was_said(world: World) -> None:
    def look() -> None:
        world.begun('Say "100%_sure\\"\nand go', "Ünder\tthe bridge", title="Odd signs")
        Conversation(user_actor(world.eve), create_session(user_actor(world.eve), agent_slug="demo", title="Odd").pk)
        assert world.found("SIGNS") == ["Odd signs"]
        assert world.found("idg ünd") == ["Odd signs"], "parts of words, in any order"
        assert world.found("odd 17") == [], "all of the words"
        assert world.found('"100%_sure\\"') == ["Odd signs"]
        assert world.found("100__sure") == []
        assert world.found("17 51") == ["What is 17 * 3?"]
        assert world.found("text") == world.found("type") == [], "not by how it is stored"
        assert world.found("a", agent="none") == []
        assert world.found("17", agent="demo") == ["What is 17 * 3?"]
        AgentSession.objects.update(listed=False)
        assert world.found("17") == []

    await in_db_thread(look)


async def test_what_was_found_comes_in_pages(world: World) -> None:
    def look() -> None:
        for number in range(3):
            world.begun(f"Question {number}", "Answer")
        first = world.sync.get("sessions?search=question&limit=2").json()
        assert [one["title"] for one in first["results"]] == ["Question 2", "Question 1"]
        rest = world.sync.get("sessions?" + first["next"].partition("?")[2]).json()
        assert ([one["title"] for one in rest["results"]], rest["next"]) == (["Question 0"], None)

    await in_db_thread(look)


@pytest.mark.parametrize("words", ["", "%20", "%00", "x" * 201, "a&search=b"])
async def test_a_search_for_nothing_is_refused(world: World, words: str) -> None:
    problem(await world.rest.get(f"sessions?search={words}"), 422, "invalid")


# --- forks ---

NOBODYS = str(UUID(int=7))


async def test_a_fork_is_made_once_for_each_key(world: World) -> None:
    turn = str((await in_db_thread(world.session.turn)).pk)
    made = await world.rest.post(f"{world.path}/fork", {"after_turn": turn}, Idempotency_Key="k")
    assert made.status_code == 201, made.content
    shape = json.loads(made.content)
    assert (made["Location"], made["ETag"]) == (f"{V1}/sessions/{shape['id']}", '"1"')
    again = await world.rest.post(f"{world.path}/fork", {"after_turn": turn}, Idempotency_Key="k")
    assert (json.loads(again.content), again["Idempotent-Replayed"]) == (shape, "true")
    other = await world.rest.post(f"{world.path}/fork", {"after_turn": None}, Idempotency_Key="k")
    problem(other, 422, "idempotency_mismatch")
    assert await AgentSession.objects.acount() == 2
    said = json.loads((await world.rest.get(f"sessions/{shape['id']}/messages")).content)["results"]
    assert [message["author"] for message in said] == ["user", "agent"]
    assert shape["head"] == said[-1]["id"]
    assert (await world.rest.post(f"{world.path}/fork")).status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"after_turn": "x"}, 422),
        ({"after_turn": 1}, 422),
        ({"x": 1}, 422),
        ([], 400),
        ({"after_turn": "{absent}"}, 422),
    ],
)
async def test_a_bad_fork_is_refused(world: World, body: Any, status: int) -> None:
    assert (await world.rest.post(f"{world.path}/fork", body)).status_code == status
    assert await AgentSession.objects.acount() == 1


async def test_an_open_turn_is_no_point_to_fork_at(world: World) -> None:
    accepted = await in_db_thread(world.session.ask, "More")
    problem(await world.rest.post(f"{world.path}/fork", {"after_turn": str(accepted.turn_id)}), 409, "conflict")


async def test_the_sessions_of_others_are_neither_forked_nor_exported(world: World) -> None:
    for path in (world.path, f"sessions/{uuid4()}"):
        problem(await world.other.post(f"{path}/fork"), 404, "not_found")
        problem(await world.other.get(f"{path}/export"), 404, "not_found")
        problem(await world.other.get(f"{path}/export?format=markdown"), 404, "not_found")


# --- exports ---


async def test_an_export_has_everything_that_is_ones_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def happen() -> None:
        give_feedback(world.actor, message_id=world.session.messages()[1].pk, value=-1, comment="Why?")
        world.session.ask("Again", parent=None)
        fail(claimed(), text="Well")

    await in_db_thread(happen)
    monkeypatch.setattr(export, "PAGE_SIZE", 3)
    answered = await world.rest.get(f"{world.path}/export")
    assert answered["Content-Disposition"] == 'attachment; filename="What is 17 3.json"'
    found = json.loads(await body_of(answered))
    operation = schema()["paths"]["/api/v1/sessions/{session_id}/export"]["get"]
    check(found, operation["responses"]["200"]["content"]["application/json"]["schema"])
    listed = json.loads((await world.rest.get(f"{world.path}/messages")).content)["results"]
    assert found["messages"] == listed
    assert found["messages"][1]["feedback"] == {"value": "down", "comment": "Why?"}
    assert [turn["status"] for turn in found["turns"]] == ["completed", "failed"]
    assert [turn["events"] for turn in found["turns"]] == [{"first": 2, "last": 6}, {"first": 8, "last": 12}]
    assert found["events"] == {"first": 1, "last": 12}
    assert found["session"] == json.loads((await world.rest.get(world.path)).content)


async def test_an_export_as_a_text_has_what_people_see(world: World) -> None:
    await in_db_thread(world.session.ask, "Another branch", parent=None)
    await in_db_thread(lambda: world.sync.call("PATCH", world.path, {"head": first_answer(world)}, If_Match='"1"'))
    answered = await world.rest.get(f"{world.path}/export?format=markdown")
    assert answered["Content-Type"] == "text/markdown; charset=utf-8"
    text = (await body_of(answered)).decode()
    assert text.startswith("# What is 17 * 3?\n\nWith Demo, begun ")
    assert text.index("What is 17 * 3?\n\n## Demo") < text.index("17 * 3 = **51**")
    assert "Another branch" not in text


def first_answer(world: World) -> str:
    return str(next(message.pk for message in world.session.messages() if message.author == "agent"))


def hand_off(world: World) -> None:
    dana = person("dana", Role.OPERATOR)
    User.objects.filter(pk=dana.pk).update(first_name="Dana", last_name="Ng")
    session_id = world.session.session_id
    reply_as_human(user_actor(dana), text="Let me look.", key="1", session_id=session_id)
    world.session.ask("Thank you")
    add_note(user_actor(dana), text="SECRET: is angry", session_id=session_id, key="n")
    reply_as_human(user_actor(dana), text="It is 51.", key="2", session_id=session_id)
    resolve_handoff(user_actor(dana), session_id=session_id)


async def test_what_a_person_answered_is_copied_and_exported_and_operators_notes_are_not(world: World) -> None:
    await in_db_thread(hand_off, world)
    text = (await body_of(await world.rest.get(f"{world.path}/export?format=markdown"))).decode()
    names = [line.split(",")[0] for line in text.splitlines() if line.startswith("## ")]
    assert names == ["## You", "## Demo", "## Dana Ng", "## You", "## Dana Ng"]
    fork = json.loads((await world.rest.post(f"{world.path}/fork")).content)
    copied = Conversation(world.actor, UUID(fork["id"]))
    assert await in_db_thread(copied.said) == await in_db_thread(world.session.said)
    answers = [text.encode()]
    for path in (world.path, f"sessions/{fork['id']}"):
        answers.append(await body_of(await world.rest.get(f"{path}/export")))
        answers += [(await world.rest.get(f"{path}{rest}")).content for rest in ("", "/messages", "/handoff")]
    window = await in_db_thread(lambda: read_window(actor=world.actor, session_id=world.session.session_id, limit=30))
    answers.append(json.dumps([window, await in_db_thread(world.session.snapshot)]).encode())
    answers += [json.dumps(event.data).encode() for event in await in_db_thread(world.session.events)]
    assert [b"Let me look." in one for one in answers].count(True) == 7
    assert not [one for one in answers if b"SECRET" in one]


async def test_an_empty_conversation_is_exported_as_such(world: World) -> None:
    empty = await in_db_thread(create_session, world.actor, agent_slug="demo")
    found = json.loads(await body_of(await world.rest.get(f"sessions/{empty.pk}/export")))
    assert (found["messages"], found["turns"], found["events"]) == ([], [], {"first": 1, "last": 0})


async def test_a_long_conversation_is_exported_piece_by_piece(world: World) -> None:
    def talk() -> None:
        for number in range(60):
            accept_message(world.actor, session_id=world.session.session_id, text=f"Question {number}")
            answer(claimed())

    await in_db_thread(talk)
    answered = await world.rest.get(f"{world.path}/export")
    chunks = [chunk async for chunk in answered.streaming_content]
    assert len(chunks) == 2 + 3
    assert len(json.loads(b"".join(chunks))["messages"]) == 122


@pytest.mark.parametrize("query", ["format=pdf", "format=", "format=json&format=json", "x=1"])
async def test_a_bad_format_is_refused(world: World, query: str) -> None:
    problem(await world.rest.get(f"{world.path}/export?{query}"), 422, "invalid")


async def test_the_head_of_an_export_has_no_body(world: World) -> None:
    answered = await world.rest.call("HEAD", f"{world.path}/export")
    assert answered.status_code == 200
    assert b"".join(answered.streaming_content) == b"", "the test client took the body away, as a server does"
    assert "Content-Length" not in answered, "it would be that of the body"
    assert "attachment" in answered["Content-Disposition"]


async def test_what_a_provider_said_is_not_for_those_who_chat(world: World) -> None:
    words = "Your account swordfish has no credit."
    error = {"status": 402, "code": "billing", "message": words, "request_id": "req_swordfish"}

    def break_off() -> None:
        world.session.ask("And now?")
        work = claimed()
        advance(work, outcomes=[StepOutcome(1, StepStatus.FAILED, error_class="auth", details={"error": error})])
        fail(work, "auth", text="Half")

    await in_db_thread(break_off)
    turn = (await in_db_thread(world.session.turns))[-1]
    for path in (
        world.path, f"{world.path}/messages", f"{world.path}/export", f"{world.path}/export?format=markdown",
        f"turns/{turn.pk}", "sessions",
    ):  # fmt: skip
        answer = await world.rest.get(path)
        assert answer.status_code == 200, path
        body = b"".join([chunk async for chunk in answer.streaming_content]) if answer.streaming else answer.content
        assert b"swordfish" not in body, path
    events = [event.data for event in await in_db_thread(world.session.events)]
    assert "swordfish" not in f"{events} {await in_db_thread(world.session.snapshot)}"
    result = await in_db_thread(read_completion_result, world.actor, turn_id=turn.pk)
    assert result.error
    assert result.error["error_class"] == "auth"
    assert "swordfish" not in str(openai_error_body(CompletionFailed(result)))
