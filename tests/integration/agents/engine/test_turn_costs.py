"""What a turn costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from agents.domain.model_messages import ToolCall
from agents.domain.usage import format_usd
from agents.engine.turn import StopReason, TurnRun
from agents.llm.errors import ModelAuthFailed, ModelUnreachable, TransientModelError
from agents.llm.interface import ReasoningDelta, Usage
from agents.models import Step
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.support.conversations import claimed, lease_is_over
from tests.support.scripted import USAGE, Outcome, Reply, calls, says, scripted
from tests.support.turns import A_WHILE, begin, claim_run, costs, end_of, marked, run, start, stop, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_one_call_of_unknown_usage_makes_the_whole_turn_unknown() -> None:
    ada = await begin(tools=["clock"])
    replies = [replace(calls(("c1", "clock", "{}")), usage=None), says("Noon.")]
    await run(scripted(*replies, tools={"clock": works("noon")})[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.input_tokens, turn.output_tokens, turn.cost_usd) == ("completed", None, None, None)
    assert (await end_of(ada))["usage"] == {"input_tokens": None, "output_tokens": None, "cost_usd": None}
    assert await tokens() == [(None, None), (0, 0), (3, 5)]
    assert await costs() == [None, 0, Decimal("0.08")]


@pytest.mark.parametrize(
    ("items", "used", "cost"),
    [
        (["Hel", Usage(3, 1), TransientModelError()], (3, 1), Decimal("0.04")),
        ([Usage(3, 1), "Hel", Usage(3, 2), TransientModelError()], (3, 2), Decimal("0.05")),
        # What was written after the report is billed, too, and nobody says how much that is.
        ([Usage(3, 1), "Hel", TransientModelError()], (3, None), None),
        ([Usage(3, 1), ReasoningDelta("Hm"), TransientModelError()], (3, None), None),
        (["Hel", TransientModelError()], (None, None), None),
        (["Hel", TransientModelError(status=500)], (None, None), None),
        ([TransientModelError(status=503)], (0, 0), Decimal(0)),
        ([ModelUnreachable()], (0, 0), Decimal(0)),
        ([ModelAuthFailed()], (0, 0), Decimal(0)),
        ([TransientModelError()], (None, None), None),
    ],
)
async def test_a_call_that_fails_costs_what_its_provider_told_until_then(
    items: list[Any], used: tuple[int | None, int | None], cost: Decimal | None
) -> None:
    ada = await begin()
    await run(scripted(says(*items))[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.cost_usd, await costs()) == ("failed", cost, [cost])
    assert [(turn.input_tokens, turn.output_tokens)] == await tokens() == [used]
    assert (await end_of(ada))["usage"]["cost_usd"] == format_usd(cost)


async def tokens() -> list[tuple[int | None, int | None]]:
    """Input and output of every step."""

    def read() -> list[tuple[int | None, int | None]]:
        return list(Step.objects.order_by("number").values_list("input_tokens", "output_tokens"))

    return await in_db_thread(read)


async def test_until_its_end_nobody_knows_what_a_turn_uses() -> None:
    ada = await begin()
    reached = asyncio.Event()
    running = await start(scripted(says("Hel", Usage(3, 1), marked(reached)))[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    turn = await turn_of(ada)
    assert [(turn.input_tokens, turn.output_tokens)] == await tokens() == [(None, None)]
    await stop(ada, running)
    await running.ended()
    assert await tokens() == [(3, 1)]


async def test_a_stopped_call_costs_what_its_provider_told_until_then() -> None:
    ada = await begin()
    reached = asyncio.Event()
    running = await start(scripted(says("Hel", Usage(3, 1), marked(reached)))[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    await running.ended()
    assert ((await turn_of(ada)).cost_usd, await costs()) == (Decimal("0.04"), [Decimal("0.04")])


async def test_a_turn_that_is_stopped_before_its_model_is_asked_costs_nothing() -> None:
    ada = await begin()
    turn_run = await claim_run(scripted(says("Hello"))[0])
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn_run.claim.turn_id)
    turn_run.stop(StopReason.CANCELLED)
    await turn_run.run()
    assert ((await turn_of(ada)).cost_usd, await costs()) == (Decimal(0), [Decimal(0)])
    assert ((await turn_of(ada)).output_tokens, await tokens()) == (0, [(0, 0)])


def give_a_claim_back() -> None:
    claim = claimed()
    assert release_claim(session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False)


@pytest.mark.parametrize("epoch", [1, 2])
async def test_a_call_that_is_stopped_before_it_is_made_costs_nothing_though_the_one_before_it_did(epoch: int) -> None:
    ada = await begin()
    runs: list[TurnRun] = []
    if epoch == 2:
        await in_db_thread(give_a_claim_back)

    async def clock(_: str) -> Outcome:
        await in_db_thread(cancel_turn, ada.actor, turn_id=runs[0].claim.turn_id)
        # It arrives while the result and the intent of the next call are committed.
        asyncio.get_running_loop().call_soon(runs[0].stop, StopReason.CANCELLED)
        return Outcome("noon")

    metered = Reply([USAGE], [ToolCall("c1", "clock", "{}")])
    services, model, _ = scripted(metered, says("Never."), tools={"clock": clock})
    runs.append(await claim_run(services))
    await runs[0].run()
    assert len(model.requests) == 1
    assert await costs() == [Decimal("0.08"), 0, 0]
    turn = await turn_of(ada)
    assert (turn.status, turn.input_tokens, turn.output_tokens) == ("cancelled", 3, 5)
    assert turn.cost_usd == Decimal("0.08")


async def test_a_call_that_a_dead_runner_made_and_nobody_repeats_costs_nobody_knows_what() -> None:
    ada = await begin()
    reached = asyncio.Event()
    running = await start(scripted(says("Half an an", Usage(3, 1), marked(reached)))[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.task.cancel()
    await asyncio.wait([running.task])

    def lose() -> None:
        lease_is_over(ada.turn().pk)
        assert reap() == 1

    await in_db_thread(lose)
    second = await claim_run(scripted()[0])
    await in_db_thread(cancel_turn, ada.actor, turn_id=second.claim.turn_id)
    second.stop(StopReason.CANCELLED)
    await second.run()
    turn = await turn_of(ada)
    assert (turn.status, turn.cost_usd, await costs()) == ("cancelled", None, [None])
    assert (turn.output_tokens, await tokens()) == (None, [(None, None)])
