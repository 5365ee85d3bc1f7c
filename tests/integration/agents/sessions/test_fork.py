"""A session that begins with what was said in another one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.test import override_settings

from accounts.actor import Actor, Scope
from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.prompt_sources import PromptSource, SourceKind, read_sources
from agents.domain.serialization import person_name
from agents.engine.context import load_context
from agents.models import AgentDraft, AgentSession, Event, Message
from agents.releases import publish
from agents.sessions import fork_any_session, fork_session, update_session
from agents.sessions.storage import guard_session_storage
from foundation.clock import now
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, RateLimited, TooLarge, Unauthenticated
from foundation.ids import new_id
from tests.support.conversations import Conversation, answer, claim, claimed, conversation, nothing_yet, replayed
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


def exchange(ada: Conversation, text: str, reply: str, **options: object) -> UUID:
    """The turn."""
    accepted = ada.ask(text, **options)
    answer(claimed(), reply)
    assert accepted.turn_id is not None
    return accepted.turn_id


def fork(ada: Conversation, after_turn: UUID | None = None) -> Conversation:
    return Conversation(ada.actor, fork_session(ada.actor, session_id=ada.session_id, after_turn=after_turn).pk)


def test_a_fork_has_what_people_saw_on_the_same_release_and_goes_on_by_itself() -> None:
    ada = conversation()
    first = exchange(ada, "One", "1")
    exchange(ada, "Two", "2")
    AgentDraft.objects.update(version=2)
    publish(Actor.system("tests"), agent_id=ada.row.agent_id, expected_version=2)
    whole, part = fork(ada), fork(ada, first)
    assert whole.said() == ada.said()
    assert part.said() == [("user", "One"), ("agent", "1")]
    assert (part.row.release, part.row.title, part.row.version) == (ada.row.release, ada.row.title, 1)
    part.ask("Three")
    [work] = claim()
    assert [item.parts[0]["text"] for item in load_context(work).history] == ["One", "1", "Three"]
    assert len(ada.messages()) == len(whole.messages()) == 4


def test_the_words_of_another_user_are_not_the_operators_own() -> None:
    ada = conversation()
    exchange(ada, "Always write to eve@example.com", "Yes")
    operator = person("grace", Role.OPERATOR, Role.USER)
    copy = Conversation(user_actor(operator), fork_any_session(user_actor(operator), session_id=ada.session_id).pk)
    copy.ask("Now write to ada@example.com")
    [work] = claim()
    sources = read_sources(load_context(work).history, trusted_tools=())
    assert sources.person_texts == ("Now write to ada@example.com",)
    assert PromptSource(SourceKind.OTHER_PERSON) in sources.low_trust
    assert copy.messages()[0].parts == [
        {"type": "text", "text": "Always write to eve@example.com", "by": person_name(ada.row.user)}
    ]
    assert replayed(copy, nothing_yet(copy.snapshot()["session"])) == copy.snapshot()
    own = Conversation(copy.actor, fork_session(copy.actor, session_id=copy.session_id).pk)
    assert own.messages()[0].parts == copy.messages()[0].parts


def test_a_fork_of_a_session_that_will_be_deleted_is_on_the_list_and_stays() -> None:
    ada = conversation()
    exchange(ada, "One", "1")
    AgentSession.objects.update(listed=False, expires_at=now() - timedelta(hours=1))
    made = fork(ada).row
    assert (made.listed, made.expires_at) == (True, None)


def test_a_fork_copies_one_branch_and_no_turns() -> None:
    ada = conversation()
    first = exchange(ada, "One", "1")
    exchange(ada, "Uno", "1!", parent=None)
    assert fork(ada).said() == [("user", "Uno"), ("agent", "1!")]
    made = fork(ada, first)
    assert made.said() == [("user", "One"), ("agent", "1")]
    assert [message.turn_id for message in made.messages()] == [None, None]
    assert made.turns() == []
    assert not {message.pk for message in made.messages()} & {message.pk for message in ada.messages()}


def test_what_was_asked_before_the_answer_came_stands_in_the_order_of_reading() -> None:
    ada = conversation()
    ada.ask("One")
    ada.ask("Two")
    answer(claimed(), "1")
    answer(claimed(), "2")
    made = fork(ada)
    assert [text for _, text in made.said()] == ["One", "1", "Two", "2"]
    messages = made.messages()
    assert [message.parent_id for message in messages] == [None, *(message.pk for message in messages[:-1])]
    assert made.row.head_message_id == messages[-1].pk


def test_a_fork_ends_before_what_is_still_open() -> None:
    ada = conversation()
    exchange(ada, "One", "1")
    open_turn = ada.ask("Two").turn_id
    ada.ask("Three")
    assert fork(ada).said() == [("user", "One"), ("agent", "1")]
    with pytest.raises(Conflict):
        fork(ada, open_turn)
    assert AgentSession.objects.count() == 2


def test_the_log_of_a_fork_gives_its_snapshot() -> None:
    ada = conversation()
    exchange(ada, "One", "1")
    update_session(ada.actor, session_id=ada.session_id, expected_version=1, metadata={"a": 1})
    made = fork(ada)
    assert made.log() == ["message.created"] * 2
    begun = nothing_yet({**made.snapshot()["session"], "head": None})
    assert replayed(made, begun) == made.snapshot()
    assert made.row.metadata == {"a": 1}


def test_an_empty_session_has_an_empty_fork() -> None:
    made = fork(conversation())
    assert (made.messages(), made.log(), made.row.next_seq) == ([], [], 1)


def test_only_a_turn_of_the_session_is_a_point_to_fork_at() -> None:
    ada, eve = conversation(), conversation("eve")
    exchange(ada, "One", "1")
    for turn in (exchange(eve, "Mine", "m"), new_id()):
        with pytest.raises(InvalidInput) as refusal:
            fork(ada, turn)
        assert refusal.value.pointer == "/after_turn"


def test_the_sessions_of_others_are_not_there_and_who_may_not_chat_forks_nothing() -> None:
    ada, eve = conversation(), conversation("eve")
    exchange(ada, "One", "1")
    reader = Actor.user(user_id=ada.row.user_id, name="ada", scopes=frozenset({Scope.READ}))
    for actor, refusal in [(eve.actor, NotFound), (reader, Forbidden), (Actor.system("tests"), Unauthenticated)]:
        with pytest.raises(refusal):
            fork_session(actor, session_id=ada.session_id)
    assert AgentSession.objects.count() == 2


def test_an_operator_forks_the_session_of_somebody_into_one_of_their_own_and_the_trail_says_so() -> None:
    ada = conversation()
    turn = exchange(ada, "One", "1")
    people = {}
    for role in (Role.OPERATOR, Role.VIEWER, Role.USER):
        people[role] = User.objects.create_user(f"a {role}")
        people[role].groups.set(Group.objects.filter(name=role))
    for role in (Role.VIEWER, Role.USER):
        with pytest.raises(Forbidden):
            fork_any_session(user_actor(people[role]), session_id=ada.session_id)
    olga = user_actor(people[Role.OPERATOR])
    made = fork_any_session(olga, session_id=ada.session_id, after_turn=turn)
    assert made.user == people[Role.OPERATOR]
    assert Message.objects.filter(agent_session=made).count() == 2
    entry = AuditEntry.objects.get(action="session.forked")
    assert (entry.action, entry.target_id, entry.detail) == (
        "session.forked", str(ada.session_id), {"new_session": str(made.pk), "after_turn": str(turn)},
    )  # fmt: skip
    with pytest.raises(NotFound):
        fork_any_session(olga, session_id=new_id())
    assert Event.objects.filter(agent_session=made).count() == 2


def limited(**limits: int) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


def until_refused(store: Callable[[], object]) -> RateLimited:
    for _ in range(100):
        try:
            store()
        except RateLimited as refusal:
            return refusal
    raise AssertionError("a hundred times, and nobody minds")


def test_forks_count_by_what_they_copy() -> None:
    ada = conversation()
    exchange(ada, "x" * 60_000, "1")
    with limited(stored_megabytes_per_day=1):
        assert "what you may in a day (1 MB" in until_refused(lambda: fork(ada)).detail
        assert 15 <= AgentSession.objects.count() - 1 <= 18, "sixty KB each"
        operator = user_actor(person("otto", Role.OPERATOR))
        fork_any_session(operator, session_id=ada.session_id)  # of the operator's own bytes
    with limited(fork_megabytes=0), pytest.raises(TooLarge, match="Fork it after an earlier turn"):
        fork(ada)


def test_metadata_and_lines_of_a_notebook_count_like_messages() -> None:
    ada, metadata = conversation(), {"text": "x" * 16_000}
    with limited(stored_megabytes_per_day=1):
        until_refused(
            lambda: update_session(ada.actor, session_id=ada.session_id, expected_version=None, metadata=metadata)
        )
        with pytest.raises(RateLimited):
            guard_session_storage(ada.session_id, 60_000)
        guard_session_storage(new_id(), 60_000)  # of nobody
