"""A turn that had begun on a release that was withdrawn meanwhile, and is finished on the live one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from agents.domain.deployments import DeploymentState
from agents.domain.message_parts import text_part
from agents.domain.states import TurnStatus
from agents.journal.fenced_writes import FinishedTurn
from agents.models import Agent, AgentSession
from agents.runner.reaper import reap
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from tests.support.candidates import add_release, open_deployment, withdraw
from tests.support.conversations import Conversation, conversation, lease_is_over
from tests.support.people import agent
from tests.support.scripted import Outcome, ScriptedModel, calls, for_ever, says, scripted, services_for
from tests.support.turns import A_WHILE, answer_of, log, run, start, steps, turn_of

pytestmark = pytest.mark.usefixtures("transactional_db")

# What was sent on the candidate cannot be built again from the rows, which name the live release.
CHANGES_CONTEXTS = True
CALL = calls(("c1", "clock", "{}"), text="Wait.")


def begin_on_candidate() -> Conversation:
    """A question to a candidate that has a tool which the stable release has not."""
    demo = agent(tools=[])
    candidate = add_release(demo, tools=["clock"])
    open_deployment(demo, candidate, DeploymentState.CANARY)
    ada = conversation()
    AgentSession.objects.update(release=candidate)
    ada.ask("What is the time?")
    return ada


def take_back(ada: Conversation) -> None:
    """The runner is gone, and so is the candidate."""
    lease_is_over(ada.turn().pk)
    assert reap() == 1
    deployment = Agent.objects.get().deployment
    assert deployment
    withdraw(deployment)


async def test_a_turn_that_was_among_the_tools_of_the_candidate_is_finished_on_stable() -> None:
    ada = await in_db_thread(begin_on_candidate)
    reached = asyncio.Event()

    async def clock(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, first, _ = scripted(CALL, tools={"clock": clock}, idempotent=frozenset({"clock"}))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.task.cancel()
    with suppress(asyncio.CancelledError):
        await running.task
    await in_db_thread(take_back, ada)

    # The product's tools have a clock, which this release does not allow.
    model, toolbox = ScriptedModel([says("I cannot tell.")]), Toolbox()
    ended = await run(replace(services_for(model), tools=toolbox))
    await toolbox.aclose()
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.COMPLETED
    stable = await in_db_thread(lambda: Agent.objects.get().live_release_id)
    assert (await turn_of(ada)).release_id == stable
    assert [spec.name for spec in first.requests[0].tools] == ["clock"]
    assert [spec.name for spec in model.requests[0].tools] == []
    assert [step[1:] for step in await steps()] == [
        ("model", "done", "offline:"), ("tool", "failed", "c1"), ("model", "done", "offline:"),
    ]  # fmt: skip
    parts, partial = await answer_of(ada)
    assert (parts[0], parts[-1], partial) == (text_part("Wait."), text_part("I cannot tell."), False)
    await log(ada)
