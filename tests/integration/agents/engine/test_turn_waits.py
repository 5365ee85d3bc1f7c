"""Work that must wait: it gives its place up, and goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.domain.failures import ErrorClass
from agents.domain.fallback import Policy
from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.serialization import moment
from agents.domain.states import TurnStatus, WaitReason
from agents.domain.steps import UNKNOWN_OUTCOME
from agents.domain.waits import Park
from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.engine.turn import StopReason, UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn
from agents.journal.listen_connection import open_listen_connection
from agents.llm.interface import LLM
from agents.models import Release, Step, Turn
from agents.runner.reaper import release_claim
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import FAR_AHEAD, Conversation, claimed, wake
from tests.support.runners import become, serving
from tests.support.scripted import Models, Outcome, Reply, calls, says, scripted
from tests.support.turns import (
    A_WHILE,
    answer_of,
    begin,
    costs,
    end_of,
    log,
    run,
    start,
    steps,
    stop,
    turn_of,
    works,
)

pytestmark = pytest.mark.usefixtures("transactional_db")

BLOCKED = "SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
APPROVAL = WaitReason.APPROVAL
PAY = calls(("c1", "pay", "{}"), text="Wait. ")


class Door:
    """A tool that waits until it is opened."""

    def __init__(self, reason: WaitReason | None = APPROVAL, until: datetime = FAR_AHEAD) -> None:
        self.reason = reason
        self.until = until
        self.open = False

    async def __call__(self, _: str) -> Outcome:
        if not self.open:
            raise Park(self.until, self.reason)
        return Outcome("paid")


def paying(door: Callable[[str], Awaitable[Outcome]], *more: Reply, **tools: Any) -> tuple[Services, Any]:
    services, _, box = scripted(PAY, *(more or [says("Done.")]), tools={"pay": door, **tools})
    return services, box


async def woken(ada: Conversation) -> None:
    turn = await turn_of(ada)
    assert await in_db_thread(wake, turn)


async def shown(ada: Conversation) -> list[Any]:
    [turn] = (await in_db_thread(ada.snapshot))["turns"].values()
    return list(turn["shown"])


async def test_a_tool_that_must_wait_parks_its_turn_and_runs_when_it_goes_on() -> None:
    ada = await begin()
    door = Door()
    services, box = paying(door)
    assert await run(services) is UnfinishedTurn.PARKED
    turn = await turn_of(ada)
    assert (turn.status, turn.wait_reason, turn.available_at) == ("waiting", "approval", FAR_AHEAD)
    assert [step[1:] for step in await steps()] == [("model", "done", "offline:"), ("tool", "intent", "c1")]
    called = tool_call_part(call_id="c1", name="pay", arguments="{}")
    assert await shown(ada) == [text_part("Wait. "), called]
    door.open = True
    await woken(ada)
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert await answer_of(ada) == (
        [
            text_part("Wait. "),
            called,
            tool_result_part(call_id="c1", content="paid", is_error=False),
            text_part("Done."),
        ],
        False,
    )
    # The same call, with the same key, and the model was not asked again.
    assert [call.key for call in box.called] == [f"{turn.pk}:2"] * 2
    assert await log(ada) == [
        "message.delta", "tool.started", "turn.waiting", "turn.queued", "turn.started", "tool.finished",
        "message.delta", "message.completed", "turn.completed",
    ]  # fmt: skip


async def test_the_other_calls_of_a_batch_go_on_and_run_once() -> None:
    ada = await begin()
    door = Door()
    both = calls(("c1", "pay", "{}"), ("c2", "clock", "{}"))
    services, _, box = scripted(both, says("Done."), tools={"pay": door, "clock": works("noon")})
    assert await run(services) is UnfinishedTurn.PARKED
    assert [step[1:] for step in await steps()] == [
        ("model", "done", "offline:"), ("tool", "intent", "c1"), ("tool", "done", "c2"),
    ]  # fmt: skip
    door.open = True
    await woken(ada)
    assert isinstance(await run(services), FinishedTurn)
    assert [call.name for call in box.called] == ["pay", "clock", "pay"]
    assert (await turn_of(ada)).status == "completed"


async def test_several_that_wait_are_one_wait_until_the_first_is_over() -> None:
    ada = await begin()
    soon = FAR_AHEAD - timedelta(days=1)
    services, *_ = scripted(
        calls(("c1", "pay", "{}"), ("c2", "ask", "{}")),
        tools={"pay": Door(WaitReason.BUDGET, soon), "ask": Door(APPROVAL)},
    )
    assert await run(services) is UnfinishedTurn.PARKED
    turn = await turn_of(ada)
    assert (turn.wait_reason, turn.available_at) == ("approval", soon)
    assert await end_of(ada) == {"for": "approval", "until": moment(FAR_AHEAD)}


async def test_a_turn_that_goes_on_may_wait_again() -> None:
    ada = await begin()
    door = Door()
    services, box = paying(door)
    for _ in range(3):
        assert await run(services) is UnfinishedTurn.PARKED
        await woken(ada)
    door.open = True
    assert isinstance(await run(services), FinishedTurn)
    assert [call.key for call in box.called] == [f"{(await turn_of(ada)).pk}:2"] * 4


async def test_a_call_that_went_on_and_was_cut_off_may_have_run() -> None:
    ada = await begin()
    reached = asyncio.Event()

    async def pay(_: str) -> Outcome:
        if not ready:
            raise Park(FAR_AHEAD, APPROVAL)
        reached.set()
        await asyncio.Event().wait()
        return Outcome("never")

    ready: list[bool] = []
    services, box = paying(pay)
    assert await run(services) is UnfinishedTurn.PARKED
    await woken(ada)
    ready.append(True)
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(StopReason.DRAIN)
    assert await running.ended() is UnfinishedTurn.DRAINED
    claim = running.run.claim
    await in_db_thread(
        lambda: release_claim(
            session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, without_progress=False
        )
    )
    assert isinstance(await run(services), FinishedTurn)
    assert len(box.called) == 2, "never twice"
    result = tool_result_part(call_id="c1", content=UNKNOWN_OUTCOME, is_error=True, outcome="unknown")
    assert result in (await answer_of(ada))[0]


# --- calls of a model ---


async def test_a_model_call_that_fails_and_must_wait_drops_its_words_and_is_made_again() -> None:
    ada = await begin()

    async def until_they_are_shown() -> None:
        while "message.delta" not in [event.type for event in await in_db_thread(ada.events)]:
            """The first words go out at once."""

    broken = says("Hel", until_they_are_shown, "lo", Park(FAR_AHEAD, error_class=ErrorClass.RATE_LIMIT))
    services, model, _ = scripted(broken, says("Hello, world"))
    services = replace(services, policy=Policy())
    assert await run(services) is UnfinishedTurn.PARKED
    turn = await turn_of(ada)
    assert (turn.status, turn.wait_reason) == ("retry_wait", "")
    assert await shown(ada) == []
    events = await in_db_thread(ada.events)
    assert [event.data for event in events if event.type == "model.retrying"] == [
        {"step": 1, "route": None, "reason": "rate_limit"}
    ]
    assert model.open == 0
    await woken(ada)
    assert isinstance(await run(services), FinishedTurn)
    assert await answer_of(ada) == ([text_part("Hello, world")], False)
    assert await steps() == [(1, "model", "failed", "offline:"), (2, "model", "done", "offline:")]
    # Nobody knows what the first has cost; what is known is told of it.
    assert await costs() == [None, Decimal("0.08")]
    assert (await in_db_thread(Step.objects.get, number=1)).error_class == "rate_limit"
    assert (await log(ada))[:6] == [
        "message.delta", "model.retrying", "turn.retry_wait", "turn.queued", "turn.started", "message.delta",
    ]  # fmt: skip


async def test_words_that_nobody_has_seen_are_dropped_in_silence() -> None:
    ada = await begin()
    services, *_ = scripted(says("Hel", Park(FAR_AHEAD)), says("Hello"))
    services = replace(services, policy=Policy())
    assert await run(services) is UnfinishedTurn.PARKED
    assert await log(ada) == ["turn.retry_wait"]
    await woken(ada)
    assert isinstance(await run(services), FinishedTurn)
    assert await answer_of(ada) == ([text_part("Hello")], False)


async def test_a_call_that_waits_before_it_asks_costs_nothing() -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hello"))

    class NoMoney(Models):
        def resolve(self, route: str) -> tuple[LLM, str]:
            raise Park(FAR_AHEAD, WaitReason.BUDGET)

    assert await run(replace(services, models=NoMoney(model))) is UnfinishedTurn.PARKED
    assert await steps() == [(1, "model", "intent", "")]
    turn = await turn_of(ada)
    assert turn.wait_reason == "budget"
    await in_db_thread(lambda: cancel_turn(ada.actor, turn_id=turn.pk))
    assert await costs() == [Decimal(0)]
    assert model.requests == []


# --- stops ---


async def test_a_stop_that_comes_before_the_wait_ends_the_turn() -> None:
    ada = await begin()

    async def pay(_: str) -> Outcome:
        # Written, but not yet heard by the runner.
        turn = await turn_of(ada)
        await in_db_thread(lambda: cancel_turn(ada.actor, turn_id=turn.pk))
        raise Park(FAR_AHEAD, APPROVAL)

    services, _ = paying(pay)
    ended = await run(services)
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.CANCELLED
    assert await answer_of(ada) == (
        [text_part("Wait. "), tool_call_part(call_id="c1", name="pay", arguments="{}")],
        True,
    )
    assert (await log(ada))[-1] == "turn.cancelled"
    assert (await steps())[1] == (2, "tool", "failed", "c1"), "a call that must wait has had no effect"


async def test_a_call_that_must_wait_again_and_is_stopped_has_not_run() -> None:
    ada = await begin()
    stops: list[bool] = []

    async def pay(_: str) -> Outcome:
        if stops:
            turn = await turn_of(ada)
            await in_db_thread(lambda: cancel_turn(ada.actor, turn_id=turn.pk))
        raise Park(FAR_AHEAD, APPROVAL)

    services, _ = paying(pay)
    assert await run(services) is UnfinishedTurn.PARKED
    await woken(ada)
    stops.append(True)
    assert await run(services) == FinishedTurn(TurnStatus.CANCELLED, 0)
    assert (await steps())[1] == (2, "tool", "failed", "c1")


async def test_a_call_that_is_stopped_while_it_runs_after_a_wait_may_have_run() -> None:
    ada = await begin()
    reached = asyncio.Event()

    async def pay(_: str) -> Outcome:
        if not ready:
            raise Park(FAR_AHEAD, APPROVAL)
        reached.set()
        await asyncio.Event().wait()
        return Outcome("never")

    ready: list[bool] = []
    services, _ = paying(pay)
    assert await run(services) is UnfinishedTurn.PARKED
    await woken(ada)
    ready.append(True)
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    assert await running.ended() == FinishedTurn(TurnStatus.CANCELLED, 0)
    assert (await steps())[1] == (2, "tool", "unknown", "c1")


async def test_a_runner_that_is_stopped_before_its_turn_goes_on_has_tried_nothing() -> None:
    ada = await begin()
    door = Door()
    services, box = paying(door)
    assert await run(services) is UnfinishedTurn.PARKED
    await woken(ada)
    async with serving(services, concurrency=0) as runner:
        runner._start_turn(await in_db_thread(lambda: load_context(claimed())))
        runner._stop_all(StopReason.DRAIN)
        await become(ada, "queued")
    door.open = True
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert len(box.called) == 2, "the call that waited, once more"
    assert (await steps())[1] == (2, "tool", "done", "c1")


async def test_a_turn_that_no_runner_can_load_ends_with_calls_that_have_not_run() -> None:
    ada = await begin()
    services, _ = paying(Door())
    assert await run(services) is UnfinishedTurn.PARKED
    await woken(ada)

    def break_release() -> None:
        unreadable = Release.objects.create(agent=ada.row.agent, number=2, configuration={"schema": 1, "x": 5})
        Turn.objects.update(release_id=unreadable.pk)

    await in_db_thread(break_release)
    async with serving(services):
        await become(ada, "failed")
    assert (await steps())[1] == (2, "tool", "failed", "c1")


async def test_a_stop_that_comes_before_a_model_waits_settles_its_call() -> None:
    ada = await begin()

    async def cancel() -> None:
        turn = await turn_of(ada)
        await in_db_thread(lambda: cancel_turn(ada.actor, turn_id=turn.pk))

    services, *_ = scripted(says("Hel", cancel, Park(FAR_AHEAD)))
    ended = await run(services)
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.CANCELLED
    assert await steps() == [(1, "model", "failed", "offline:")]
    await log(ada)


@pytest.mark.parametrize("why", list(StopReason))
async def test_a_runner_that_is_stopped_while_its_turn_parks_leaves_a_parked_turn(why: StopReason) -> None:
    ada = await begin()
    with await asyncio.to_thread(open_listen_connection) as connection:

        async def pay(_: str) -> Outcome:
            connection.execute("BEGIN")
            connection.execute("SELECT FROM agents_agentsession WHERE id = %s FOR UPDATE", [ada.session_id])
            raise Park(FAR_AHEAD, APPROVAL)

        services, _ = paying(pay)
        running = await start(services)
        await until(lambda: connection.execute(BLOCKED).fetchall(), seconds=A_WHILE, what="the wait's own write")
        running.run.stop(why)
        connection.execute("ROLLBACK")
        assert await running.ended() is UnfinishedTurn.PARKED
    assert (await turn_of(ada)).status == "waiting"


async def test_a_turn_that_waits_can_be_stopped_by_anybody() -> None:
    ada = await begin()
    services, _ = paying(Door())
    running = await start(services)
    assert await running.ended() is UnfinishedTurn.PARKED
    await stop(ada, running)
    assert (await turn_of(ada)).status == "cancelled"
    assert (await answer_of(ada))[1] is True


# --- a whole runner ---


async def test_a_runner_has_room_while_a_turn_waits_and_takes_it_up_again() -> None:
    ada, bob = await begin(), await begin()
    door = Door(None, datetime.now(UTC) + timedelta(seconds=0.5))
    services, _, box = scripted(PAY, says("Hi, Bob"), says("Done."), tools={"pay": door})
    async with serving(services, concurrency=1, running_per_user=1):
        await become(ada, "retry_wait")
        await become(bob, "completed")
        door.open = True
        await become(ada, "completed")
    assert [call.name for call in box.called].count("pay") >= 2
    assert (await in_db_thread(ada.said))[-1] == ("agent", "Wait. Done.")
    types = [event.type for event in await in_db_thread(ada.events)]
    assert "turn.restarted" not in types
