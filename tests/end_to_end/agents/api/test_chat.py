"""What the chat page reads beside the public interface."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.sessions import accept_message, create_session
from tests.support.people import agent, key_of, person
from tests.support.rest import problem

pytestmark = pytest.mark.usefixtures("transactional_db")


def login(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def address(session_id: object, query: str = "") -> str:
    return f"/chat/sessions/{session_id}/messages{query}"


@pytest.fixture
def ada() -> User:
    agent()
    return person("ada", Role.USER)


def begun(user: User, *texts: str) -> Any:
    session = create_session(user_actor(user), agent_slug="demo", title="A test")
    for text in texts:
        accept_message(user_actor(user), session_id=session.pk, text=text)
    return session


def test_a_conversation_is_read_with_the_login_in_pages(ada: User) -> None:
    session = begun(ada, "one", "two", "three")
    found = login(ada).get(address(session.pk, "?limit=2")).json()
    assert [message["parts"][0]["text"] for message in found["messages"]] == ["two", "three"]
    assert (found["seq"], found["older"], found["session"]["id"]) == (6, True, str(session.pk))
    older = login(ada).get(address(session.pk, f"?before={found['messages'][0]['id']}")).json()
    assert [message["parts"][0]["text"] for message in older["messages"]] == ["one"]


def test_absent_and_foreign_conversations_look_the_same(ada: User) -> None:
    bob = login(person("bob", Role.USER))
    for session_id in (begun(ada, "mine").pk, uuid4()):
        problem(bob.get(address(session_id)), 404, "not_found")


def test_strangers_are_sent_away(ada: User) -> None:
    session = begun(ada, "mine")
    problem(Client().get(address(session.pk)), 401, "unauthenticated")
    nobody = login(person("eve"))
    assert nobody.get(address(session.pk)).status_code in {403, 404}


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=101", "?limit=x", "?before=1", "?before=%00", "?x=1", f"?before={UUID(int=1)}"]
)
def test_a_query_that_makes_no_sense_is_refused(ada: User, query: str) -> None:
    problem(login(ada).get(address(begun(ada, "mine").pk, query)), 422, "invalid")


def test_a_malformed_id_is_refused(ada: User) -> None:
    problem(login(ada).get(address("1")), 422, "invalid")


def test_it_takes_only_get(ada: User) -> None:
    assert login(ada).post(address(begun(ada, "mine").pk)).status_code == 405


def test_it_takes_a_key_as_well(ada: User) -> None:
    session = begun(ada, "mine")
    answer = Client().get(address(session.pk), headers={"Authorization": f"Bearer {key_of(ada)}"})
    assert answer.status_code == 200
