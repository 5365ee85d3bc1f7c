"""Cancel turns. A repeat changes nothing, nor does cancelling a turn that has ended."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor, Scope
from accounts.audit import record_audit
from agents.journal.locked_writes import lock_session, lock_turn, stop_locked
from agents.models import Turn
from agents.permissions.role_permissions import CANCEL_TURN
from agents.sessions.access import access_turn, operate_session
from agents.sessions.operator_actions import operator_transaction
from foundation.db_retry import retry_after_deadlock


@retry_after_deadlock
def cancel_turn(actor: Actor, *, turn_id: UUID) -> Turn:
    """Cancel a turn of the actor's and return it, with the `calls` of `access_turn`: `cancelled` at once if it had no
    runner, else `cancelling`.

    Its runner closes the provider's stream within a second and stores the partial text. Raises `NotFound`,
    `Forbidden`.
    """
    actor.require_scope(Scope.CHAT)
    turn: Any = access_turn(actor=actor, turn_id=turn_id)
    with transaction.atomic():
        session = lock_session(turn.agent_session_id)
        locked: Any = lock_turn(session, turn_id)
        stop_locked(session, locked)
    locked.calls = turn.calls
    return cast("Turn", locked)


@retry_after_deadlock
def cancel_any_turn(actor: Actor, *, turn_id: UUID) -> Turn:
    """Cancel any user's turn, for operators, and return it as `cancel_turn` does. Raises `NotFound`, `Forbidden`."""
    with operator_transaction(actor, turn_id=turn_id, permission=CANCEL_TURN) as (session, turn):
        old_status = turn.status
        stop_locked(session, turn)
        if turn.status != old_status:
            record_audit(actor, "turn.cancelled", target=turn, detail={"was": str(old_status), "epoch": turn.epoch})
    return turn


def cancel_open_turns(actor: Actor, *, session_id: UUID) -> list[Turn]:
    """Cancel every open turn of a session, the last first, for operators; return them. Raises `NotFound`,
    `Forbidden`."""
    operate_session(actor=actor, session_id=session_id, permission=CANCEL_TURN)
    # The last first: otherwise the next one would start as soon as the first has ended.
    open_turns = Turn.objects.filter(agent_session_id=session_id, finished_at__isnull=True).order_by("-ordinal")
    return [cancel_any_turn(actor, turn_id=key) for key in list(open_turns.values_list("pk", flat=True))]
