"""Turns that have lost a runner while a tool ran: their tools run one turn at a time, so that a second loss is known to
be the work of one of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from agents.domain.states import StepKind
from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.engine.turn import StopReason, TurnRun
from agents.journal.fenced_writes import LostTurn
from agents.models import Step
from agents.runner.reaper import reap
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import Conversation, claim, conversation, lease_is_over
from tests.support.scripted import Outcome, calls, for_ever, says, scripted

pytestmark = pytest.mark.usefixtures("transactional_db")

ONE_CALL = calls(("c1", "clock", "{}"))


async def claim_all(services: Services) -> list[TurnRun]:
    contexts = await in_db_thread(lambda: [load_context(each) for each in claim(9)])
    return [TurnRun(context, services) for context in contexts]


async def stall(*who: Conversation) -> None:
    """All of them run a tool when their runner dies."""
    working = 0

    async def hangs(_: str) -> Outcome:
        nonlocal working
        working += 1
        await for_ever()
        return Outcome("")

    services, *_ = scripted(ONE_CALL, tools={"clock": hangs}, idempotent=frozenset({"clock"}))
    runs = await claim_all(services)
    assert len(runs) == len(who)
    tasks = [asyncio.ensure_future(run.run()) for run in runs]
    await until(lambda: working == len(who), seconds=10, what="tools that run")
    for run, task in zip(runs, tasks, strict=True):
        run.stop(StopReason.LOST)
        with suppress(LostTurn):
            await task

    def lose() -> None:
        for run in runs:
            lease_is_over(run.claim.turn_id)
        assert reap() == len(runs)

    await in_db_thread(lose)


async def test_turns_that_stalled_a_runner_run_their_tools_one_at_a_time_and_the_others_wait_for_none() -> None:
    ada, bob = [await in_db_thread(conversation, name) for name in ("ada", "bob")]
    for each in (ada, bob):
        await in_db_thread(each.ask)
    await stall(ada, bob)
    assert [(await in_db_thread(each.turn)).tool_stalls for each in (ada, bob)] == [1, 1]
    cyd = await in_db_thread(conversation, "cyd")
    await in_db_thread(cyd.ask)

    working: list[asyncio.Future[None]] = []

    async def gated(_: str) -> Outcome:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        working.append(gate)
        await gate
        return Outcome("noon")

    services, *_ = scripted(says("It is noon."), tools={"clock": gated}, idempotent=frozenset({"clock"}))
    tasks = [asyncio.ensure_future(run.run()) for run in await claim_all(services)]
    await until(lambda: len(working) == 1 and sum(task.done() for task in tasks) == 1, seconds=10, what="one at work")

    def epochs() -> list[int]:
        return sorted(Step.objects.filter(kind=StepKind.TOOL).values_list("epoch", flat=True))

    assert await in_db_thread(epochs) == [1, 2], "the one that waits has not been tried again"
    assert await in_db_thread(cyd.statuses) == ["completed"]
    working[0].set_result(None)
    await until(lambda: len(working) == 2, seconds=10, what="the other one at work")
    working[1].set_result(None)
    await asyncio.gather(*tasks)
    assert [(await in_db_thread(each.statuses)) for each in (ada, bob)] == [["completed"]] * 2
    assert not services.suspects.locked()


async def test_a_turn_that_is_stopped_lets_the_next_one_run() -> None:
    ada, bob = [await in_db_thread(conversation, name) for name in ("ada", "bob")]
    for each in (ada, bob):
        await in_db_thread(each.ask)
    await stall(ada, bob)
    working = 0

    async def hangs(_: str) -> Outcome:
        nonlocal working
        working += 1
        await for_ever()
        return Outcome("")

    services, *_ = scripted(says("It is noon."), tools={"clock": hangs}, idempotent=frozenset({"clock"}))
    runs = await claim_all(services)
    tasks = [asyncio.ensure_future(run.run()) for run in runs]
    for count in (1, 2):
        await until(lambda count=count: working == count, seconds=10, what="a tool that runs")  # type: ignore[misc]
        runs[count - 1].stop(StopReason.DRAIN)
        await tasks[count - 1]
    assert not services.suspects.locked()
