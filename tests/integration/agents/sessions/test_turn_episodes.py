"""What was said in ended turns is remembered once, and goes with its session, in whatever way that is deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from accounts.actor import Actor
from accounts.models import User
from agents import tasks
from agents.domain.states import TurnStatus
from agents.management.demo.removal import remove
from agents.models import Agent, AgentSession, Message, Step, Turn
from agents.releases import publish
from agents.sessions import cancel_turn, delete_session, fork_session
from agents.sessions.crud import delete_expired_sessions
from agents.sessions.turn_episodes import remember_turn, session_owner, user_owner
from foundation.clock import now
from foundation.db_threads import in_db_thread
from memory.enums import MemorySource, WorkingKind
from memory.models import Memory, MemoryBody, MemoryDerivation, MemoryKey, MemoryOwner, WorkingItem
from memory.working_memory import add_item
from memory.writing import forget_memory, forget_own_memories, remember
from tests.chaos.waiting import until
from tests.support.completions import complete
from tests.support.conversations import Conversation, Stalled, answer, claimed, conversation, side_by_side
from tests.support.people import agent, configuration_of, write_draft
from tests.support.runners import become, serving
from tests.support.scripted import says, scripted
from tests.support.turns import begin

pytestmark = pytest.mark.usefixtures("transactional_db")
MEMORY = {"remember_turns": True}
SYSTEM = Actor.system("tests")


def demo(**policy: Any) -> Agent:
    made = agent()
    write_draft(made, memory=MEMORY | policy, version=2)
    publish(SYSTEM, agent_id=made.pk, expected_version=2)
    return made


def exchange(ada: Conversation, question: str, reply: str, **options: Any) -> UUID:
    """A question and its answer, remembered; the turn's id."""
    ada.ask(question, **options)
    claim = claimed()
    answer(claim, reply)
    again(claim.turn_id)
    return claim.turn_id


def again(turn_id: UUID) -> list[UUID]:
    turn = Turn.objects.select_related("release").get(pk=turn_id)
    return remember_turn(turn_id, release=configuration_of(turn.release))


def remembered() -> list[tuple[str, str]]:
    """Speaker and text of all episodes, as they were said."""
    rows = Memory.objects.filter(tier="episodic").order_by("occurred_at", "pk")
    return list(rows.values_list("actor", "body__text"))


def test_what_is_said_is_remembered_verbatim_with_where_it_comes_from() -> None:
    made = demo()
    ada = conversation()
    User.objects.filter(username="ada").update(first_name="Ada", last_name="Lovelace")
    turn = exchange(ada, "I live in Bern.", "Noted.\n\nBern is nice.")
    assert remembered() == [("Ada Lovelace", "I live in Bern."), ("Demo", "Noted.\n\nBern is nice.")]
    question = Memory.objects.select_related("owner", "body").earliest("occurred_at")
    message = Message.objects.get(agent_session=ada.session_id, author="user")
    body = question.body
    assert (body.source, body.agent, body.session, body.turn, body.message) == (
        "turn", made.pk, ada.session_id, turn, message.pk,
    )  # fmt: skip
    assert (question.thread, question.position, question.occurred_at) == (ada.session_id, 1, message.created_at)
    assert (question.owner.scope, question.owner.user_id, question.owner.agent) == ("user", ada.actor.user_id, made.pk)


def test_each_message_is_remembered_once_however_often_somebody_tries() -> None:
    demo()
    ada = conversation()
    turn = exchange(ada, "I live in Bern.", "Noted.")
    assert again(turn) == []
    outcomes = side_by_side(*[lambda: again(turn)] * 3)
    assert outcomes == [[], [], []]
    assert len(remembered()) == MemoryOwner.objects.get().memories == 2


def test_the_words_of_an_episode_include_its_two_predecessors_on_the_branch() -> None:
    demo()
    ada = conversation()
    exchange(ada, "Which river?", "The Aare.")
    first = Message.objects.get(agent_session=ada.session_id, ordinal=2)
    exchange(ada, "How warm?", "Twelve degrees.")
    exchange(ada, "How deep?", "Four metres.", parent=first.pk)
    rows = {m.body.text: m.context_words for m in Memory.objects.select_related("body")}
    assert ["aar" in rows[text] for text in ("The Aare.", "How warm?", "How deep?", "Four metres.")] == [True] * 4
    assert "warm" not in rows["How deep?"]
    # A branch that nobody looks at any more stays remembered: it was said.
    assert len(rows) == 6


def test_a_long_message_is_remembered_in_parts() -> None:
    demo()
    ada = conversation()
    text = " ".join(f"This is sentence number {number}." for number in range(100))
    exchange(ada, text, "")
    parts = list(Memory.objects.order_by("pk").values_list("body__text", "body__metadata"))
    assert " ".join(part for part, _ in parts) == text
    assert [metadata["chunk"] for _, metadata in parts] == [1, 2, 3]


def test_a_release_that_does_not_remember_and_sessions_of_openai_clients_leave_nothing() -> None:
    demo(remember_turns=False)
    ada = conversation()
    exchange(ada, "I live in Bern.", "Noted.")
    complete(ada.actor, "I live in Basel.")
    claim = claimed()
    answer(claim)
    again(claim.turn_id)
    write_draft(memory=MEMORY)
    turn = Turn.objects.get(pk=claim.turn_id)
    assert remember_turn(turn.pk, release=configuration_of(Agent.objects.get().draft)) == []
    assert not Memory.objects.exists()


def test_copies_in_a_fork_are_not_remembered_twice_but_what_follows_is() -> None:
    demo()
    ada = conversation()
    exchange(ada, "I live in Bern.", "Noted.")
    fork = Conversation(ada.actor, fork_session(ada.actor, session_id=ada.session_id).pk)
    exchange(fork, "And where do you live?", "Here.")
    assert len(remembered()) == 4


def test_an_open_turn_is_not_remembered_and_a_cancelled_one_is() -> None:
    demo()
    ada = conversation()
    ada.ask("I live in Bern.")
    turn_id = ada.turn().pk
    assert again(turn_id) == []
    cancel_turn(ada.actor, turn_id=turn_id)
    assert ada.turn().status == TurnStatus.CANCELLED
    assert len(again(turn_id)) == 1


def test_what_was_forgotten_does_not_come_back_with_the_pass_that_compacts(monkeypatch: pytest.MonkeyPatch) -> None:
    demo()
    ada = conversation()
    exchange(ada, "My PIN is 7788.", "I see.")
    assert forget_own_memories(ada.actor) == (2, False)
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(0))
    assert tasks.compact_events() == 1
    assert not MemoryBody.objects.exists()


def test_the_pass_that_compacts_catches_what_a_kill_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    demo()
    ada = conversation()
    ada.ask("I live in Bern.")
    answer(claimed(), "Noted.")
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(0))
    assert tasks.compact_events() == 1
    assert len(remembered()) == 2
    assert tasks.compact_events() == 0


async def test_a_runner_remembers_right_after_the_turn() -> None:
    ada = await begin("I live in Bern.", memory=MEMORY)
    async with serving(scripted(says("Noted."))[0]):
        await become(ada, "completed")

        async def is_remembered() -> bool:
            return len(await in_db_thread(remembered)) == 2

        await until(is_remembered, seconds=5, what="two episodes")


# --- deletion ---


def _expire(ada: Conversation) -> None:
    long_ago = now() - timedelta(days=9)
    AgentSession.objects.filter(pk=ada.session_id).update(expires_at=long_ago, updated_at=long_ago)
    assert delete_expired_sessions(limit=10) == 1


def _delete(ada: Conversation) -> None:
    delete_session(ada.actor, session_id=ada.session_id, expected_version=None)


def _remove_samples(_ada: Conversation) -> None:
    Agent.objects.update(slug="sample-demo")
    User.objects.filter(username="ada").update(username="sample-user-00001")
    remove(report=lambda _line: None)
    assert not User.objects.filter(username="sample-user-00001").exists()
    assert not MemoryOwner.objects.exists()


def _delete_account(ada: Conversation) -> None:
    _delete(ada)
    User.objects.get(username="ada").delete()
    assert not MemoryOwner.objects.exists()


WAYS: list[Callable[[Conversation], None]] = [_delete, _expire, _remove_samples, _delete_account]


@pytest.mark.parametrize("delete", WAYS)
def test_a_session_that_is_deleted_leaves_no_orphan(delete: Callable[[Conversation], None]) -> None:
    made = demo()
    ada = conversation()
    exchange(ada, "I live in Bern.", "Noted.")
    episode = Memory.objects.earliest("occurred_at")
    owner = user_owner(user_id=int(ada.actor.user_id or 0), agent_id=made.pk)
    remember(
        SYSTEM, owner, "Ada lives in Bern.", source=MemorySource.EXTRACTION, derived_from=[episode.pk], keys=["a visit"]
    )
    session = session_owner(user_id=int(ada.actor.user_id or 0), agent_id=made.pk, session_id=ada.session_id)
    add_item(session, WorkingKind.TASK, "Ask for the street.")
    remember(SYSTEM, session, "We speak of homes.", source=MemorySource.TOOL)
    delete(ada)
    assert not AgentSession.objects.filter(pk=ada.session_id).exists()
    leftovers: list[Any] = [Memory, MemoryBody, MemoryKey, MemoryDerivation, WorkingItem]
    assert [model.__name__ for model in leftovers if model.objects.exists()] == []
    assert not MemoryOwner.objects.filter(session=ada.session_id).exists()


def test_what_the_user_had_it_remember_outlives_the_session() -> None:
    made = demo()
    ada = conversation()
    owner = user_owner(user_id=int(ada.actor.user_id or 0), agent_id=made.pk)
    exchange(ada, "Remember that I live in Bern.", "Noted.")
    remember(SYSTEM, owner, "I live in Bern.", source=MemorySource.REMEMBER)
    _delete(ada)
    assert list(MemoryBody.objects.values_list("text", flat=True)) == ["I live in Bern."]


def test_nothing_is_remembered_of_a_session_that_is_deleted_just_then() -> None:
    demo()
    ada = conversation()
    ada.ask("I live in Bern.")
    claim = claimed()
    answer(claim)
    with transaction.atomic():
        _delete(ada)
        late = Stalled(lambda: remember_turn(claim.turn_id, release=configuration_of(Agent.objects.get().draft)))
        late.until_it_waits()
    assert late.ended() == []
    assert not Memory.objects.exists()


def test_an_answer_that_may_quote_a_memory_is_forgotten_with_it() -> None:
    made = demo()
    ada = conversation()
    owner = user_owner(user_id=int(ada.actor.user_id or 0), agent_id=made.pk)
    fact = remember(SYSTEM, owner, "My tree is the oak.", source=MemorySource.REMEMBER).id
    ada.ask("Which tree?")
    claim = claimed()
    answer(claim, "The oak.")
    Step.objects.filter(turn=claim.turn_id).update(details={"context": {"memories": [str(fact), str(UUID(int=9))]}})
    again(claim.turn_id)
    assert ("Demo", "The oak.") in remembered()
    forget_memory(ada.actor, fact)
    assert remembered() == [("ada", "Which tree?")]


def test_items_of_a_turn_go_with_it() -> None:
    made = demo()
    ada = conversation()
    session = session_owner(user_id=int(ada.actor.user_id or 0), agent_id=made.pk, session_id=ada.session_id)
    accepted = ada.ask("Hi")
    add_item(session, WorkingKind.NOTE, "For this turn.", turn_id=accepted.turn_id)
    add_item(session, WorkingKind.NOTE, "For the session.")
    answer(claim := claimed())
    again(claim.turn_id)
    assert list(WorkingItem.objects.values_list("text", flat=True)) == ["For the session."]
