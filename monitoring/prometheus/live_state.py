"""The gauges: what is true now of turns, runners, routes, the scheduler and the database."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import Count
from django.db.models.functions import Now

from agents.budgets.window_sql import BUDGET_LABEL, PRESENT_PERIOD
from agents.domain.circuit_breaker import BreakerState, Verdict
from agents.domain.states import TERMINAL, TurnStatus
from agents.health_checks import turn_figures
from agents.models import IN_PRODUCTION, Handoff, RouteHealth, Runner, Turn
from agents.routing.route_status import read_breaker
from agents.sessions.health_checks import waiting_people
from health_checks.run import Measurements
from monitoring.prometheus import families
from monitoring.prometheus.families import Figures
from scheduling.health_checks import maintenance

# A runner that was silent for longer, or reported that it stopped, is not there any more.
GONE_AFTER: Final = timedelta(minutes=15)
# The newest ones: processes that crash at once, and models that nobody asks any more, leave rows behind.
MAX_RUNNERS: Final = 200
MAX_ROUTES: Final = 200
CREDENTIAL: Final = "*"
MAX_BUDGETS: Final = 100

_DATABASE: Final = """
SELECT pg_database_size(current_database()), (SELECT sum(numbackends) FROM pg_stat_database),
       current_setting('max_connections')::int,
       (SELECT count(*) FROM agents_connectionslot AS slot
        JOIN agents_webprocess AS process ON process.id = slot.process_id AND process.expires_at > now())
"""
# Those of which most is spent. A budget for each user has a window for each who has used any of it.
_BUDGETS: Final = f"""
SELECT {BUDGET_LABEL} AS label, b.unit, min(greatest(0, p.amount - coalesce(w.spent + w.reserved, 0))),
       max(coalesce(w.spent, 0) / nullif(p.amount, 0))
FROM agents_budget b {PRESENT_PERIOD}
LEFT JOIN agents_budgetwindow w ON w.budget_id = b.id AND w.starts_at = p.starts_at
GROUP BY 1, 2 ORDER BY 4 DESC NULLS LAST, 1 LIMIT {MAX_BUDGETS}
"""  # noqa: S608 - put together from constants
_TROUBLE: Final = """
SELECT (SELECT count(*) FROM agents_budgetwindow WHERE ends_at > now() AND overdraft > 0),
       (SELECT count(*) FROM agents_budgetdifference WHERE reviewed_at IS NULL)
"""


def read_live_state(figures: Figures, now: datetime) -> None:
    """Add the gauges to `figures`: some dozen small statements."""
    measurements = Measurements(now)
    _read_turns(figures, measurements)
    _read_runners(figures)
    _read_routes(figures, now)
    _read_budgets(figures)
    scheduler = maintenance(measurements)
    age = math.inf if scheduler.silent_seconds is None else scheduler.silent_seconds
    figures.set(families.SCHEDULER_HEARTBEAT, age)
    figures.set(families.JOBS_FAILED, scheduler.failed)
    _read_database(figures)


def _read_turns(figures: Figures, measurements: Measurements) -> None:
    turns = turn_figures(measurements)
    figures.set(families.QUEUE_DEPTH, turns.queued)
    figures.set(families.QUEUE_OLDEST, turns.oldest_seconds or 0.0)
    figures.set(families.STUCK_TURNS, turns.stuck)
    rows = Turn.objects.filter(finished_at=None).values_list("status").annotate(turns=Count("pk")).order_by()
    counts = dict(rows)
    for status in TurnStatus:
        if status not in TERMINAL:
            figures.set(families.OPEN_TURNS, counts.get(status.value, 0), status.value)
    handoffs = Handoff.objects.filter(IN_PRODUCTION).exclude(state=Handoff.State.RESOLVED).count()
    figures.set(families.HANDOFFS_OPEN, handoffs)
    people = waiting_people(measurements)
    figures.set(families.HANDOFFS_WAITING, people.waiting)
    figures.set(families.HANDOFF_WAIT, people.oldest_seconds or 0.0)
    figures.set(families.HANDOFFS_LATE, people.late)
    figures.set(families.HANDOFFS_UNATTENDED, people.unattended)
    figures.set(families.APPROVALS_OPEN, people.approvals)


def _read_runners(figures: Figures) -> None:
    for runner, is_up in _runners():
        name = str(runner)
        # In a container each process has the same host and pid as the one before it: the newest one counts.
        if (name,) not in figures.values.get(families.RUNNER_UP, {}):
            figures.set(families.RUNNER_UP, int(is_up), name)
            figures.set(families.RUNNER_TURNS, runner.running if is_up else 0, name)
            figures.set(families.RUNNER_CAPACITY, runner.capacity if is_up else 0, name)


def _runners() -> Iterator[tuple[Runner, bool]]:
    """The runners that have not stopped, newest first, and whether each takes turns."""
    present = Runner.objects.filter(heartbeat_at__gte=Now() - GONE_AFTER).exclude(status=Runner.Status.STOPPED)
    alive = set(present.alive().values_list("pk", flat=True))
    for runner in present.order_by("-heartbeat_at")[:MAX_RUNNERS]:
        yield runner, runner.pk in alive


def _read_routes(figures: Figures, now: datetime) -> None:
    # A route that was reached with several credentials has a row of each: the one used last counts.
    for route in reversed(RouteHealth.objects.order_by("-used_at")[:MAX_ROUTES]):
        figures.set(families.BREAKER_STATE, breaker_level(route, now), route.provider, route.model or CREDENTIAL)


def _read_budgets(figures: Figures) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_BUDGETS)
        for label, unit, remaining, used in cursor.fetchall():
            figures.set(families.BUDGET_REMAINING, float(remaining), label, unit)
            if used is not None:
                figures.set(families.BUDGET_USED, float(used), label, unit)
        cursor.execute(_TROUBLE)
        overdrawn, differences = cursor.fetchone()
    figures.set(families.BUDGETS_OVERDRAWN, overdrawn)
    figures.set(families.BUDGET_DIFFERENCES, differences)


def breaker_level(route: RouteHealth, now: datetime) -> int:
    """0: the route may be asked; 1: it is being tried, or the next call tries it; 2: nobody asks it."""
    breaker = read_breaker(route)
    match breaker.judge(now):
        case Verdict.ADMIT:
            return 0
        case Verdict.PROBE:
            return 1
        case Verdict.REFUSE:
            is_held = breaker.is_forced(now) or (breaker.blocked_until is not None and breaker.blocked_until > now)
            return 1 if breaker.state is BreakerState.HALF_OPEN and not is_held else 2


def _read_database(figures: Figures) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_DATABASE)
        size, used, allowed, open_connections = cursor.fetchone()
    figures.set(families.DATABASE_SIZE, size)
    figures.set(families.DATABASE_CONNECTIONS, int(used))
    figures.set(families.DATABASE_MAX_CONNECTIONS, allowed)
    figures.set(families.CONNECTIONS, open_connections)
