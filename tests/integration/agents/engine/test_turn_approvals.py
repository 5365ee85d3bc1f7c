"""Calls that need a person's approval: asked once, stored, run once after the decision, and the model is not asked
again."""

from __future__ import annotations

from typing import Any

import pytest

from agents.domain.approvals import Decision
from agents.domain.states import TurnStatus
from agents.engine.turn import UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn
from agents.models import Approval
from agents.sessions.approvals import decide_approval
from foundation.db_threads import in_db_thread
from tests.support.conversations import Conversation
from tests.support.scripted import Reply, ScriptedModel, ScriptedTools, calls, says, scripted
from tests.support.turns import answer_of, begin, log, run, steps, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")

# The scripted tools bear the names of installed ones, since a release is checked.
PAY = calls(("c1", "http_fetch", '{ "url": "u" }'), text="Wait. ")
STORED = '{"url":"u"}'


async def begin_asking(**rule: Any) -> Conversation:
    return await begin("Pay", tools=["http_fetch", "clock"], tool_rights={"http_fetch": {"right": "ask", **rule}})


def paying(*replies: Reply) -> tuple[Any, ScriptedModel, ScriptedTools]:
    tools = {"http_fetch": works("paid"), "clock": works("noon")}
    return scripted(*(replies or [PAY, says("Done.")]), tools=tools)


async def approval_of(ada: Conversation, step: int = 2) -> Approval:
    return await in_db_thread(Approval.objects.get, agent_session=ada.session_id, step=step)


async def decide(ada: Conversation, decision: Decision, step: int = 2, **more: Any) -> Approval:
    approval = await approval_of(ada, step)
    return await in_db_thread(decide_approval, ada.actor, approval_id=approval.pk, decision=decision, **more)


async def test_an_approved_call_runs_as_it_was_stored_and_the_model_is_not_asked_again() -> None:
    ada = await begin_asking()
    services, model, box = paying()
    assert await run(services) is UnfinishedTurn.PARKED
    assert box.called == []
    turn, approval = await turn_of(ada), await approval_of(ada)
    assert (turn.status, turn.wait_reason, turn.available_at) == ("waiting", "approval", approval.expires_at)
    stored = (approval.tool, approval.arguments, approval.call_id, approval.state)
    assert stored == ("http_fetch", STORED, "c1", "pending")
    assert approval.reasons == ["the release asks before every call of this tool"]
    await decide(ada, Decision.APPROVE)
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
