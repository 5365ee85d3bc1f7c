"""The time in which a person is asked about a call is neither the tool's, nor the turn's, nor ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models import F

from agents.domain.approvals import Decider, Decision
from agents.domain.message_parts import text_part
from agents.domain.states import StepKind, StepStatus
from agents.journal import fenced_writes
from agents.journal.approval_writes import NewApproval, advance_with_approvals, park_for_approval, use_approvals
from agents.journal.fenced_writes import Intent, StepOutcome
from agents.journal.rollups import count_turns
from agents.models import Approval, CallRollup, Step, Turn, TurnRollup
from agents.sessions.approvals import decide_approval
from monitoring.trace.reading import read_trace
from monitoring.trace.timeline import PartKind
from monitoring.trace.waterfall import make_waterfall
from tests.support.conversations import FAR_AHEAD, claimed, conversation, done, ending, tool_intent

pytestmark = pytest.mark.usefixtures("transactional_db")

HOURS = timedelta(hours=8)


@pytest.mark.parametrize("decision", Decision)
def test_a_night_in_which_nobody_decided_does_not_count_as_work(decision: Decision) -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    right = {"right": {"decision": "ask", "reasons": []}}
    advance_with_approvals(
        work,
        approvals=[NewApproval(number, f"c{number}", "clock", "{}", [], Decider.USER, hours=24) for number in (2, 3)],
        outcomes=[done(1)],
        intents=[replace(tool_intent(number, f"c{number}"), details=right) for number in (2, 3)],
    )
    park_for_approval(work, until=FAR_AHEAD)
    Turn.objects.update(queued_at=F("queued_at") - HOURS, started_at=F("started_at") - HOURS)
    Step.objects.update(started_at=F("started_at") - HOURS)
    Step.objects.filter(number=1).update(finished_at=F("finished_at") - HOURS)
    for approval in Approval.objects.order_by("step"):
        decide_approval(ada.actor, approval_id=approval.pk, decision=decision)
    work = claimed()
    if decision is Decision.APPROVE:
        use_approvals(work, [2, 3])
    outcome = StepOutcome(0, StepStatus.DONE, {"content": "noon", "is_error": False})
    outcomes = [replace(outcome, number=number) for number in (2, 3)]
    fenced_writes.advance(work, outcomes=outcomes, intents=[Intent(4, StepKind.MODEL)])
    fenced_writes.finish(work, ending(work, parts=[text_part("Noon.")]), outcomes=[done(4)])
    count_turns([work.turn_id])
    turn = TurnRollup.objects.get(width="total")
    assert (turn.turns, turn.seconds < 60, turn.added_seconds < 60) == (1, True, True)
    calls = {call.operation: call for call in CallRollup.objects.filter(width="total", operation="tool")}
    assert (calls["tool"].calls, calls["tool"].max_seconds < 60) == (2, True)
    trace = read_trace(Turn.objects.get())
    tools = [part.seconds for part in trace.timeline.parts if part.kind is PartKind.TOOL]
    assert [seconds < 60 for seconds in tools] == ([True, True] if decision is Decision.APPROVE else [])
    asked = [part.seconds for part in trace.timeline.parts if part.kind is PartKind.APPROVAL]
    assert [seconds == pytest.approx(HOURS.total_seconds(), abs=60) for seconds in asked] == [True, True]
    assert trace.summary.shares[0].label == "waiting for a person's approval"
    assert [row.label for row in make_waterfall(trace.timeline).rows].count(
        "waiting for a person's approval, clock"
    ) == 2
