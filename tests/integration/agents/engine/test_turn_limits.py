"""What a turn may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from agents.domain.message_parts import text_part
from agents.domain.states import TurnStatus
from agents.engine.progress import MAX_CHARACTERS_PER_TOKEN
from agents.engine.turn import StopReason
from agents.journal.fenced_writes import FinishedTurn
from agents.llm.interface import ReasoningDelta
from agents.models import Step
from agents.runner.reaper import release_claim
from foundation.db_threads import in_db_thread
from tests.support.scripted import calls, for_ever, says, scripted
from tests.support.turns import A_WHILE, answer_of, begin, log, run, start, steps, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(A_WHILE):
        while not await in_db_thread(condition):
            """What is waited for is written by the turn."""


async def test_the_steps_of_a_turn_are_limited() -> None:
    ada = await begin(limits={"steps": 2}, tools=["clock"])
    services, model, tools = scripted(calls(("c1", "clock", "{}")), tools={"clock": works("noon")})
    await run(services)
    assert (len(model.requests), len(tools.called)) == (2, 2)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", "limit_reached")
    assert (await answer_of(ada))[1] is True
    await log(ada)


async def test_the_tool_calls_of_a_turn_are_limited_before_they_run() -> None:
    ada = await begin(limits={"tool_calls": 3}, tools=["clock"])
    two = calls(("c1", "clock", "{}"), ("c2", "clock", "{}"))
    services, _, tools = scripted(two, tools={"clock": works("noon")})
    await run(services)
    assert len(tools.called) == 2
    assert (await turn_of(ada)).error_class == "limit_reached"
    await log(ada)


async def test_the_output_of_a_turn_is_limited() -> None:
    ada = await begin(limits={"output_tokens": 8}, tools=["clock"])
    services, model, _ = scripted(calls(("c1", "clock", "{}")), tools={"clock": works("noon")})
    await run(services)
    assert len(model.requests) == 2, "5 tokens each: the third call is not made"
    assert (await turn_of(ada)).error_class == "limit_reached"
    await log(ada)


async def test_output_that_nobody_counts_is_limited_by_an_estimate() -> None:
    ada = await begin(limits={"output_tokens": 8}, tools=["clock"])
    nine_bytes = replace(calls(("c1", "clock", "{}"), text="No"), usage=None)
    services, model, _ = scripted(nine_bytes, tools={"clock": works("noon")})
    await run(services)
    assert len(model.requests) == 3, "an estimate of 3 tokens each: the fourth call is not made"
    turn = await turn_of(ada)
    assert (turn.error_class, turn.output_tokens) == ("limit_reached", None)
    await log(ada)


async def test_an_estimate_of_an_earlier_claim_counts_too() -> None:
    ada = await begin(limits={"output_tokens": 4}, tools=["clock"])
    uncounted = replace(calls(("c1", "clock", "{}"), text="Nonsense"), usage=None)
    services, *_ = scripted(uncounted, tools={"clock": lambda _: for_ever()}, idempotent=frozenset({"clock"}))
    running = await start(services)
    await until(lambda: Step.objects.filter(kind="tool").exists())
    running.run.stop(StopReason.DRAIN)
    await running.ended()
    claim = running.run.claim
    await in_db_thread(
        lambda: release_claim(
            session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False
        )
    )
    services, model, _ = scripted(says("More"), tools={"clock": works("noon")}, idempotent=frozenset({"clock"}))
    await run(services)
    assert (model.requests, (await turn_of(ada)).error_class) == ([], "limit_reached")


async def test_reasoning_that_nobody_counts_is_limited_too() -> None:
    ada = await begin(limits={"output_tokens": 8}, tools=["clock"])
    reply = replace(calls(("c1", "clock", "{}")), items=[ReasoningDelta("x" * 30)], usage=None)
    services, model, _ = scripted(reply, tools={"clock": works("noon")})
    await run(services)
    assert (len(model.requests), (await turn_of(ada)).error_class) == (1, "limit_reached")


async def test_a_model_that_talks_without_end_is_cut_off() -> None:
    ada = await begin(limits={"output_tokens": 2})
    services, model, _ = scripted(says(*["x" * MAX_CHARACTERS_PER_TOKEN] * 3, for_ever))
    await asyncio.wait_for(run(services), A_WHILE)
    assert (await turn_of(ada)).error_class == "limit_reached"
    assert (model.open, model.left) == (0, 1)
    parts, partial = await answer_of(ada)
    assert (parts, partial) == ([text_part("x" * 3 * MAX_CHARACTERS_PER_TOKEN)], True)
    await log(ada)


@pytest.mark.parametrize("remaining", [0.1, 0.0, -5.0])
async def test_a_turn_that_takes_too_long_expires(remaining: float) -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", for_ever))
    ended = await asyncio.wait_for(run(services, remaining_seconds=remaining), A_WHILE)
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.EXPIRED
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("expired", "deadline")
    assert model.open == 0
    await log(ada)


async def test_a_tool_that_takes_too_long_ends_with_its_turn() -> None:
    ada = await begin()
    services, *_ = scripted(calls(("c1", "clock", "{}")), tools={"clock": lambda _: for_ever()})
    await asyncio.wait_for(run(services, remaining_seconds=0.3), A_WHILE)
    assert (await turn_of(ada)).status == "expired"
    assert (await steps())[-1][2] == "unknown"
