"""Calls that need a person's approval: asked about once, run once as they were stored, and the model is not asked
again."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts.actor import Actor
from agents.domain.approvals import Decision
from agents.domain.states import TurnStatus
from agents.domain.steps import NOT_RUN, UNKNOWN_OUTCOME
from agents.engine.turn import UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn
from agents.models import Approval, Step, Turn
from agents.runner.reaper import reap
from agents.sessions import cancel_turn, requeue_turn
from agents.sessions.approvals import AlreadyDecided, decide_approval, grant_pass
from foundation.clock import now
from foundation.db_threads import in_db_thread
from tests.support.approvals import let_time_pass
from tests.support.conversations import Conversation, lease_is_over
from tests.support.scripted import Outcome, Reply, ScriptedModel, ScriptedTools, calls, for_ever, says, scripted
from tests.support.turns import Running, answer_of, begin, log, run, start, steps, stop, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")

# The scripted tools bear the names of installed ones, since a release is checked.
PAY = calls(("c1", "http_fetch", '{ "url": "u" }'), text="Wait. ")
PAY_AND_LOOK = calls(("c1", "http_fetch", '{"url":"u"}'), ("c2", "clock", "{}"))
PAY_TWICE = calls(("c1", "http_fetch", '{"url":"a"}'), ("c2", "http_fetch", '{"url":"b"}'))
STORED = '{"url":"u"}'
APPROVE, DENY = Decision.APPROVE, Decision.DENY
SYSTEM = Actor.system("tests")


async def begin_asking(**rule: Any) -> Conversation:
    rights = {"http_fetch": {"right": "ask", **rule}}
    return await begin("Pay", tools=["http_fetch", "clock"], tool_rights=rights)


def paying(*replies: Reply, **tools: Any) -> tuple[Any, ScriptedModel, ScriptedTools]:
    named = {"http_fetch": works("paid"), "clock": works("noon"), **tools}
    return scripted(*(replies or [PAY]), says("Done."), tools=named)


async def approval_of(ada: Conversation, step: int = 2) -> Approval:
    return await in_db_thread(Approval.objects.get, agent_session=ada.session_id, step=step)


async def decide(ada: Conversation, decision: Decision = APPROVE, step: int = 2, **more: Any) -> Approval:
    approval = await approval_of(ada, step)
    return await in_db_thread(decide_approval, ada.actor, approval_id=approval.pk, decision=decision, **more)


async def cancel_front(ada: Conversation) -> None:
    await in_db_thread(cancel_turn, ada.actor, turn_id=(await in_db_thread(ada.turns))[0].pk)


def deadlines(ada: Conversation) -> list[datetime]:
    return [turn.deadline_at for turn in ada.turns()]


async def results() -> list[str]:
    rows = Step.objects.filter(kind="tool").order_by("number").values_list("result__content", flat=True)
    return await in_db_thread(lambda: list(rows))


async def outcomes(ada: Conversation) -> list[str]:
    """What is said of the calls that failed: by their events, and by the parts of the answer."""
    events = [event.data["outcome"] for event in await in_db_thread(ada.events) if event.type == "tool.failed"]
    parts = (await answer_of(ada))[0]
    return events + [part["outcome"] for part in parts if part["type"] == "tool_result"]


async def lose(ada: Conversation, running: Running) -> None:
    """The runner is gone in the middle of its work, and others find out."""
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    await in_db_thread(lease_is_over, running.run.claim.turn_id)
    assert await in_db_thread(reap) == 1


async def test_an_approved_call_runs_as_it_was_stored_and_the_model_is_not_asked_again() -> None:
    ada = await begin_asking()
    services, model, box = paying()
    assert await run(services) is UnfinishedTurn.PARKED
    assert box.called == []
    turn, approval = await turn_of(ada), await approval_of(ada)
    assert (turn.status, turn.wait_reason, turn.available_at) == ("waiting", "approval", approval.expires_at)
    stored = (approval.tool, approval.arguments, approval.call_id, approval.state)
    assert stored == ("http_fetch", STORED, "c1", "pending")
    assert approval.reasons == ["this agent asks before every call of this tool"]
    await decide(ada)
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert [(call.name, call.arguments, call.key) for call in box.called] == [("http_fetch", STORED, f"{turn.pk}:2")]
    assert len(model.requests) == 2
    assert model.requests[1].messages[-1].text == "paid"
    assert (await approval_of(ada)).used_at is not None
    assert await log(ada) == [
        "message.delta", "tool.started", "approval.requested", "turn.waiting", "approval.decided", "turn.queued",
        "turn.started", "tool.finished", "message.delta", "message.completed", "turn.completed",
    ]  # fmt: skip
    assert [part["type"] for part in (await answer_of(ada))[0]] == ["text", "tool_call", "tool_result", "text"]
    assert [step[2] for step in await steps()] == ["done"] * 3


async def test_a_refused_call_is_a_result_for_the_model() -> None:
    ada = await begin_asking()
    services, model, box = paying()
    await run(services)
    await decide(ada, DENY, note="Too much.")
    assert isinstance(await run(services), FinishedTurn)
    assert box.called == []
    assert model.requests[1].messages[-1].text == (
        "This call was refused by the user and not run. Do not make it again unless you are asked to. "
        "They say: Too much."
    )
    decided = next(event for event in await in_db_thread(ada.events) if event.type == "approval.decided")
    assert (decided.data["decision"], decided.data["by"], decided.data["note"]) == ("denied", "user", "Too much.")
    assert await outcomes(ada) == ["refused", "refused"]
    assert "tool.failed" in await log(ada)


async def test_a_call_that_nobody_decides_in_time_is_a_result_and_not_the_end_of_the_turn() -> None:
    ada = await begin_asking(approval_hours=1)
    services, model, box = paying()
    await run(services)
    await in_db_thread(let_time_pass, ada, 1)
    with pytest.raises(AlreadyDecided, match="in time"):
        await decide(ada)
    assert await in_db_thread(reap) == 1
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert box.called == []
    assert "not decided in time" in str(model.requests[1].messages[-1].text)
    decided = next(event for event in await in_db_thread(ada.events) if event.type == "approval.decided")
    assert (decided.data["decision"], decided.data["by"]) == ("expired", "system")
    assert await outcomes(ada) == ["refused", "refused"]
    await log(ada)


async def test_a_night_of_waiting_does_not_expire_a_turn() -> None:
    ada = await begin_asking()
    services, *_ = paying()
    await run(services)
    before = (await turn_of(ada)).deadline_at
    await in_db_thread(let_time_pass, ada, 12)
    assert await in_db_thread(reap) == 0
    await decide(ada)
    # What it had left before it waited is left now.
    assert abs((await turn_of(ada)).deadline_at - before).total_seconds() / 3600 == pytest.approx(24, abs=0.1)
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)


@pytest.mark.parametrize("reaps", [True, False])
@pytest.mark.parametrize("end", [decide, cancel_front])
async def test_a_night_of_waiting_does_not_expire_the_turns_behind(reaps: bool, end: Any) -> None:
    ada = await begin_asking()
    services, *_ = paying()
    await run(services)
    await in_db_thread(ada.ask, "Are you there?")
    await in_db_thread(let_time_pass, ada, 12)
    await in_db_thread(Turn.objects.filter(status="queued").update, deadline_at=now() - timedelta(hours=11))
    if reaps:
        assert await in_db_thread(reap) == 1
        assert await in_db_thread(reap) == 0
    await end(ada)
    assert await in_db_thread(reap) == 0
    assert all([deadline > now() + timedelta(minutes=59) for deadline in await in_db_thread(deadlines, ada)][1:])
    while "queued" in await in_db_thread(ada.statuses):
        assert isinstance(await run(services), FinishedTurn)
    assert (await in_db_thread(ada.statuses))[-1] == "completed"


async def test_the_other_calls_of_a_batch_go_on_and_the_model_waits_for_all_of_them() -> None:
    ada = await begin_asking()
    services, model, box = paying(PAY_AND_LOOK)
    assert await run(services) is UnfinishedTurn.PARKED
    assert [call.name for call in box.called] == ["clock"]
    await decide(ada)
    assert isinstance(await run(services), FinishedTurn)
    assert [call.name for call in box.called] == ["clock", "http_fetch"]
    assert [message.text for message in model.requests[1].messages[-2:]] == ["paid", "noon"]
    await log(ada)


async def test_what_is_decided_runs_while_the_rest_still_waits() -> None:
    ada = await begin_asking()
    services, model, box = paying(PAY_TWICE)
    await run(services)
    await decide(ada, step=3)
    assert await run(services) is UnfinishedTurn.PARKED
    assert [call.arguments for call in box.called] == ['{"url":"b"}']
    await decide(ada, DENY, step=2)
    assert isinstance(await run(services), FinishedTurn)
    assert len(box.called) == 1
    assert len(model.requests) == 2
    await log(ada)


async def test_a_decision_while_another_call_runs_is_not_slept_over() -> None:
    ada = await begin_asking()

    async def look(_: str) -> Outcome:
        await decide(ada)
        return Outcome("noon")

    services, model, box = paying(PAY_AND_LOOK, clock=look)
    assert isinstance(await run(services), FinishedTurn)
    assert [call.name for call in box.called] == ["clock", "http_fetch"]
    assert len(model.requests) == 2
    assert "turn.waiting" not in await log(ada)


@pytest.mark.parametrize("decided", [False, True])
async def test_a_runner_lost_while_others_run_leaves_what_waits_as_it_was(decided: bool) -> None:
    ada = await begin_asking()
    reached = asyncio.Event()

    async def hang(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, _, box = paying(PAY_AND_LOOK, clock=hang)
    running = await start(services)
    await reached.wait()
    if decided:
        await decide(ada)
    await lose(ada, running)
    end = await run(services)
    if not decided:
        assert end is UnfinishedTurn.PARKED
        await decide(ada)
        end = await run(services)
    assert end == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert [call.name for call in box.called] == ["clock", "http_fetch"]
    # The other one may have run.
    assert await results() == ["paid", UNKNOWN_OUTCOME]
    assert (await turn_of(ada)).tool_stalls == 1
    await log(ada)


@pytest.mark.parametrize("idempotent", [False, True])
async def test_an_approved_call_that_was_begun_and_lost_is_like_any_other(idempotent: bool) -> None:
    ada = await begin_asking()
    reached, hangs = asyncio.Event(), [True]

    async def pay(_: str) -> Outcome:
        if hangs:
            reached.set()
            await for_ever()
        return Outcome("paid")

    services, _, box = paying(http_fetch=pay)
    box.idempotent = frozenset({"http_fetch"} if idempotent else ())
    await run(services)
    await decide(ada)
    running = await start(services)
    await reached.wait()
    await lose(ada, running)
    hangs.clear()
    assert isinstance(await run(services), FinishedTurn)
    assert len({call.key for call in box.called}) == 1
    assert (len(box.called), await results()) == ((2, ["paid"]) if idempotent else (1, [UNKNOWN_OUTCOME]))


async def test_a_runner_that_is_lost_as_it_is_about_to_park_ran_no_tool() -> None:
    ada = await begin_asking()
    services, *_ = paying()
    await run(services)
    await decide(ada, DENY)
    # As if the second claim ended before it wrote the outcome.
    running = await start(services)
    await lose(ada, running)
    assert (await turn_of(ada)).tool_stalls == 0
    assert isinstance(await run(services), FinishedTurn)


async def test_a_cancelled_turn_cancels_what_waits() -> None:
    ada = await begin_asking()
    services, _, box = paying()
    await run(services)
    await in_db_thread(cancel_turn, ada.actor, turn_id=(await turn_of(ada)).pk)
    assert ((await turn_of(ada)).status, (await approval_of(ada)).state) == ("cancelled", "cancelled")
    with pytest.raises(AlreadyDecided, match="ended"):
        await decide(ada)
    assert box.called == []
    assert [step[2] for step in await steps()] == ["done", "failed"]
    await log(ada)


async def test_a_turn_that_is_stopped_while_others_run_cancels_what_waits() -> None:
    ada = await begin_asking()
    reached = asyncio.Event()

    async def hang(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, *_ = paying(PAY_AND_LOOK, clock=hang)
    running = await start(services)
    await reached.wait()
    await stop(ada, running)
    assert await running.ended() == FinishedTurn(TurnStatus.CANCELLED, 0)
    assert (await approval_of(ada)).state == "cancelled"
    # The one that waits has certainly not run, the other may have.
    assert [step[2] for step in await steps()] == ["done", "failed", "unknown"]
    await log(ada)


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_requeued_turn_asks_anew(idempotent: bool) -> None:
    ada = await begin_asking()
    services, model, box = paying()
    box.idempotent = frozenset({"http_fetch"} if idempotent else ())
    await run(services)
    await in_db_thread(requeue_turn, SYSTEM, turn_id=(await turn_of(ada)).pk)
    assert (await approval_of(ada)).state == "cancelled"
    assert isinstance(await run(services), FinishedTurn)
    assert box.called == []
    assert await results() == [NOT_RUN]
    assert len(model.requests) == 2
    await log(ada)


async def test_a_pass_lets_a_call_through_and_its_step_says_so() -> None:
    ada = await begin_asking()
    session = await in_db_thread(lambda: ada.row)
    options: dict[str, Any] = {
        "tool": "http_fetch",
        "agent_id": session.agent_id,
        "session_id": ada.session_id,
        "seconds": 60,
    }
    granted = await in_db_thread(grant_pass, SYSTEM, **options)
    services, _, box = paying()
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert [call.arguments for call in box.called] == [STORED]
    right = await in_db_thread(Step.objects.values_list("details__right", flat=True).get, number=2)
    assert (right["decision"], right["pass"]) == ("ask", str(granted.pk))
    assert not await in_db_thread(Approval.objects.exists)
    assert "approval.requested" not in await log(ada)


async def test_only_what_was_approved_runs() -> None:
    """Fail closed: whoever changes the stored call changes what was approved."""
    ada = await begin_asking()
    services, model, box = paying()
    await run(services)
    await decide(ada)
    changed = Approval.objects.filter(agent_session=ada.session_id)
    await in_db_thread(changed.update, arguments='{"url":"evil"}')
    assert isinstance(await run(services), FinishedTurn)
    assert box.called == []
    assert "not what was approved" in str(model.requests[1].messages[-1].text)


async def test_a_step_that_asks_without_an_approval_does_not_run() -> None:
    ada = await begin_asking()
    services, _, box = paying()
    await run(services)
    await decide(ada)
    await in_db_thread(Approval.objects.filter(agent_session=ada.session_id).delete)
    assert isinstance(await run(services), FinishedTurn)
    assert box.called == []
