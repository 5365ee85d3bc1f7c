"""What was sent to a model, built again from the rows: proved equal where nothing has changed, and in words where it
has. (That it is equal in every situation is held by a fixture, for all tests of the engine.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts.actor import Actor
from agents.domain.model_messages import ToolSpec
from agents.engine.ports import Services
from agents.engine.rebuilt_request import NOT_RECORDED, UNEXPLAINED, RebuiltRequest, rebuild_request
from agents.models import AgentSession, HistorySummary, Message, Step
from foundation.db_threads import in_db_thread
from foundation.errors import NotFound
from memory.enums import MemoryScope, TaskState, WorkingKind
from memory.models import Memory, WorkingItem
from memory.ownership import OwnerKey
from memory.recall import Recall, RecallRequest, arecall
from memory.working_memory import add_item, update_item
from memory.writing import forget_memory
from tests.support.conversations import Conversation
from tests.support.memories import EMBEDDER, SAID, store
from tests.support.scripted import Models, ScriptedTools, calls, says, scripted
from tests.support.turns import begin, run, works

pytestmark = pytest.mark.usefixtures("transactional_db")
# What was sent is changed on purpose here.
CHANGES_CONTEXTS = True

RECALLS = {"memory": {"recall": True}, "tools": ["clock", "note"]}
LATER = SAID + timedelta(days=1)
LONG = "Tell me about cats. " * 60


async def search(
    owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: tuple[UUID, int] | None
) -> Recall:
    return await arecall(owners, request, pools_for=pools_for, embedder=EMBEDDER)


def rebuilt(number: int = 1, tools: Any = None) -> RebuiltRequest:
    step = Step.objects.select_related("turn").order_by("-turn_id").filter(number=number)[0]
    return rebuild_request(step, step.turn, tools or ScriptedTools().specs)


def owner(ada: Conversation, scope: MemoryScope) -> OwnerKey:
    session = AgentSession.objects.get(pk=ada.session_id)
    if scope is MemoryScope.SESSION:
        return OwnerKey(scope, user_id=session.user_id, agent_id=session.agent_id, session_id=ada.session_id)
    return OwnerKey(scope, user_id=session.user_id, agent_id=session.agent_id)


def remember(ada: Conversation) -> list[UUID]:
    """Three memories of cats: one replaces another, and one contradicts it."""
    user = owner(ada, MemoryScope.USER)
    old = store(user, "My cat is called Tom.", slot="cat", tier="long_term", valid_until=LATER)
    new = store(user, "My cat is called Grace.", slot="cat", tier="long_term", valid_from=LATER)
    Memory.objects.filter(pk=old).update(superseded_by=new)
    return [old, new, store(user, "The cat eats fish. Cats eat fish.")]


def long_past(ada: Conversation, exchanges: int) -> None:
    """Exchanges before the question, and a summary of the first ones."""
    session, count = AgentSession.objects.get(pk=ada.session_id), 2 * exchanges
    question = Message.objects.get(author="user")
    question.ordinal, session.next_ordinal = count + 1, count + 2
    question.save()
    session.save()
    for ordinal in range(1, count + 1):
        question.parent = Message.objects.create(
            agent_session=session,
            ordinal=ordinal,
            author="user" if ordinal % 2 else "agent",
            parts=[{"type": "text", "text": f"{ordinal}: {LONG}"}],
            parent=question.parent,
        )
    question.save()
    through = Message.objects.get(ordinal=4)
    HistorySummary.objects.create(
        agent_session=session, through=through, through_ordinal=4, text="They spoke of cats.", route="openai:x"
    )


def services(*replies: Any, window: int | None = None) -> Services:
    made, model, _ = scripted(*replies, tools={"clock": works("noon"), "note": works("ok")})
    models = Models(model, windows={} if window is None else {"openai:any": window, "offline:": window})
    return replace(made, memories=search, models=models)


def note(ada: Conversation) -> None:
    session = owner(ada, MemoryScope.SESSION)
    add_item(session, WorkingKind.GOAL, "Help.")
    add_item(session, WorkingKind.TASK, "Feed the cat.")


async def begun(**draft: Any) -> tuple[Conversation, list[UUID]]:
    ada = await begin("What is my cat called, and what does the cat eat?", **{**RECALLS, **draft})
    memories = await in_db_thread(remember, ada)
    await in_db_thread(note, ada)
    return ada, memories


@pytest.mark.parametrize("window", [None, 2_600, 1_800, 1_300, 700])
async def test_whatever_was_left_out_or_shortened_it_is_built_again(window: int | None) -> None:
    policy = {"summaries": True, "answer_tokens": 100}
    ada, _ = await begun(model_chain=["openai:any"], context_policy=policy)
    await in_db_thread(long_past, ada, 6)
    await run(
        services(calls(("a", "clock", "{}")), calls(("a", "clock", "{}"), text="Wait."), says("Grace."), window=window)
    )
    numbers = await in_db_thread(lambda: list(Step.objects.filter(kind="model").values_list("number", flat=True)))
    assert len(numbers) == 3
    for number in numbers:
        again = await in_db_thread(rebuilt, number)
        assert again.is_equal, again.differences
        assert not again.differences
    step = await in_db_thread(lambda: Step.objects.get(number=1))
    assert len(step.details["request"]["memories"]) == 2
    assert (step.details["context"].get("strategy") is not None) is (window is not None)
    assert len(again.memories) == len(step.details["context"].get("memories", ()))


async def test_what_was_erased_or_has_changed_since_is_said() -> None:
    ada, (old, _, fish) = await begun()
    await run(services(says("Grace.")))
    again = await in_db_thread(rebuilt)
    assert (again.is_equal, len(again.memories)) == (True, 2)
    assert "(until 2026-05-05: My cat is called Tom.)" in again.assembled.request.messages[-1].text
    # A finished note is no change.
    items = await in_db_thread(lambda: list(WorkingItem.objects.order_by("position")))
    await in_db_thread(lambda: update_item(owner(ada, MemoryScope.SESSION), items[1].pk, state=TaskState.DONE))
    assert (await in_db_thread(rebuilt)).is_equal

    def reworded(names: Sequence[str]) -> tuple[ToolSpec, ...]:
        return tuple(replace(tool, description="Otherwise.") for tool in ScriptedTools().specs(names))

    again = await in_db_thread(rebuilt, 1, reworded)
    assert again.differences == ["Its tools are described in other words by the packages that are installed here now."]
    again = await in_db_thread(rebuilt, 1, lambda _names: ())
    assert again.differences == ["Tools that it was offered are not installed here any more: clock, note."]
    await in_db_thread(items[0].delete)
    await in_db_thread(forget_memory, Actor.system("tests"), fish)
    await in_db_thread(lambda: Memory.objects.filter(pk=old).delete())
    again = await in_db_thread(rebuilt)
    assert (again.is_equal, len(again.memories)) == (False, 1)
    assert again.differences == [
        "1 note of the task went with the turn, or made room for others.",
        "1 memory that it was sent was erased since.",
        "1 memory read otherwise now: what they replaced, or what contradicted them, was corrected or erased.",
    ]


async def test_a_call_without_a_record_is_built_and_not_proved() -> None:
    await begin()
    await run(services(says("Hello.")))

    def without(**details: Any) -> RebuiltRequest:
        step = Step.objects.get()
        step.details = {**step.details, **details}
        step.save()
        return rebuilt()

    again = await in_db_thread(lambda: without(request={}))
    assert (again.is_equal, again.differences) == (None, [NOT_RECORDED])
    assert again.assembled.request.messages[-1].text == "Hi"
    again = await in_db_thread(lambda: without(request={"hash": "0", "first": 1}))
    assert (again.is_equal, again.differences) == (False, [UNEXPLAINED])
    await in_db_thread(lambda: Step.objects.update(kind="tool"))
    with pytest.raises(NotFound):
        await in_db_thread(rebuilt)
