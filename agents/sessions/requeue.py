"""Requeue a turn that runs or waits: another runner restarts it."""

from __future__ import annotations

from uuid import UUID

from accounts.actor import Actor
from accounts.audit import record_audit
from agents.domain.states import TurnStatus
from agents.journal.locked_writes import requeue_locked
from agents.models import Turn
from agents.permissions.role_permissions import REQUEUE_TURN
from agents.sessions.operator_actions import DoesNotApply, operator_transaction
from foundation.db_retry import retry_after_deadlock

REQUEUABLE = frozenset({TurnStatus.RUNNING, TurnStatus.WAITING, TurnStatus.RETRY_WAIT})


@retry_after_deadlock
def requeue_turn(actor: Actor, *, turn_id: UUID) -> Turn:
    """Requeue a turn and return it, `queued`. Its last runner can write nothing more.

    For a running turn this counts as an attempt without progress, like a lost lease, so that a turn that always hangs
    fails in the end. Raises `Forbidden`, `NotFound`, `DoesNotApply`.
    """
    with operator_transaction(actor, turn_id=turn_id, permission=REQUEUE_TURN) as (session, turn):
        old_status = TurnStatus(turn.status)
        if old_status not in REQUEUABLE:
            raise DoesNotApply(f"Only a turn that runs or waits can be requeued; this one is {old_status}.")
        runner = str(turn.runner_id) if turn.runner_id else None
        requeue_locked(session, turn, reason="requeued", without_progress=old_status is TurnStatus.RUNNING)
        detail = {"was": old_status.value, "runner": runner, "epoch": turn.epoch}
        record_audit(actor, "turn.requeued", target=turn, detail=detail)
    return turn
