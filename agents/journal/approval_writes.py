"""Writes for calls of tools that wait for a person: asked with their intents, decided under the session's lock, used
once by the owner of the turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from agents.domain.approvals import ApprovalState, Decider, Decision, StoredCall
from agents.domain.events import EventType
from agents.domain.states import StepStatus, TurnStatus, WaitReason
from agents.journal import sql
from agents.journal.claims import Claim
from agents.journal.fenced_writes import (
    Intent,
    LostTurn,
    NewEvent,
    StepOutcome,
    advance_params,
    dump_json,
    fence_params,
    lock_owned,
    park,
)
from agents.journal.locked_writes import (
    append_locked,
    approval_decided,
    end_approvals_locked,
    lock_session,
    lock_turn,
    resume_locked,
)
from agents.journal.queries import fetch
from agents.models import AgentSession, Approval, Step
from foundation.ids import new_id


@dataclass(frozen=True, slots=True)
class NewApproval:
    """A call to ask a person about: the step of its intent and what exactly is to run. `hours`: how long it may be
    decided."""

    step: int
    call_id: str
    tool: str
    arguments: str
    reasons: Sequence[str]
    decider: Decider
    hours: int
    id: UUID = field(default_factory=new_id)


def advance_with_approvals(
    claim: Claim,
    *,
    approvals: Sequence[NewApproval],
    outcomes: Sequence[StepOutcome] = (),
    intents: Sequence[Intent] = (),
    events: Sequence[NewEvent] = (),
) -> dict[int, str]:
    """Commit outcomes, the next intents with the approvals that some of them need, and their events together; those of
    the approvals come last.

    Calls that a pass of an owner lets through need no approval: the ids of the passes are returned by step. Raises
    `LostTurn`.
    """
    by_tool = _read_passes(claim, [approval.tool for approval in approvals])
    passes = {approval.step: by_tool[approval.tool] for approval in approvals if approval.tool in by_tool}
    approvals = [approval for approval in approvals if approval.step not in passes]
    intents = [
        replace(intent, details={**intent.details, "right": {**intent.details["right"], "pass": passes[intent.number]}})
        if intent.number in passes
        else intent
        for intent in intents
    ]
    params = advance_params(claim, outcomes, intents, events)
    count = len(events) + len(approvals)
    if not fetch(sql.ADVANCE_WITH_APPROVALS, params | {"count": count, "approvals": dump_json(approvals)}):
        raise LostTurn
    return passes


def _read_passes(claim: Claim, tools: Sequence[str]) -> dict[str, str]:
    """The ids of the passes that hold now, by tool, for those of `tools` that have one in this session or for its
    user."""
    params = {"tools": list(tools), "session": claim.session_id, "user": claim.user_id}
    return dict(fetch(sql.PASSES, params))


def read_approvals(claim: Claim, steps: Sequence[int]) -> dict[int, StoredCall]:
    """What is stored of the calls of these steps, by step; the approvals that nobody has decided in time end here.
    Raises `LostTurn`."""
    stored = _read_stored(claim, steps)
    if any(call.is_overdue for call in stored.values()):
        _expire(claim)
        stored = _read_stored(claim, steps)
    return stored


def _read_stored(claim: Claim, steps: Sequence[int]) -> dict[int, StoredCall]:
    rows = fetch(sql.APPROVALS, {"turn": claim.turn_id, "numbers": list(steps)})
    return {
        step: StoredCall(step, ApprovalState(state), tool, arguments, used, expires_at, over, Decider(decider), note)
        for step, state, tool, arguments, used, expires_at, over, decider, note in rows
    }


@transaction.atomic
def _expire(claim: Claim) -> None:
    session, turn = lock_owned(claim)
    overdue = Approval.objects.filter(turn=turn, expires_at__lte=Now())
    end_approvals_locked(session, turn, overdue, state=ApprovalState.EXPIRED)


def use_approvals(claim: Claim, steps: Sequence[int]) -> set[int]:
    """Commit that the approved calls of these steps are about to run; the steps of those that may. Whoever reads the
    journal later cannot know that such a call did not run. Raises `LostTurn`."""
    rows = fetch(sql.USE_APPROVALS, fence_params(claim, ()) | {"numbers": list(steps)})
    if not rows:
        raise LostTurn
    return set(rows[0][0] or ())


@transaction.atomic
def park_for_approval(
    claim: Claim,
    *,
    until: datetime,
    resume_at: datetime | None = None,
    outcomes: Sequence[StepOutcome] = (),
    intents: Sequence[Intent] = (),
    events: Sequence[NewEvent] = (),
) -> bool:
    """Release the turn from its runner until a person has decided, or until `until` at the latest; it resumes at
    `resume_at` if another wait ends before. A turn whose approval was decided meanwhile resumes at once. Returns False,
    and nothing is written, when the turn is to be cancelled. Raises `LostTurn`.

    The lock comes first: each decision is made under it, so that one that came before is read here, and a later one
    finds the turn parked.
    """
    lock_owned(claim)
    if not park(
        claim,
        until=until,
        reason=WaitReason.APPROVAL,
        resume_at=resume_at,
        outcomes=outcomes,
        intents=intents,
        events=events,
    ):
        return False
    open_steps = Step.objects.filter(turn=claim.turn_id, number=OuterRef("step"), status=StepStatus.INTENT)
    decided = Approval.objects.filter(Exists(open_steps), turn=claim.turn_id, used_at=None)
    if decided.exclude(state=ApprovalState.PENDING).exists():
        session = lock_session(claim.session_id)
        resume_locked(session, lock_turn(session, claim.turn_id), reason=DECIDED)
    return True


# Why a turn goes on whose approval was decided, in `turn.queued`.
DECIDED = "approval_decided"


def decide_locked(
    session: AgentSession,
    approval: Approval,
    decision: Decision,
    *,
    by: Decider,
    user_id: int | None,
    note: str = "",
) -> bool:
    """Decide a pending approval and resume its turn if it is parked for it; False, and nothing is changed, unless the
    approval is still pending and in time."""
    pending = Approval.objects.filter(pk=approval.pk, state=ApprovalState.PENDING, expires_at__gt=Now())
    if not pending.update(state=decision.state, decided_at=Now(), decided_by=user_id, note=note):
        return False
    approval.refresh_from_db()
    turn = lock_turn(session, approval.turn_id)
    append_locked(session, [(EventType.APPROVAL_DECIDED, approval_decided(approval, by=by))], turn=turn)
    if turn.status == TurnStatus.WAITING and turn.wait_reason == WaitReason.APPROVAL:
        resume_locked(session, turn, reason=DECIDED)
    return True
