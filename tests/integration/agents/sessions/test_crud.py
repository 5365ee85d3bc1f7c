"""Sessions begin, change and go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group

from accounts.actor import Actor, Scope
from accounts.models import User
from agents.domain.serialization import session_shape
from agents.models import Agent, AgentSession, Event, Message, Step, Turn
from agents.releases import publish
from agents.sessions import cancel_turn, create_session, delete_session, update_session
from agents.sessions.crud import MAX_METADATA_BYTES, MAX_TITLE
from foundation.errors import (
    BandstandError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unauthenticated,
)
from foundation.ids import new_id
from tests.support.conversations import Conversation, answer, claimed, conversation, side_by_side
from tests.support.people import agent, write_draft

pytestmark = pytest.mark.usefixtures("transactional_db")


def somebody(name: str = "ada") -> Actor:
    user, _ = User.objects.get_or_create(username=name)
    return Actor.user(user_id=user.pk, name=name)


def update(ada: Conversation, version: int | None = 1, **changes: Any) -> AgentSession:
    return update_session(ada.actor, session_id=ada.session_id, expected_version=version, **changes)


def delete(ada: Conversation, version: int | None = 1) -> None:
    delete_session(ada.actor, session_id=ada.session_id, expected_version=version)


# --- beginning ---


def test_a_session_is_on_the_live_release_of_its_agent_and_stays_there() -> None:
    demo, ada = agent(), somebody()
    session = create_session(ada, agent_slug="demo", title=" Hello ", metadata={"a": [1, "é"]})
    assert (session.release, session.title, session.metadata) == (demo.live_release, "Hello", {"a": [1, "é"]})
    assert (session.version, session.controller, session.open_turns, session.next_seq) == (1, "agent", 0, 1)
    write_draft(instructions="New.", version=2)
    newer = publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    session.refresh_from_db()
    assert session.release == demo.live_release
    assert create_session(ada, agent_slug="demo").release == newer


def test_titles_are_nfc() -> None:
    ada = conversation()
    assert update(ada, title="Cafe\u0301").title == "Caf\u00e9"
    assert update(ada, 2, title="e\u0301" * MAX_TITLE).title == "\u00e9" * MAX_TITLE


def test_titles_are_one_line_and_turn_nothing() -> None:
    odd = "  Sums\r\nSet-Cookie: x\u2028\u202egpj\u2066 \x1b[2J\u200f "
    ada = conversation()
    assert update(ada, title=odd).title == "Sums Set-Cookie: x gpj  [2J"
    assert create_session(ada.actor, agent_slug="demo", title=odd).title == "Sums Set-Cookie: x gpj  [2J"


@pytest.mark.parametrize("hidden", ["absent", "archived", "unpublished", "of a group"])
def test_an_agent_out_of_sight_is_no_agent(hidden: str) -> None:
    demo = agent(groups=[Group.objects.create(name="team")] if hidden == "of a group" else [])
    if hidden == "archived":
        Agent.objects.update(archived_at=datetime(2026, 1, 1, tzinfo=UTC))
    elif hidden == "unpublished":
        Agent.objects.update(live_release=None)
    with pytest.raises(InvalidInput) as refusal:
        create_session(somebody(), agent_slug="other" if hidden == "absent" else demo.slug)
    assert refusal.value.pointer == "/agent"
    assert not AgentSession.objects.exists()
    Group.objects.filter(name="team").delete()


def test_the_system_and_keys_without_the_scope_begin_nothing() -> None:
    agent()
    reader = Actor.user(user_id=1, name="ada", scopes=frozenset({Scope.READ}))
    for actor, refusal in [(Actor.system("tests"), Unauthenticated), (reader, Forbidden)]:
        with pytest.raises(refusal):
            create_session(actor, agent_slug="demo")


BAD: list[tuple[dict[str, Any], type[BandstandError], str]] = [
    ({"title": "x" * (MAX_TITLE + 1)}, InvalidInput, "/title"),
    ({"title": "a\x00"}, InvalidInput, "/title"),
    ({"title": "\ud800"}, InvalidInput, "/title"),
    ({"title": None}, InvalidInput, "/title"),
    ({"metadata": []}, InvalidInput, "/metadata"),
    ({"metadata": {"a": "x" * MAX_METADATA_BYTES}}, TooLarge, "/metadata"),
    ({"metadata": {"a": [{"b/c": "x\x00"}]}}, InvalidInput, "/metadata/a/0/b~1c"),
    ({"metadata": {"a\x00": 1}}, InvalidInput, "/metadata"),
    ({"metadata": {"a": "\udfff"}}, InvalidInput, "/metadata/a"),
    ({"metadata": {"a": float("nan")}}, InvalidInput, "/metadata/a"),
    ({"metadata": {"a": float("inf")}}, InvalidInput, "/metadata/a"),
    ({"metadata": {"a": [2**70]}}, InvalidInput, "/metadata/a/0"),
    # jsonb gives it back as a whole number of 21 digits, and no answer with that session could be written any more.
    ({"metadata": {"a": 1e20}}, InvalidInput, "/metadata/a"),
    ({"metadata": {"a": object()}}, InvalidInput, "/metadata/a"),
    ({"metadata": {1: "a"}}, InvalidInput, "/metadata"),
]


@pytest.mark.parametrize(("values", "refusal", "pointer"), BAD)
def test_bad_values_are_refused_with_a_pointer(
    values: dict[str, Any], refusal: type[BandstandError], pointer: str
) -> None:
    ada = conversation()
    with pytest.raises(refusal) as refused:
        create_session(ada.actor, agent_slug="demo", **values)
    assert refused.value.pointer == pointer
    with pytest.raises(refusal) as refused:
        update(ada, **values)
    assert refused.value.pointer == pointer
    assert AgentSession.objects.count() == 1
    assert ada.row.version == 1


# --- changing ---


def test_a_change_raises_the_version_and_is_told_to_everybody() -> None:
    ada = conversation()
    update(ada, title="One")
    update(ada, 2, metadata={"a": 1})
    row = ada.row
    assert (row.title, row.metadata, row.version) == ("One", {"a": 1}, 3)
    assert ada.log() == ["session.updated"] * 2
    assert ada.events()[-1].data == {"session": session_shape(row)}


def test_a_change_of_nothing_is_a_change() -> None:
    ada = conversation()
    assert update(ada).version == 2


def test_a_change_that_saw_an_old_version_is_refused() -> None:
    ada = conversation()
    update(ada, title="One")
    for version in (0, 1, 3):
        with pytest.raises(PreconditionFailed):
            update(ada, version, title="Two")
    assert ada.row.title == "One"
    assert ada.log() == ["session.updated"]


def test_one_of_many_changes_at_the_same_moment_wins() -> None:
    ada = conversation()
    outcomes = side_by_side(*[lambda n=n: update(ada, title=f"Title {n}") for n in range(6)])
    assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 5
    assert ada.row.version == 2
    assert ada.log() == ["session.updated"]


def test_whoever_takes_any_version_changes_and_deletes_whatever_there_is() -> None:
    ada = conversation()
    update(ada, title="One")
    assert update(ada, None, title="Two").version == 3
    delete(ada, None)
    assert not AgentSession.objects.exists()


def test_messages_do_not_raise_the_version() -> None:
    ada = conversation()
    ada.ask()
    answer(claimed())
    assert ada.row.version == 1


@pytest.mark.parametrize("verb", [update, delete])
def test_the_sessions_of_others_are_not_there(verb: Any) -> None:
    ada, bob = conversation(), conversation("bob")
    for session_id in (ada.session_id, new_id()):
        with pytest.raises(NotFound):
            verb(Conversation(bob.actor, session_id))
    with pytest.raises(Unauthenticated):
        verb(Conversation(Actor.system("tests"), ada.session_id))
    reader = Actor.user(user_id=ada.row.user_id, name="ada", scopes=frozenset({Scope.READ}))
    with pytest.raises(Forbidden):
        verb(Conversation(reader, ada.session_id))
    assert ada.row.version == 1


# --- going ---


def test_a_session_goes_with_all_that_was_said_in_it() -> None:
    ada, other = conversation(), conversation()
    for one in (ada, other):
        one.ask()
        answer(claimed())
    delete(ada)
    for rows in (AgentSession, Turn):
        assert rows.objects.count() == 1
    assert {step.turn.agent_session_id for step in Step.objects.select_related("turn")} == {other.session_id}
    assert {event.agent_session_id for event in Event.objects.all()} == {other.session_id}
    assert {message.agent_session_id for message in Message.objects.all()} == {other.session_id}
    with pytest.raises(NotFound):
        delete(ada)


def test_a_session_with_an_open_turn_stays() -> None:
    ada = conversation()
    turn_id = ada.ask().turn_id
    assert turn_id
    with pytest.raises(Conflict):
        delete(ada)
    cancel_turn(ada.actor, turn_id=turn_id)
    delete(ada)
    assert not AgentSession.objects.exists()


def test_a_session_that_changed_meanwhile_stays() -> None:
    ada = conversation()
    update(ada, title="One")
    with pytest.raises(PreconditionFailed):
        delete(ada)
    assert ada.row


def test_a_message_and_the_deletion_of_its_session_do_not_pass_each_other() -> None:
    ada = conversation()
    asked, deleted = side_by_side(ada.ask, lambda: delete(ada))
    if isinstance(asked, NotFound):
        assert deleted is None
        assert not Message.objects.exists()
    else:
        assert isinstance(deleted, Conflict)
        assert ada.statuses() == ["queued"]
