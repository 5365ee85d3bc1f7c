"""Titles, branches, ratings and places in the queue over REST."""

from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.db import connections

from accounts.actor import Scope
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import AgentSession
from agents.relay import close_hub
from agents.sessions import accept_message
from tests.support.conversations import Conversation, answer, claimed
from tests.support.people import agent, key_of, person
from tests.support.rest import Rest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")

NOBODYS = str(UUID(int=7))


class World:
    """Ada has a session without a title; Eve is somebody else."""

    def __init__(self) -> None:
        self.ada = person("ada", Role.USER)
        agent()
        self.rest, self.other = Rest(key_of(self.ada)), Rest(key_of(person("eve", Role.USER)))
        self.session = ok(self.rest.post("sessions", {"agent": "demo"}), 201)
        self.path = f"sessions/{self.session['id']}"
        self.talk = Conversation(user_actor(self.ada), UUID(self.session["id"]))

    def ask(self, text: str, **options: Any) -> Any:
        return ok(self.rest.post(f"{self.path}/turns", {"input": text, **options}), 202)

    def exchange(self, text: str, reply: str, **options: Any) -> tuple[str, str]:
        """The question and its answer."""
        self.ask(text, **options)
        answer(claimed(), reply)
        question, said = self.messages()[-2:]
        return question["id"], said["id"]

    def messages(self) -> Any:
        return ok(self.rest.get(f"{self.path}/messages"))["results"]

    def read(self) -> Any:
        return ok(self.rest.get(self.path))

    def choose(self, head: Any, version: int = 1) -> Any:
        return self.rest.call("PATCH", self.path, {"head": head}, If_Match=f'"{version}"')


@pytest.fixture
def world(transactional_db: None) -> Any:
    yield World()
    close_hub()
    async_to_sync(_close)()


async def _close() -> None:
    connections.close_all()


def ok(answered: Any, status: int = 200) -> Any:
    assert answered.status_code == status, answered.content
    return answered.json() if status != 204 else None


def test_the_first_message_names_a_session_and_its_version_stays(world: World) -> None:
    assert (world.session["title"], world.session["head"]) == ("", None)
    world.ask("What is the\ntime?")
    assert (world.read()["title"], world.read()["version"]) == ("What is the time?", 1)
    ok(world.rest.call("PATCH", world.path, {"title": "Mine"}, If_Match='"1"'))
    world.ask("And now?")
    assert world.read()["title"] == "Mine"
    log = ok(world.rest.get(f"{world.path}/events"))["results"]
    assert [event["event"] for event in log if event["turn"] is None] == ["session.updated"] * 2


def test_a_waiting_turn_says_how_many_stand_before_it(world: World) -> None:
    turns = [world.ask(f"Question {number}") for number in range(3)]
    assert [turn["position"] for turn in turns] == [0, 1, 2]
    first = claimed()

    def positions() -> list[Any]:
        return [ok(world.rest.get(f"turns/{turn['id']}"))["position"] for turn in turns]

    assert positions() == [None, 1, 2]
    answer(first)
    assert positions() == [None, 0, 1]
    assert ok(world.rest.post(f"turns/{turns[1]['id']}/cancel"))["position"] is None
    assert positions() == [None, None, 0]


def test_people_go_back_to_a_branch_and_on_from_there(world: World) -> None:
    question, first = world.exchange("One", "1")
    _, second = world.exchange("Uno", "1!", parent=None)
    assert world.read()["head"] == second
    chosen = world.choose(first)
    assert (ok(chosen)["head"], chosen["ETag"]) == (first, '"2"')
    world.exchange("Two", "2")
    said = {message["id"]: message for message in world.messages()}
    way, at = [], world.read()["head"]
    while at:
        way.append(said[at]["parts"][0]["text"])
        at = said[at]["parent"]
    assert way == ["2", "Two", "1", "One"]
    assert [message["parent"] for message in said.values()].count(None) == 2, "two roots"
    assert ok(world.choose(question, 2))["head"] == question


@pytest.mark.parametrize("head", [NOBODYS, "x", 1, None, [], ""])
def test_what_is_no_message_of_the_session_is_no_branch(world: World, head: Any) -> None:
    world.exchange("One", "1")
    before = world.read()
    assert problem(world.choose(head), 422, "invalid")["errors"][0]["pointer"] == "/head"
    assert world.read() == before


def test_a_branch_is_chosen_with_the_version_that_was_read(world: World) -> None:
    question, _ = world.exchange("One", "1")
    problem(world.rest.call("PATCH", world.path, {"head": question}), 428, "precondition_required")
    problem(world.choose(question, 7), 412, "precondition_failed")
    problem(world.other.call("PATCH", world.path, {"head": question}, If_Match='"1"'), 404, "not_found")


def test_an_answer_is_rated_and_the_rating_is_there_for_its_reader(world: World) -> None:
    question, said = world.exchange("One", "1")
    path = f"messages/{said}/feedback"
    assert ok(world.rest.call("PUT", path, {"value": "down", "comment": " No. "})) == {
        "value": "down",
        "comment": "No.",
    }
    assert [message["feedback"] for message in world.messages()] == [None, {"value": "down", "comment": "No."}]
    assert ok(world.rest.call("PUT", path, {"value": "up"})) == {"value": "up", "comment": ""}
    turn = ok(world.rest.get(f"turns/{world.messages()[0]['turn']}"))
    assert turn["answer"]["feedback"] == {"value": "up", "comment": ""}
    for _ in range(2):
        ok(world.rest.call("DELETE", path), 204)
    assert [message["feedback"] for message in world.messages()] == [None, None]
    problem(world.rest.call("PUT", f"messages/{question}/feedback", {"value": "up"}), 422, "invalid")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        ([], 400),
        ({}, 422),
        ({"value": 1}, 422),
        ({"value": "sideways"}, 422),
        ({"value": "up", "comment": 1}, 422),
        ({"value": "up", "comment": "x" * 2001}, 422),
        (b'{"value": "up", "comment": "\\u0000"}', 422),
        ({"value": "up", "user": 1}, 422),
    ],
)
def test_a_bad_rating_is_refused(world: World, body: Any, status: int) -> None:
    _, said = world.exchange("One", "1")
    assert world.rest.call("PUT", f"messages/{said}/feedback", body).status_code == status
    assert world.messages()[1]["feedback"] is None


def test_the_answers_of_others_are_absent_and_a_reader_rates_nothing(world: World) -> None:
    _, said = world.exchange("One", "1")
    for message in (said, NOBODYS):
        for method, body in (("PUT", {"value": "up"}), ("DELETE", b"")):
            problem(world.other.call(method, f"messages/{message}/feedback", body), 404, "not_found")
    reader = Rest(key_of(world.ada, {Scope.READ}))
    problem(reader.call("PUT", f"messages/{said}/feedback", {"value": "up"}), 403, "forbidden")
    problem(world.rest.call("PUT", "messages/x/feedback", {"value": "up"}), 422, "invalid")
    problem(world.rest.call("GET", f"messages/{said}/feedback"), 405, "method_not_allowed")


def test_a_page_of_rated_messages_takes_the_same_few_queries(world: World, django_assert_max_num_queries: Any) -> None:
    for number in range(4):
        _, said = world.exchange(str(number), "x")
        ok(world.rest.call("PUT", f"messages/{said}/feedback", {"value": "up"}))
    with django_assert_max_num_queries(4):
        assert len(world.messages()) == 8


def test_a_session_that_is_kept_off_the_list_is_still_read_by_its_id(world: World) -> None:
    accept_message(world.talk.actor, session_id=world.talk.session_id, text="Hi")
    AgentSession.objects.update(listed=False)
    assert ok(world.rest.get("sessions"))["results"] == []
    assert world.read()["id"] == world.session["id"]
