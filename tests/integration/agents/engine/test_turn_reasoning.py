"""A model's reasoning: shown before its text, kept with it, never taken for the answer, given back to its provider."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agents.domain.backoff import Backoff
from agents.domain.fallback import Policy
from agents.domain.message_parts import (
    MAX_REASONING_BYTES,
    REASONING_CUT,
    plain_text,
    reasoning_part,
    text_part,
    tool_call_part,
    tool_result_part,
)
from agents.domain.states import TurnStatus
from agents.engine.context import load_context
from agents.engine.model_call import MAX_EXTRA_FIELDS_BYTES
from agents.journal.fenced_writes import FinishedTurn
from agents.llm.errors import EmptyAnswer, TransientModelError
from agents.llm.interface import ReasoningDelta, ToolCall
from agents.models import AgentSession, Message, Step
from agents.runner.reaper import reap
from agents.sessions import cancel_turn, fork_session
from agents.sessions.search import search_filter
from foundation.db_threads import in_db_thread
from tests.support.conversations import Conversation, claimed, lease_is_over
from tests.support.scripted import Reply, says, scripted
from tests.support.turns import answer_of, begin, claim_run, log, marked, pause, run, start, stop, works

pytestmark = pytest.mark.usefixtures("transactional_db")

HM = ReasoningDelta("Hm")
CALL = ToolCall("c1", "clock", "{}")
USED = [tool_call_part(call_id="c1", name="clock", arguments="{}"),
        tool_result_part(call_id="c1", content="noon", is_error=False)]  # fmt: skip


async def results() -> list[dict[str, Any]]:
    def read() -> list[dict[str, Any]]:
        rows = Step.objects.filter(kind="model").order_by("number").values_list("result", flat=True)
        return [result or {} for result in rows]

    return await in_db_thread(read)


async def details() -> dict[str, Any]:
    return await in_db_thread(lambda: Step.objects.get(number=1).details)


async def extras(ada: Conversation) -> Any:
    return await in_db_thread(
        lambda: Message.objects.get(agent_session_id=ada.session_id, author="agent").provider_extras
    )


async def test_reasoning_and_text_that_arrive_whole_are_one_commit() -> None:
    ada = await begin()
    await run(scripted(says(HM, ReasoningDelta(", yes."), "Hel", "lo"))[0])
    assert await log(ada) == ["reasoning.delta", "message.delta", "message.completed", "turn.completed"]
    assert await answer_of(ada) == ([reasoning_part("Hm, yes."), text_part("Hello")], False)
    assert await results() == [{"text": "Hello", "tool_calls": [], "reasoning": "Hm, yes."}]
    assert await extras(ada) is None, "only answers with calls have to be sent back with their reasoning"


async def test_reasoning_is_relayed_while_the_model_reasons() -> None:
    ada = await begin()
    await run(scripted(says(HM, pause(0.06), ReasoningDelta(", so"), pause(0.06), "It is noon."))[0])
    events = [(event.type, event.data["text"]) for event in await in_db_thread(ada.events) if "delta" in event.type]
    assert events == [("reasoning.delta", "Hm"), ("reasoning.delta", ", so"), ("message.delta", "It is noon.")]
    await log(ada)


async def test_what_came_with_a_call_is_kept_for_its_route() -> None:
    ada = await begin(model_chain=["openai:small"])
    fields = {"signature": "abc="}
    services = scripted(
        Reply([HM], [CALL], extra_fields=fields),
        says(ReasoningDelta("Aha"), "Noon."),
        tools={"clock": works("noon")},
    )[0]
    await run(services)
    assert await log(ada) == [
        "reasoning.delta", "tool.started", "tool.finished", "reasoning.delta", "message.delta", "message.completed",
        "turn.completed",
    ]  # fmt: skip
    assert await answer_of(ada) == ([reasoning_part("Hm"), *USED, reasoning_part("Aha"), text_part("Noon.")], False)
    first, second = await results()
    assert (first["reasoning"], first["extra_fields"], "extra_fields" in second) == ("Hm", fields, False)
    kept = {"c1": {"route": "openai:small", "reasoning": "Hm", "fields": fields}}
    assert await extras(ada) == kept
    await in_db_thread(ada.ask, "And now?")
    context = await in_db_thread(lambda: load_context(claimed()))
    assert [item.extras for item in context.history] == [None, kept, None]


async def test_what_goes_back_to_a_provider_goes_nowhere_else_but_into_a_fork() -> None:
    ada = await begin()
    services = scripted(Reply([HM], [CALL], extra_fields={"s": 1}), says("Noon."), tools={"clock": works("noon")})[0]
    await run(services)

    def look() -> None:
        copy = fork_session(ada.actor, session_id=ada.session_id, after_turn=None)
        copied = Message.objects.get(agent_session=copy, author="agent")
        assert copied.provider_extras == ada.messages()[-1].provider_extras
        assert copied.provider_extras
        assert "provider_extras" not in str(ada.snapshot())
        assert not any("provider_extras" in str(event.data) for event in ada.events())

    await in_db_thread(look)


@pytest.mark.parametrize(
    "fields", [{"s": "x" * MAX_EXTRA_FIELDS_BYTES}, {"s": "nul \x00"}, {"s": "\ud800"}, {"s": {1, 2}}]
)
async def test_extra_fields_that_no_row_can_hold_are_dropped_with_a_note(fields: Any) -> None:
    ada = await begin()
    services = scripted(Reply([], [CALL], extra_fields=fields), says("Noon."), tools={"clock": works("noon")})[0]
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert [sorted(one) for one in await results()] == [["text", "tool_calls"]] * 2
    assert (await details())["extra_fields_dropped"] is True
    assert await extras(ada) is None


async def test_what_was_odd_about_an_answer_is_noted_at_its_step() -> None:
    await begin()
    await run(scripted(Reply(["Hello"], notes={"unconfirmed_end": True}))[0])
    assert (await details())["unconfirmed_end"] is True


async def test_reasoning_is_cut_at_its_bound_for_the_whole_message() -> None:
    ada = await begin()
    half = "ü" * (MAX_REASONING_BYTES // 4)
    services = scripted(
        Reply([ReasoningDelta(half)], [CALL]),
        says(ReasoningDelta(half + "x"), ReasoningDelta("more"), "Noon."),
        tools={"clock": works("noon")},
    )[0]
    await run(services)
    parts, _ = await answer_of(ada)
    assert parts == [reasoning_part(half), *USED, reasoning_part(half + REASONING_CUT), text_part("Noon.")]
    shown = [event.data["text"] for event in await in_db_thread(ada.events) if event.type == "reasoning.delta"]
    assert "".join(shown) == half + half + REASONING_CUT


# --- what is taken back, and what stays ---


async def test_reasoning_of_an_attempt_that_fails_goes_with_its_text() -> None:
    ada = await begin(model_chain=["openai:a", "openai:b"])
    services = scripted(says(HM, pause(0.06), TransientModelError()), says(ReasoningDelta("So"), "Hello"))[0]
    await run(replace(services, policy=Policy(backoff=Backoff(base_seconds=0))))
    assert await log(ada) == [
        "reasoning.delta", "model.retrying", "reasoning.delta", "message.delta", "message.completed", "turn.completed",
    ]  # fmt: skip
    assert await answer_of(ada) == ([reasoning_part("So"), text_part("Hello")], False)


async def test_a_turn_that_fails_keeps_the_reasoning_it_has_shown() -> None:
    ada = await begin()
    await run(scripted(says(HM, EmptyAnswer()))[0])
    assert await log(ada) == ["reasoning.delta", "message.completed", "turn.failed"]
    parts, partial = await answer_of(ada)
    assert (parts, partial, plain_text(parts)) == ([reasoning_part("Hm")], True, "")


async def test_a_turn_that_is_stopped_keeps_it_with_its_words() -> None:
    ada, reached = await begin(), asyncio.Event()
    running = await start(scripted(says(HM, pause(0.06), "Hel", marked(reached)))[0])
    await reached.wait()
    await stop(ada, running)
    await running.ended()
    assert await answer_of(ada) == ([reasoning_part("Hm"), text_part("Hel")], True)


async def test_a_turn_that_ends_without_its_runner_keeps_both_its_reasoning_and_what_goes_back() -> None:
    ada, reached = await begin(), asyncio.Event()
    services = scripted(
        Reply([HM], [CALL]), says(ReasoningDelta("Aha"), marked(reached)), tools={"clock": works("noon")}
    )[0]
    running = await start(services)
    await reached.wait()
    await asyncio.sleep(0.1)
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    turn = running.run.claim.turn_id
    await in_db_thread(lambda: cancel_turn(ada.actor, turn_id=turn))
    await in_db_thread(lease_is_over, turn)
    await in_db_thread(reap)
    assert await answer_of(ada) == ([reasoning_part("Hm"), *USED, reasoning_part("Aha")], True)
    assert list(await extras(ada)) == ["c1"]


async def test_a_turn_begun_anew_shows_the_reasoning_of_its_last_claim_only() -> None:
    ada, reached = await begin(), asyncio.Event()
    running = await start(scripted(says(HM, pause(0.06), marked(reached)))[0])
    await reached.wait()
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    await in_db_thread(lease_is_over, running.run.claim.turn_id)
    await in_db_thread(reap)
    await (await claim_run(scripted(says(ReasoningDelta("Anew"), "Hello"))[0])).run()
    assert await answer_of(ada) == ([reasoning_part("Anew"), text_part("Hello")], False)
    await log(ada)


async def test_the_model_reads_no_reasoning_as_an_answer() -> None:
    ada = await begin()
    await run(scripted(says(HM, "Hello"))[0])
    await in_db_thread(ada.ask, "And now?")
    services, model, _ = scripted(says("Again"))
    await run(services)
    assert [message.text for message in model.requests[0].messages] == ["Hi", "Hello", "And now?"]


async def test_no_search_finds_reasoning() -> None:
    ada = await begin()
    await run(scripted(says(ReasoningDelta("They want bananas"), "Apples"))[0])

    def finds(word: str) -> bool:
        return search_filter(AgentSession.objects.filter(pk=ada.session_id), word).exists()

    assert [await in_db_thread(finds, word) for word in ("apples", "bananas")] == [True, False]
