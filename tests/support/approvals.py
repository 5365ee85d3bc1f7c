"""Calls that wait for a person, as a runner leaves them behind."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.db import connection

from agents.domain.approvals import Decider, Decision
from agents.domain.serialization import approval_shape
from agents.domain.states import StepKind
from agents.journal.approval_writes import NewApproval, advance_with_approvals, park_for_approval, read_approvals
from agents.journal.claims import Claim
from agents.journal.fenced_writes import Intent, NewEvent, append
from agents.models import Approval, Step, Turn
from agents.sessions.approvals import decide_approval
from tests.support.conversations import FAR_AHEAD, Conversation, claimed, done

ARGUMENTS = '{"to":"ada"}'


def ask_person(
    work: Claim,
    *steps: int,
    decider: Decider = Decider.USER,
    idempotent: bool = False,
    hours: int = 24,
    arguments: str = ARGUMENTS,
) -> None:
    """The model has answered with a call for each of these steps, by default one, and each asks."""
    numbers = steps or (2,)
    right = {"decision": "ask", "reasons": [{"code": "asks", "text": "it asks"}]}
    intents = [
        Intent(number, StepKind.TOOL, "mail", f"c{number}", idempotent, arguments, {"right": right})
        for number in numbers
    ]
    approvals = [
        NewApproval(number, f"c{number}", "mail", arguments, ["it asks"], decider, hours) for number in numbers
    ]
    advance_with_approvals(work, approvals=approvals, outcomes=[done(1)], intents=intents)


def wait_for_person(ada: Conversation, *steps: int, **options: Any) -> Claim:
    """A question whose turn waits for a person."""
    ada.ask()
    work = claimed()
    ask_person(work, *steps, **options)
    ends = [call.expires_at for call in read_approvals(work, steps or (2,)).values()]
    assert park_for_approval(work, until=min(ends, default=FAR_AHEAD))
    return work


def pending_approval(turn: Turn) -> Approval:
    """The row of a call that waits, without a runner that has asked."""
    return Approval.objects.create(
        turn=turn,
        agent_session=turn.agent_session,
        agent_id=turn.agent_session.agent_id,
        step=2,
        call_id="c2",
        tool="mail",
        arguments=ARGUMENTS,
        arguments_hash=hashlib.sha256(ARGUMENTS.encode()).digest(),
        reasons=["it asks"],
        decider=Decider.USER,
        expires_at=FAR_AHEAD,
    )


def approval_of(ada: Conversation, step: int = 2) -> Approval:
    """The newest approval of a step of this number."""
    return Approval.objects.filter(agent_session=ada.session_id, step=step).latest("id")


def decide(ada: Conversation, decision: Decision = Decision.APPROVE, step: int = 2, **options: Any) -> Approval:
    """The session's user decides."""
    return decide_approval(ada.actor, approval_id=approval_of(ada, step).pk, decision=decision, **options)


def let_time_pass(ada: Conversation, hours: float) -> None:
    """All that is written of the approvals and the wait lies so much further back."""
    with connection.cursor() as cursor:
        for table, columns, session in (
            ("agents_approval", ("requested_at", "expires_at", "decided_at"), "agent_session_id"),
            ("agents_turn", ("available_at", "deadline_at", "lease_expires_at"), "agent_session_id"),
            ("agents_approvalpass", ("granted_at", "expires_at"), "agent_session_id"),
        ):
            moved = ", ".join(f"{column} = {column} - %(by)s * interval '1 hour'" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET {moved} WHERE {session} = %(session)s",
                {"by": hours, "session": ada.session_id},
            )


def request_approval(
    claim: Claim,
    *,
    step: int = 2,
    decider: Decider = Decider.USER,
    arguments: str = '{"amount": 5}',
    expires_at: datetime = FAR_AHEAD,
) -> Approval:
    """A call that waits, with its step and its event; which step came before does not matter."""
    Step.objects.create(
        turn_id=claim.turn_id,
        number=step,
        kind=StepKind.TOOL,
        name="transfer",
        call_id=f"call_{step}",
        epoch=claim.epoch,
        request=arguments,
        details={"right": {"decision": "ask", "reasons": []}},
    )
    turn = Turn.objects.select_related("agent_session").get(pk=claim.turn_id)
    approval = Approval.objects.create(
        turn=turn,
        agent_session=turn.agent_session,
        agent_id=turn.agent_session.agent_id,
        step=step,
        call_id=f"call_{step}",
        tool="transfer",
        arguments=arguments,
        arguments_hash=hashlib.sha256(arguments.encode()).digest(),
        reasons=["The release asks for every call."],
        decider=decider.value,
        expires_at=expires_at,
    )
    append(claim, [NewEvent("approval.requested", approval_shape(approval))])
    return approval
