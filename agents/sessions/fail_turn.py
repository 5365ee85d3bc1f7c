"""Fail a turn that blocks its session or does harm."""

from __future__ import annotations

from uuid import UUID

from accounts.actor import Actor
from accounts.audit import record_audit
from agents.domain.failures import ErrorClass
from agents.domain.states import TERMINAL, TurnStatus
from agents.journal.locked_writes import end_locked
from agents.models import Turn
from agents.permissions.role_permissions import FAIL_TURN
from agents.sessions.operator_actions import DoesNotApply, operator_transaction
from foundation.db_retry import retry_after_deadlock


@retry_after_deadlock
def fail_turn(actor: Actor, *, turn_id: UUID) -> Turn:
    """End a turn and return it: `failed` with the class `set_aside`, or `cancelled` if it was being cancelled.

    What it has shown is stored as a partial answer; a runner that still works on it can write nothing more. Raises
    `Forbidden`, `NotFound`, `DoesNotApply` when the turn has ended.
    """
    with operator_transaction(actor, turn_id=turn_id, permission=FAIL_TURN) as (session, turn):
        old_status = TurnStatus(turn.status)
        if old_status in TERMINAL:
            raise DoesNotApply(f"The turn has ended already; it is {old_status}.")
        if old_status is TurnStatus.CANCELLING:
            end_locked(session, turn, TurnStatus.CANCELLED)
        else:
            end_locked(session, turn, TurnStatus.FAILED, error_class=ErrorClass.SET_ASIDE)
        record_audit(
            actor, "turn.failed_by_operator", target=turn, detail={"was": old_status.value, "epoch": turn.epoch}
        )
    return turn
