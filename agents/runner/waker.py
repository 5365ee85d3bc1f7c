"""The waker: turns that wait for a route resume when it may be asked again. One finds out whether it works, and when it
has closed more and more of them follow, in the order of priority and age.

Every runner has one; only the first of the live runners does the work, so that their number changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, F, SmallIntegerField, Value, When
from django.db.models.functions import Now

from agents.domain.circuit_breaker import MAX_RESUMED, resume_allowance
from agents.domain.states import BACKGROUND_PATIENCE, Priority, StepKind, StepStatus, TurnStatus
from agents.journal.locked_writes import lock_turn, resume_locked, try_lock_session
from agents.models import RouteHealth, Runner, Step, Turn
from agents.routing.route_status import read_breaker
from foundation.clock import now
from foundation.db_retry import retry_after_deadlock
from foundation.ids import lowest_id

log = structlog.get_logger(__name__)

# The waiting turns that a pass looks at. Those behind them wait for their own time.
MAX_WAITING = 1_000


def wake_turns(runner_id: UUID) -> int:
    """Resume turns whose route may be asked, if `runner_id` is the first live runner; return how many."""
    is_aged = When(pk__lt=lowest_id(now() - BACKGROUND_PATIENCE), then=Value(Priority.INTERACTIVE.value))
    order = Case(is_aged, default=F("priority"), output_field=SmallIntegerField())
    in_order = Turn.objects.filter(status=TurnStatus.RETRY_WAIT).order_by(order, "pk")
    waiting = list(in_order.values_list("pk", "agent_session_id", "user_id")[:MAX_WAITING])
    # The first query is all there is to it while nobody waits.
    if not waiting or Runner.objects.alive().order_by("pk").values_list("pk", flat=True).first() != runner_id:
        return 0
    routes = _awaited_routes([turn_id for turn_id, _, _ in waiting])
    allowances, rooms = _allowances(), _rooms()
    for route, number in _resuming(rooms).items():
        allowances[route] -= number
    woken = 0
    for turn_id, session_id, user_id in waiting:
        free = next((route for route in routes.get(turn_id, ()) if allowances[route] > 0), None)
        if free is not None and rooms[user_id] > 0 and _resume(session_id, turn_id):
            allowances[free] -= 1
            rooms[user_id] -= 1
            woken += 1
    if woken:
        log.info("turn.resumed", turns=woken)
    return woken


def _awaited_routes(turn_ids: Sequence[UUID]) -> dict[UUID, Sequence[str]]:
    """The routes that each turn waits for, if it waits for any."""
    steps = Step.objects.filter(turn__in=turn_ids, kind=StepKind.MODEL, status=StepStatus.INTENT)
    return {turn_id: routes or () for turn_id, routes in steps.values_list("turn_id", "details__waits_for")}


def _rooms() -> defaultdict[int, int]:
    """By user, how many turns more may be claimed: one that is woken beyond that asks no route, and others would wait
    for it."""
    limit = settings.BANDSTAND.running_turns_per_user
    running = Turn.objects.filter(lease_expires_at__isnull=False).values_list("user_id")
    rooms: defaultdict[int, int] = defaultdict(lambda: limit)
    for user_id, number in running.annotate(Count("pk")).order_by():
        rooms[user_id] -= number
    return rooms


def _resuming(rooms: defaultdict[int, int]) -> Counter[str]:
    """By route, the turns that were woken for it and can be claimed, which takes `rooms`, but are not claimed yet."""
    steps = Step.objects.filter(
        turn__status=TurnStatus.QUEUED, turn__resumes=True, kind=StepKind.MODEL, status=StepStatus.INTENT
    )
    found: Counter[str] = Counter()
    for user_id, routes in steps.order_by("turn_id").values_list("turn__user_id", "details__waits_for"):
        if rooms[user_id] > 0:
            rooms[user_id] -= 1
            found.update(routes or ())
    return found


def _allowances() -> defaultdict[str, int]:
    """How many turns may resume for each route now. One without a row has no trouble."""
    allowances: defaultdict[str, int] = defaultdict(lambda: MAX_RESUMED)
    resting: set[tuple[str, str]] = set()
    rows = list(RouteHealth.objects.annotate(at=Now()))
    for row in rows:
        if not row.model and resume_allowance(read_breaker(row), row.at, row.changed_at) == 0:
            resting.add((row.provider, row.credential))
    for row in rows:
        if row.model:
            is_resting = (row.provider, row.credential) in resting
            number = 0 if is_resting else _bounded_by_pace(row, row.at)
            # Processes may have several credentials: each may answer.
            allowances[str(row)] = max(number, allowances.get(str(row), 0))
    return allowances


def _bounded_by_pace(row: RouteHealth, at: datetime) -> int:
    number = resume_allowance(read_breaker(row), at, row.changed_at)
    if row.paced_until is not None and row.paced_until > at and row.pace_seconds:
        return min(number, max(1, int(1 / row.pace_seconds)))
    return number


@retry_after_deadlock
def _resume(session_id: UUID, turn_id: UUID) -> bool:
    """Resume the turn, unless somebody else has it in hand; False then."""
    with transaction.atomic():
        session = try_lock_session(session_id)
        if session is None:
            return False
        turn = lock_turn(session, turn_id)
        return turn.status == TurnStatus.RETRY_WAIT and resume_locked(session, turn, reason="route_free")
