"""What a turn is reminded of: before the model is asked, by one event, and never to the turn's harm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.domain.states import TurnStatus
from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.journal.fenced_writes import FinishedTurn
from agents.models import AgentSession, Step
from foundation.db_threads import in_db_thread
from foundation.errors import Unavailable
from memory.enums import MemoryScope
from memory.models import MemoryPool
from memory.ownership import OwnerKey
from memory.recall import Recall, RecallRequest, arecall, find_owner_rows, owner_keys, recall_from
from tests.support.conversations import Conversation, claimed
from tests.support.memories import EMBEDDER, SAID, store
from tests.support.scripted import ScriptedModel, calls, says, scripted
from tests.support.turns import begin, log, run, works

pytestmark = pytest.mark.usefixtures("transactional_db")

ON = {"memory": {"recall": True}}


async def search(
    owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: tuple[UUID, int] | None
) -> Recall:
    return await arecall(owners, request, pools_for=pools_for, embedder=EMBEDDER)


async def refuse(
    owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: tuple[UUID, int] | None
) -> Recall:
    raise AssertionError("Nobody is to search.")


def reminded(*replies: Any, **tools: Any) -> tuple[Services, ScriptedModel]:
    services, model, _ = scripted(*replies, **tools)
    return replace(services, memories=search), model


async def owner_of(ada: Conversation, scope: MemoryScope = MemoryScope.USER) -> OwnerKey:
    session = await in_db_thread(AgentSession.objects.get, pk=ada.session_id)
    return OwnerKey(scope, user_id=session.user_id, agent_id=session.agent_id)


def last_question(model: ScriptedModel, call: int = -1) -> str:
    return next(message.text for message in reversed(model.requests[call].messages) if message.role == "user")


async def recalled(ada: Conversation) -> list[Any]:
    events = await in_db_thread(ada.events)
    return [event.data for event in events if event.type == "memory.recalled"]


async def test_the_model_reads_what_is_remembered_and_the_log_says_what() -> None:
    ada = await begin("What is the name of my cat?", **ON)
    memory = await in_db_thread(
        store, await owner_of(ada), "The name of my cat is Grace.", actor="Ada", tier="episodic", occurred_at=SAID
    )
    services, model = reminded(says("Grace."))
    assert isinstance(await run(services), FinishedTurn)
    assert "<memory>2026-05-04, Ada: The name of my cat is Grace.</memory>" in last_question(model)
    assert last_question(model).endswith("What is the name of my cat?")
    assert await log(ada) == ["memory.recalled", "message.delta", "message.completed", "turn.completed"]
    assert await recalled(ada) == [{"memories": [str(memory)], "low_confidence": False}]
    details = await in_db_thread(lambda: Step.objects.get(number=1).details)
    assert details["context"]["memories"] == [str(memory)]


async def test_a_turn_with_tools_is_reminded_once_and_reads_the_same_in_each_call() -> None:
    ada = await begin("Which tea do I like?", **ON, tools=["clock"])
    await in_db_thread(store, await owner_of(ada), "I like green tea.")
    services, model = reminded(calls(("c1", "clock", "{}")), says("Green."), tools={"clock": works("noon")})
    await run(services)
    assert last_question(model, 0) == last_question(model, 1)
    assert "green tea" in last_question(model)
    assert len(await recalled(ada)) == 1
    assert (await log(ada))[0] == "memory.recalled"


async def test_pools_and_scopes_are_those_of_the_release() -> None:
    ada = await begin("Where is the spare key?", memory={"recall": True, "scopes": ["shared"]})
    owner = await owner_of(ada)
    pool = await in_db_thread(MemoryPool.objects.create, name="house", agents=[owner.agent_id], personal=False)
    await in_db_thread(store, OwnerKey(MemoryScope.SHARED, pool_id=pool.pk), "The spare key is in the shed.")
    await in_db_thread(store, owner, "The spare key is with Bob.")
    services, model = reminded(says("There."))
    await run(services)
    assert "shed" in last_question(model)
    assert "Bob" not in last_question(model)


@pytest.mark.parametrize("draft", [{}, {"memory": {"recall": False, "remember_turns": True}}])
async def test_an_agent_that_does_not_recall_searches_for_nothing(draft: dict[str, Any]) -> None:
    ada = await begin("What is the name of my cat?", **draft)
    services, model, _ = scripted(says("No idea."))
    await run(replace(services, memories=refuse))
    assert last_question(model) == "What is the name of my cat?"
    assert await log(ada) == ["message.delta", "message.completed", "turn.completed"]


async def test_nothing_to_recall_is_not_told() -> None:
    ada = await begin("What is the name of my cat?", **ON)
    services, model = reminded(says("No idea."))
    await run(services)
    assert last_question(model) == "What is the name of my cat?"
    assert await recalled(ada) == []


async def fail(owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: Any) -> Recall:
    raise Unavailable


async def crash(owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: Any) -> Recall:
    raise RuntimeError


async def hang(owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: Any) -> Recall:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("memories", [fail, crash, hang])
async def test_a_search_that_fails_costs_the_turn_its_memories_only(
    monkeypatch: pytest.MonkeyPatch, memories: Any
) -> None:
    monkeypatch.setattr("agents.engine.turn_recall.RECALL_SECONDS", 0.05)
    ada = await begin("What is the name of my cat?", **ON)
    services, *_ = scripted(says("No idea."))
    result = await run(replace(services, memories=memories))
    assert isinstance(result, FinishedTurn)
    assert result.status is TurnStatus.COMPLETED
    assert await recalled(ada) == []


async def test_a_search_is_three_statements_and_its_event_none() -> None:
    ada = await begin("What is the name of my cat?", **ON)
    await in_db_thread(store, await owner_of(ada), "The name of my cat is Grace.")

    def count() -> int:
        context = load_context(claimed())
        assert context.agent_id is not None
        claim, scopes = context.claim, context.release.memory.scopes
        keys = owner_keys(claim.user_id, context.agent_id, claim.session_id, scopes)
        with CaptureQueriesContext(connection) as queries:
            rows = find_owner_rows(keys, model=EMBEDDER.model, pools_for=(context.agent_id, claim.user_id))
            assert recall_from(rows, RecallRequest(query="my cat"), embedder=EMBEDDER).memories
        return len(queries)

    assert await in_db_thread(count) == 3


# --- spans ---


async def test_a_sampled_turn_records_its_search_and_its_context() -> None:
    await begin("What is the name of my cat?", **ON)
    services, _ = reminded(says("Grace."))
    services.spans.is_sampled = lambda *_: True
    assert isinstance(await run(services), FinishedTurn)
    spans = services.spans.take(9)
    assert [span.name for span in spans] == ["search_memory", "bandstand.context"]
    assert spans[0].attributes == {
        "gen_ai.operation.name": "search_memory",
        "bandstand.memories": 0,
        "bandstand.low_confidence": True,
        "bandstand.by_text_only": True,
    }
    assert spans[1].attributes == {"bandstand.phase": "assemble", "bandstand.messages": 1}


async def test_a_search_that_fails_is_a_span_with_its_error() -> None:
    await begin("What is the name of my cat?", **ON)

    async def fail(_owners: Any, _request: Any, /, *, pools_for: Any) -> Recall:
        raise Unavailable

    services = replace(scripted(says("Grace."))[0], memories=fail)
    services.spans.is_sampled = lambda *_: True
    await run(services)
    assert [span.error_type for span in services.spans.take(9)] == ["Unavailable", ""]


async def test_a_turn_that_is_not_sampled_records_nothing() -> None:
    await begin("What is the name of my cat?", **ON)
    services, _ = reminded(says("Grace."))
    await run(services)
    assert len(services.spans) == 0
