"""Decide about calls of tools that wait for a person, and let an owner spare people the question for a while."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.actor import Actor, Scope
from accounts.audit import record_audit
from accounts.models import User
from accounts.permissions import require_permission
from agents.domain.approvals import LONGEST_PASS_SECONDS, ApprovalState, Decider, Decision
from agents.journal.approval_writes import decide_locked
from agents.journal.locked_writes import lock_session
from agents.models import Agent, AgentSession, Approval, ApprovalPass, Turn
from agents.permissions.agents import visible_agent_filter
from agents.permissions.role_permissions import DECIDE_APPROVAL, GRANT_APPROVAL
from agents.permissions.transcripts import require_transcript
from foundation import strict_json
from foundation.db_retry import retry_after_deadlock
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated

MAX_NOTE = 1000
MAX_PASS_REASON = 200


class AlreadyDecided(Conflict):
    """This call was decided already."""

    code = "approval_decided"


_OUTCOMES = {
    ApprovalState.APPROVED: "It was approved already.",
    ApprovalState.DENIED: "It was refused already.",
    ApprovalState.EXPIRED: "Nobody decided it in time.",
    ApprovalState.PENDING: "Nobody decided it in time.",
    ApprovalState.CANCELLED: "Its turn has ended, or was begun anew.",
}


@retry_after_deadlock
def decide_approval(
    actor: Actor,
    *,
    approval_id: UUID,
    turn_id: UUID | None = None,
    decision: Decision,
    note: str = "",
    as_operator: bool = False,
) -> Approval:
    """Approve or refuse the stored call of a turn, whose turn then goes on, and return the approval.

    The session's user decides what the release leaves to its users; with `as_operator`, an operator who may read the
    session decides the rest, which is audited. `turn_id`, if there is one, is the turn it must be of. `note` is said to
    the model with a refusal.

    The first decision counts: a repeat of it returns the same approval and changes nothing. Raises `AlreadyDecided`
    for another one or one that is too late, `NotFound`, `Forbidden`, `Unauthenticated`, `InvalidInput`.
    """
    note = _clean_text(note, MAX_NOTE, "/note")
    with transaction.atomic():
        approval = _access_approval(actor, approval_id, turn_id, as_operator=as_operator)
        session = lock_session(approval.agent_session_id)
        by = Decider(approval.decider)
        if decide_locked(session, approval, decision, by=by, user_id=actor.user_id, note=note):
            if as_operator:
                detail = {"decision": decision.value, "turn": str(approval.turn_id), "step": approval.step}
                record_audit(actor, "approval.decided", target=approval, detail=detail)
            return approval
        approval.refresh_from_db()
    if approval.state != decision.state:
        raise AlreadyDecided(_OUTCOMES[ApprovalState(approval.state)])
    return approval


def _access_approval(actor: Actor, approval_id: UUID, turn_id: UUID | None, *, as_operator: bool) -> Approval:
    approvals = Approval.objects.filter(pk=approval_id)
    if turn_id is not None:
        approvals = approvals.filter(turn_id=turn_id)
    if as_operator:
        require_permission(actor, DECIDE_APPROVAL)
    else:
        actor.require_scope(Scope.CHAT)
        if actor.user_id is None:
            raise Unauthenticated
        approvals = approvals.filter(visible_agent_filter(actor.user_id, "agent_id"), agent_session__user=actor.user_id)
    approval = approvals.select_related("agent").first()
    if approval is None:
        raise NotFound
    if as_operator:
        # Who decides sees the call.
        require_transcript(actor, approval.agent)
    if approval.decider != (Decider.OPERATOR if as_operator else Decider.USER):
        raise Forbidden(
            "The user of the session decides this call." if as_operator else "An operator decides this call.",
            rule="decider",
        )
    return approval


def pending_approvals(turn: Turn) -> QuerySet[Approval]:
    """The calls of a turn that wait for a person, in their order."""
    return Approval.objects.filter(turn=turn, state=ApprovalState.PENDING).order_by("step")


def pending_approvals_for(session: AgentSession) -> QuerySet[Approval]:
    """The calls of a session that may still be decided, the oldest first."""
    pending = Approval.objects.filter(agent_session=session, state=ApprovalState.PENDING, expires_at__gt=Now())
    return pending.order_by("id")


def grant_pass(
    actor: Actor,
    *,
    tool: str,
    agent_id: UUID,
    session_id: UUID | None = None,
    user_id: int | None = None,
    seconds: int,
    reason: str = "",
) -> ApprovalPass:
    """Let the calls of a tool of an agent run for `seconds` without a person's approval, in one session or for one
    person, and return the pass. What the release refuses is refused nevertheless.

    Raises `Forbidden`, `NotFound`, `InvalidInput`.
    """
    require_permission(actor, GRANT_APPROVAL)
    if not 1 <= seconds <= LONGEST_PASS_SECONDS:
        hours = LONGEST_PASS_SECONDS // 3600
        raise InvalidInput(f"A pass holds for a second at least and {hours} hours at most.", pointer="/seconds")
    if (session_id is None) == (user_id is None):
        raise InvalidInput("A pass is for one session, or for one person.", pointer="/session_id")
    reason = _clean_text(reason, MAX_PASS_REASON, "/reason")
    with transaction.atomic():
        agent = Agent.objects.filter(pk=agent_id).first()
        if agent is None:
            raise NotFound
        require_transcript(actor, agent)
        _check_receiver(agent_id, session_id, user_id)
        row = ApprovalPass.objects.create(
            agent_id=agent_id,
            tool=_check_tool(tool),
            agent_session_id=session_id,
            user_id=user_id,
            reason=reason,
            granted_by_id=actor.user_id,
            expires_at=Now() + timedelta(seconds=seconds),
        )
        row.refresh_from_db()
        detail = {"agent": str(agent_id), "seconds": seconds}
        receiver = {"session": str(session_id)} if session_id is not None else {"user": user_id}
        record_audit(actor, "approval_pass.granted", target=row, detail=detail | receiver)
    return row


def end_pass(actor: Actor, *, pass_id: UUID) -> None:
    """End a pass now; one that has ended stays as it is. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, GRANT_APPROVAL)
    with transaction.atomic():
        row = ApprovalPass.objects.filter(pk=pass_id).select_related("agent").first()
        if row is None:
            raise NotFound
        require_transcript(actor, row.agent)
        if ApprovalPass.objects.filter(pk=pass_id, expires_at__gt=Now()).update(expires_at=Now()):
            record_audit(actor, "approval_pass.ended", target=row)


def _check_receiver(agent_id: UUID, session_id: UUID | None, user_id: int | None) -> None:
    if session_id is not None:
        receivers = AgentSession.objects.filter(pk=session_id, agent_id=agent_id).exists()
    else:
        receivers = user_id is not None and User.objects.filter(pk=user_id, is_active=True).exists()
    if not receivers:
        raise NotFound


def _check_tool(tool: str) -> str:
    if not 1 <= len(tool) <= 64:
        raise InvalidInput("The name of a tool is expected.", pointer="/tool")
    return tool


def _clean_text(text: str, limit: int, pointer: str) -> str:
    strict_json.check_storable(text, pointer)
    if len(text) > limit:
        raise InvalidInput(f"At most {limit} characters are expected.", pointer=pointer)
    return text.strip()
