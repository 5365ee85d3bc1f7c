"""Turns that wait for money resume when others have settled; and what killed processes had reserved is settled.

Every runner has one; only the first of the live runners does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from django.db import transaction

from agents.budgets.reservations import settle_and_reserve
from agents.domain.budgets import OPEN_RESERVATIONS, ReservationStatus
from agents.domain.states import TurnStatus, WaitReason
from agents.journal.locked_writes import lock_turn, resume_locked, try_lock_session
from agents.models import BudgetReservation, Runner
from foundation.db_retry import retry_after_deadlock

log = structlog.get_logger(__name__)


def settle_budgets(runner_id: UUID) -> int:
    """Settle what has an outcome and wake turns that have their money, if `runner_id` is the first live runner; return
    how many were woken."""
    # The first query is all there is to it while nothing is reserved.
    if not _has_open():
        return 0
    if Runner.objects.alive().order_by("pk").values_list("pk", flat=True).first() != runner_id:
        return 0
    return wake_for_budget(settle_and_reserve(is_full=True).wake)


def settle_open_reservations() -> int:
    """Settle what has an outcome and wake turns that have their money, whoever else does; return how many were
    woken."""
    return wake_for_budget(settle_and_reserve(is_full=True).wake) if _has_open() else 0


def _has_open() -> bool:
    """Whether something is open, or was reported after it was settled: nobody else may come by to book that where a
    budget is used up."""
    unconfirmed = ReservationStatus.UNCONFIRMED
    late = BudgetReservation.objects.filter(status=unconfirmed, reported_at__isnull=False)
    return BudgetReservation.objects.filter(status__in=OPEN_RESERVATIONS).union(late, all=True).exists()


def wake_for_budget(turns: Sequence[tuple[UUID, UUID]]) -> int:
    """Resume these turns, (session, turn), that wait for money; return how many did. Those whose session is locked at
    the moment are named again by the next pass."""
    woken = sum(_resume(session_id, turn_id) for session_id, turn_id in turns)
    if woken:
        log.info("turn.resumed", turns=woken, reason="budget")
    return woken


@retry_after_deadlock
def _resume(session_id: UUID, turn_id: UUID) -> bool:
    with transaction.atomic():
        session = try_lock_session(session_id)
        if session is None:
            return False
        turn = lock_turn(session, turn_id)
        is_waiting = turn.status == TurnStatus.WAITING and turn.wait_reason == WaitReason.BUDGET
        return is_waiting and resume_locked(session, turn, reason="budget")
