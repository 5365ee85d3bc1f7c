"""A turn that one runner begins and another one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from agents.domain.message_parts import text_part
from agents.domain.model_messages import ChatMessage
from agents.domain.prompt import INTERRUPTED
from agents.domain.states import TERMINAL, TurnStatus
from agents.domain.steps import UNKNOWN_OUTCOME
from agents.engine.turn import StopReason, UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn, LostTurn
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.support.conversations import Conversation, lease_is_over
from tests.support.scripted import Outcome, calls, for_ever, says, scripted
from tests.support.turns import (
    A_WHILE,
    TWO_CALLS,
    Running,
    answer_of,
    begin,
    claim_run,
    log,
    marked,
    pause,
    run,
    start,
    steps,
    turn_of,
    works,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


async def given_back(running: Running) -> None:
    """As a runner gives its turns back when it is drained."""
    claim = running.run.claim
    await in_db_thread(
        release_claim, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False
    )


@pytest.mark.parametrize("ticks", range(0, 40, 4))
async def test_a_turn_given_back_at_any_moment_is_finished_by_the_next_runner(ticks: int) -> None:
    ada = await begin()
    script = [
        calls(("c1", "clock", "{}"), ("c2", "notes", "{}"), text="Wait."),
        says("So it", pause(0.001), " is noon."),
    ]
    tools = {"clock": works("noon"), "notes": works("noted")}
    services, _, first = scripted(*script, tools=tools, idempotent=frozenset({"clock"}))
    running = await start(services)
    for _ in range(ticks):
        await asyncio.sleep(0.001)
    running.run.stop(StopReason.DRAIN)
    if await running.ended() is not UnfinishedTurn.DRAINED:
        assert (await turn_of(ada)).status == "completed"
        return
    await given_back(running)
    assert (await turn_of(ada)).status == "queued"
    settled = len([step for step in await steps() if step[1:3] == ("model", "done")])
    services, _, second = scripted(*script[settled:], tools=tools, idempotent=frozenset({"clock"}))
    ended = await run(services)
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.COMPLETED
    notes = [one.key for one in [*first.called, *second.called] if one.name == "notes"]
    assert len(notes) <= 1, "a tool is never silently run twice"
    clocks = {one.key for one in [*first.called, *second.called] if one.name == "clock"}
    assert len(clocks) == 1, "an idempotent one keeps its key"
    parts, partial = await answer_of(ada)
    assert parts[-1] == text_part("So it is noon.")
    assert [part["type"] for part in parts] == ["text", "tool_call", "tool_call", "tool_result", "tool_result", "text"]
    assert not partial
    assert not [step for step in await steps() if step[2] == "intent"]
    await log(ada)


async def die(ada: Conversation, running: Running) -> None:
    """The runner is gone, and the reaper has seen it."""
    running.task.cancel()
    with suppress(asyncio.CancelledError):
        await running.task

    def reaped() -> int:
        lease_is_over(ada.turn().pk)
        return reap()

    assert await in_db_thread(reaped) == 1


async def crash_among_tools(**options: Any) -> tuple[Conversation, list[str]]:
    """A turn whose runner died while both tools ran; the names that had been called."""
    ada = await begin()
    both = asyncio.Event()
    begun: list[str] = []

    def hangs(name: str) -> Callable[[str], Awaitable[Outcome]]:
        async def tool(_: str) -> Outcome:
            begun.append(name)
            if len(begun) == 2:
                both.set()
            await for_ever()
            return Outcome("never")

        return tool

    services, *_ = scripted(TWO_CALLS, tools={"clock": hangs("clock"), "notes": hangs("notes")}, **options)
    running = await start(services)
    await asyncio.wait_for(both.wait(), A_WHILE)
    await die(ada, running)
    return ada, begun


async def test_after_a_crash_an_idempotent_tool_runs_again_and_another_s_outcome_is_unknown() -> None:
    idempotent = frozenset({"clock"})
    ada, _ = await crash_among_tools(idempotent=idempotent)
    services, model, tools = scripted(says("Noon."), tools={"clock": works("noon")}, idempotent=idempotent)
    await run(services)
    turn = await turn_of(ada)
    assert [(one.name, one.key) for one in tools.called] == [("clock", f"{turn.pk}:2")]
    assert model.requests[0].messages[1:] == (
        ChatMessage("assistant", "Wait.", tuple(TWO_CALLS.calls)),
        ChatMessage("tool", "noon", tool_call_id="c1"),
        ChatMessage("tool", UNKNOWN_OUTCOME, tool_call_id="c2"),
    )
    assert [step[1:3] for step in await steps()] == [
        ("model", "done"), ("tool", "done"), ("tool", "unknown"), ("model", "done"),
    ]  # fmt: skip
    failed = [event.data for event in await in_db_thread(ada.events) if event.type == "tool.failed"]
    assert [(one["call_id"], one["outcome"], one["content"]) for one in failed] == [("c2", "unknown", UNKNOWN_OUTCOME)]
    assert (turn.status, turn.attempts_without_progress) == ("completed", 0)
    await log(ada)


async def test_after_a_crash_in_a_model_call_the_model_is_asked_again() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, first, _ = scripted(says("Half an an", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await die(ada, running)
    services, second, _ = scripted(says("A whole answer."))
    await run(services)
    assert second.requests == first.requests
    assert await answer_of(ada) == ([text_part("A whole answer.")], False)
    assert await steps() == [(1, "model", "done", "offline:")]
    types = await log(ada)
    assert types[types.index("turn.queued") + 1] == "turn.restarted"


async def test_a_crash_after_the_last_tool_goes_on_with_the_model() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, *_ = scripted(calls(("c1", "clock", "{}")), says(marked(reached)), tools={"clock": works("noon")})
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await die(ada, running)
    services, model, tools = scripted(says("Noon."), tools={})
    await run(services)
    assert tools.called == []
    assert model.requests[0].messages[-1] == ChatMessage("tool", "noon", tool_call_id="c1")
    turn = await turn_of(ada)
    assert (turn.input_tokens, turn.output_tokens) == (6, 10), "the first runner's call is paid for too"
    assert INTERRUPTED not in str(model.requests)


async def test_what_earlier_runners_used_counts_against_the_limits() -> None:
    ada = await begin(limits={"output_tokens": 5}, tools=["clock"])
    reached = asyncio.Event()

    async def clock(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, *_ = scripted(calls(("c1", "clock", "{}")), tools={"clock": clock}, idempotent=frozenset({"clock"}))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(StopReason.DRAIN)
    await running.ended()
    await given_back(running)
    services, model, _ = scripted(says("More"), tools={"clock": works("noon")}, idempotent=frozenset({"clock"}))
    await run(services)
    assert model.requests == []
    turn = await turn_of(ada)
    assert (turn.error_class, turn.output_tokens) == ("limit_reached", 5)


async def test_a_turn_that_cannot_end_any_more_is_lost() -> None:
    ada = await begin()
    services, *_ = scripted(says("Hello"))
    one = await claim_run(services)

    def end() -> None:
        lease_is_over(ada.turn().pk)
        reap()
        cancel_turn(ada.actor, turn_id=ada.turn().pk)

    await in_db_thread(end)
    with pytest.raises(LostTurn):
        await one.run()
    assert (await turn_of(ada)).status in TERMINAL
    assert await log(ada) == ["turn.queued", "turn.cancelled"]
