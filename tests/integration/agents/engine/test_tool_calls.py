"""What tools do in a turn."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ChatMessage
from agents.domain.states import TurnStatus
from foundation.db_threads import in_db_thread
from tests.support.scripted import Outcome, calls, for_ever, says, scripted
from tests.support.turns import A_WHILE, TWO_CALLS, answer_of, begin, costs, end_of, log, run, steps, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_tools_run_side_by_side_and_the_model_reads_their_results() -> None:
    ada = await begin()
    meet = asyncio.Barrier(2)

    async def clock(_: str) -> Outcome:
        await asyncio.wait_for(meet.wait(), A_WHILE)
        return Outcome("noon")

    async def notes(_: str) -> Outcome:
        await asyncio.wait_for(meet.wait(), A_WHILE)
        return Outcome("full", is_error=True)

    services, model, tools = scripted(TWO_CALLS, says("It is noon."), tools={"clock": clock, "notes": notes})
    await run(services)
    turn_id = (await turn_of(ada)).pk
    assert sorted((one.name, one.arguments, one.key) for one in tools.called) == [
        ("clock", "{}", f"{turn_id}:2"), ("notes", '{"a": 1}', f"{turn_id}:3"),
    ]  # fmt: skip
    assert model.requests[1].messages == (
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", "Wait.", tuple(TWO_CALLS.calls)),
        ChatMessage("tool", "noon", tool_call_id="c1"),
        ChatMessage("tool", "full", tool_call_id="c2"),
    )
    assert await answer_of(ada) == (
        [
            text_part("Wait."),
            tool_call_part(call_id="c1", name="clock", arguments="{}"),
            tool_call_part(call_id="c2", name="notes", arguments='{"a": 1}'),
            tool_result_part(call_id="c1", content="noon", is_error=False),
            tool_result_part(call_id="c2", content="full", is_error=True),
            text_part("It is noon."),
        ],
        False,
    )
    assert await steps() == [
        (1, "model", "done", "offline:"), (2, "tool", "done", "c1"), (3, "tool", "failed", "c2"),
        (4, "model", "done", "offline:"),
    ]  # fmt: skip
    types = await log(ada)
    assert types[:3] == ["message.delta", "tool.started", "tool.started"]
    assert sorted(types[3:5]) == ["tool.failed", "tool.finished"]
    assert types[5:] == ["message.delta", "message.completed", "turn.completed"]
    turn = await turn_of(ada)
    assert (turn.input_tokens, turn.output_tokens) == (6, 10), "the usage of both calls"
    assert turn.cost_usd == Decimal("0.16")
    assert (await end_of(ada))["usage"] == {"input_tokens": 6, "output_tokens": 10, "cost_usd": "0.16000000"}
    assert await costs() == [Decimal("0.08"), 0, 0, Decimal("0.08")]


async def test_rounds_of_tools_go_on_until_the_model_answers() -> None:
    ada = await begin()
    services, model, tools = scripted(
        *[calls(("c1", "clock", "{}"))] * 3, says("Done."), tools={"clock": works("noon")}
    )
    await run(services)
    assert (len(model.requests), len(tools.called)) == (4, 3)
    assert [number for number, *_ in await steps()] == list(range(1, 8))
    assert (await turn_of(ada)).status == "completed"
    await log(ada)


async def test_a_tool_that_breaks_its_promise_fails_the_turn_and_says_nothing_of_itself() -> None:
    ada = await begin()

    async def clock(_: str) -> Outcome:
        raise RuntimeError("password=hunter2")

    services, *_ = scripted(TWO_CALLS, tools={"clock": clock, "notes": lambda _: for_ever()})
    assert (await asyncio.wait_for(run(services), A_WHILE)).status is TurnStatus.FAILED  # type: ignore[union-attr]
    turn = await turn_of(ada)
    assert turn.error_class == "unknown"
    assert "hunter2" not in turn.error_detail + str([event.data for event in await in_db_thread(ada.events)])
    assert [step[2] for step in await steps()] == ["done", "unknown", "unknown"]
