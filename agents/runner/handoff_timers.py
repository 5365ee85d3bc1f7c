"""Timers of handoffs: a user has waited long enough, a snooze is over. Every runner looks every few seconds; several at
once are harmless."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from agents.domain.events import EventType, HandoffRequested
from agents.domain.handoffs import HandoffOutcome, HandoffSource, HandoffState
from agents.journal.handoff_writes import give_back_locked, handoff_settings, wake_locked
from agents.journal.locked_writes import append_locked, try_lock_session
from agents.models import AgentSession, Handoff
from agents.permissions.duty import is_somebody_on_duty
from foundation.db_retry import retry_after_deadlock
from foundation.db_threads import DATABASE_FAULTS

log = structlog.get_logger(__name__)

# The most handoffs of one pass; the others follow with the next.
BATCH = 200
# Why the log says once more that a person is wanted.
STILL_WAITING = "still_waiting"

_DUE = Q(due_at__lte=Now())
# While a person answers, the user's message ends the snooze by itself. While the agent does, the statement that accepts
# messages leaves that to us.
_WRITTEN = Q(state=HandoffState.SNOOZED, due_at__isnull=False, agent_session__updated_at__gt=F("snoozed_at"))


def run_handoff_timers() -> int:
    """Handle every handoff whose time has come by the database's clock; return how many were changed."""
    due = _rows(_DUE).union(_rows(_WRITTEN), all=True)
    return sum(_try_one(session_id, handoff_id) for session_id, handoff_id in sorted(set(due[:BATCH])))


def _rows(condition: Q) -> QuerySet[Handoff, tuple[UUID, UUID]]:
    return Handoff.objects.filter(condition).order_by().values_list("agent_session_id", "id")


def _try_one(session_id: UUID, handoff_id: UUID) -> bool:
    try:
        return _handle_one(session_id, handoff_id)
    except DATABASE_FAULTS:
        raise
    except Exception:
        # One that fails must not block the others.
        log.exception("handoff.not_handled", handoff=str(handoff_id))
        return False


@retry_after_deadlock
def _handle_one(session_id: UUID, handoff_id: UUID) -> bool:
    with transaction.atomic():
        # Another transaction holds the lock of this session; the next pass tries again.
        session = try_lock_session(session_id)
        if session is None:
            return False
        # Under the lock: somebody may have come meanwhile, or another runner was first.
        handoff = Handoff.objects.filter(_DUE | _WRITTEN, pk=handoff_id).first()
        if handoff is None:
            return False
        if handoff.state == HandoffState.SNOOZED:
            wake_locked(session, handoff)
        else:
            _end_queue(session, handoff)
    log.info("handoff_timer.ended", handoff=str(handoff_id), state=str(handoff.state))
    return True


def _end_queue(session: AgentSession, handoff: Handoff) -> None:
    """The user has waited as long as the release says: the agent goes on, or the user is told, once."""
    if handoff_settings(session).return_after_queue:
        give_back_locked(session, handoff, outcome=HandoffOutcome.TIMED_OUT, by=HandoffSource.SYSTEM)
        return
    handoff.due_at = None
    handoff.save(update_fields=["due_at"])
    waits = HandoffRequested(
        reason=STILL_WAITING, by=HandoffSource.SYSTEM.value, on_duty=is_somebody_on_duty(session.agent_id)
    )
    append_locked(session, [(EventType.HANDOFF_REQUESTED, waits)])
