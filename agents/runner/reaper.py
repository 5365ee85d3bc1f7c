"""The reaper: turns whose lease, deadline or wait is over are requeued, ended or resumed. Every runner runs one;
several at once are harmless."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from agents.domain.failures import ErrorClass
from agents.domain.states import (
    MAX_ATTEMPTS_WITHOUT_PROGRESS,
    MAX_TOOL_STALLS,
    OWNED,
    PARKED,
    STOPPED_CLOCKS,
    TURN_DEADLINE,
    StepKind,
    StepStatus,
    TurnStatus,
)
from agents.journal.locked_writes import (
    database_now,
    end_locked,
    lock_session,
    lock_turn,
    requeue_locked,
    resume_locked,
    try_lock_session,
)
from agents.models import AgentSession, Approval, Step, Turn
from foundation.db_retry import retry_after_deadlock
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import NotFound

log = structlog.get_logger(__name__)

# The most turns of one pass: many expired leases are handled in batches, oldest first.
BATCH = 200

_LEASE_LOST = Q(status__in=OWNED, lease_expires_at__lt=Now())
# Neither owned nor ended, as in the condition of the index. The deadline of a turn whose clock stands still is unknown
# before its wait has ended, however late that is.
_DEADLINE_PASSED = Q(deadline_at__lt=Now(), lease_expires_at__isnull=True, finished_at__isnull=True) & ~Q(
    wait_reason__in=STOPPED_CLOCKS
)
_WAIT_OVER = Q(status__in=PARKED, available_at__lt=Now())


def reap() -> int:
    """Handle every turn whose lease, deadline or wait is over by the database's clock; return how many were changed."""
    due: set[tuple[UUID, UUID]] = set()
    for condition in (_LEASE_LOST, _DEADLINE_PASSED, _WAIT_OVER):
        due.update(Turn.objects.filter(condition).values_list("agent_session_id", "id")[:BATCH])
    return sum(_try_reap(session_id, turn_id) for session_id, turn_id in sorted(due))


def _try_reap(session_id: UUID, turn_id: UUID) -> bool:
    try:
        return _reap_one(session_id, turn_id)
    except DATABASE_FAULTS:
        raise
    except Exception:
        # One turn that cannot be ended must not block the others.
        log.exception("turn.not_reaped", turn=str(turn_id))
        return False


@retry_after_deadlock
def _reap_one(session_id: UUID, turn_id: UUID) -> bool:
    with transaction.atomic():
        # Another transaction holds the lock of this session; the next pass tries again.
        session = try_lock_session(session_id)
        if session is None:
            return False
        turn = lock_turn(session, turn_id)
        # Checked again under the lock: the lease may have been renewed, the turn may have ended.
        if Turn.objects.filter(_LEASE_LOST, pk=turn_id).exists():
            _handle_lost_lease(session, turn)
        elif Turn.objects.filter(_DEADLINE_PASSED, pk=turn_id).exists():
            _expire_unless_behind_a_wait(session, turn)
        elif Turn.objects.filter(_WAIT_OVER, pk=turn_id).exists():
            # The next claim finds out whether what it waited for has happened.
            resume_locked(session, turn, reason="wait_over")
        else:
            return False
    log.info("turn.reaped", turn=str(turn_id), status=str(turn.status))
    return True


def _handle_lost_lease(session: AgentSession, turn: Turn) -> None:
    if turn.status == TurnStatus.CANCELLING:
        end_locked(session, turn, TurnStatus.CANCELLED)
        return
    if _ran_tool(turn):
        turn.tool_stalls += 1
    if turn.tool_stalls > MAX_TOOL_STALLS:
        turn.save(update_fields=["tool_stalls"])
        end_locked(session, turn, TurnStatus.FAILED, error_class=ErrorClass.TOOL_STALLED)
    else:
        _requeue_or_fail(session, turn, reason="lease_lost")


def _ran_tool(turn: Turn) -> bool:
    """Whether the claim whose lease was lost has begun a tool call that has no outcome. A call that waits for a person
    was not begun."""
    unused = Approval.objects.filter(turn=turn, step=OuterRef("number"), used_at=None)
    calls = Step.objects.filter(turn=turn, kind=StepKind.TOOL, status=StepStatus.INTENT, epoch=turn.epoch)
    return calls.exclude(Exists(unused)).exists()


def _requeue_or_fail(session: AgentSession, turn: Turn, *, reason: str) -> None:
    """Requeue a turn, or fail it when it has crashed its runners too often."""
    if turn.attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS:
        end_locked(
            session,
            turn,
            TurnStatus.FAILED,
            error_class=ErrorClass.WORKER_CRASHED,
        )
    else:
        requeue_locked(session, turn, reason=reason, without_progress=True)


def _expire_unless_behind_a_wait(session: AgentSession, turn: Turn) -> None:
    """End a turn whose time is over; but while one before it waits for a person, its clock stands still, too."""
    waiting = Turn.objects.filter(
        agent_session=session, finished_at__isnull=True, ordinal__lt=turn.ordinal, wait_reason__in=STOPPED_CLOCKS
    ).first()
    if waiting is not None and waiting.available_at is not None:
        # The end of that wait, if it ends before, changes nothing about it: the turn is then next.
        turn.deadline_at = max(waiting.available_at, database_now()) + TURN_DEADLINE
        turn.save(update_fields=["deadline_at"])
        return
    end_locked(
        session,
        turn,
        TurnStatus.EXPIRED,
        error_class=ErrorClass.DEADLINE,
        error_detail="Nobody could answer in time.",
    )


@retry_after_deadlock
def release_claim(
    *, session_id: UUID, turn_id: UUID, epoch: int, without_progress: bool, resumes: bool = False
) -> bool:
    """Requeue a running turn of this epoch; False when another epoch owns it or it has ended. `resumes`: the claim came
    from a wait and has tried nothing, so the next one resumes in its place.

    A turn that is to be cancelled is ended instead, and so is one that was requeued too often without progress.
    """
    with transaction.atomic():
        if (owned := _lock_claim(session_id, turn_id, epoch)) is None:
            return False
        session, turn = owned
        turn.resumes = resumes
        if turn.status == TurnStatus.CANCELLING:
            end_locked(session, turn, TurnStatus.CANCELLED)
        elif without_progress:
            _requeue_or_fail(session, turn, reason="given_back")
        else:
            requeue_locked(session, turn, reason="given_back", without_progress=False)
    return True


@retry_after_deadlock
def fail_claim(
    *, session_id: UUID, turn_id: UUID, epoch: int, error_class: ErrorClass, error_detail: str, resumes: bool
) -> bool:
    """End a running turn of this epoch as failed, or as cancelled if it is to be cancelled; False when another epoch
    owns it or it has ended. `resumes`: as for `release_claim`; its waiting calls have certainly not run."""
    with transaction.atomic():
        if (owned := _lock_claim(session_id, turn_id, epoch)) is None:
            return False
        session, turn = owned
        turn.resumes = resumes
        if turn.status == TurnStatus.CANCELLING:
            end_locked(session, turn, TurnStatus.CANCELLED)
        else:
            end_locked(session, turn, TurnStatus.FAILED, error_class=error_class, error_detail=error_detail)
    return True


def _lock_claim(session_id: UUID, turn_id: UUID, epoch: int) -> tuple[AgentSession, Turn] | None:
    """The session and the turn, locked; None unless this epoch owns the turn."""
    try:
        session = lock_session(session_id)
    except NotFound:
        return None
    if (session.active_turn_id, session.active_epoch) != (turn_id, epoch):
        return None
    turn = lock_turn(session, turn_id)
    return (session, turn) if turn.status in OWNED else None
