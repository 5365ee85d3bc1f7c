"""Calls of tools that wait for a person, written by hand as the engine writes them."""

from __future__ import annotations

import hashlib
from datetime import datetime

from agents.domain.approvals import Decider
from agents.domain.serialization import approval_shape
from agents.journal.claims import Claim
from agents.journal.fenced_writes import NewEvent, append
from agents.models import Approval, Turn
from tests.support.conversations import FAR_AHEAD


def request_approval(
    claim: Claim,
    *,
    step: int = 2,
    decider: Decider = Decider.USER,
    arguments: str = '{"amount": 5}',
    expires_at: datetime = FAR_AHEAD,
) -> Approval:
    """A call that waits, with its event."""
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
