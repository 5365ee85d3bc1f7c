"""What operators do to routes: hold one open or closed for a time, and let go of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.domain.circuit_breaker import Breaker, ForcedState, force, lift
from agents.models import RouteHealth
from agents.permissions.role_permissions import FORCE_ROUTE
from agents.routing.route_rows import RouteKey, RouteRow, move_route
from foundation.errors import InvalidInput, NotFound

MIN_SECONDS: Final = 10.0
MAX_SECONDS: Final = 7 * 86_400.0


@transaction.atomic
def force_route(actor: Actor, *, route_id: int, state: ForcedState, seconds: float) -> RouteHealth:
    """Hold a route in `state` for so long, and return it: open, nobody asks it; closed, it is asked whatever happens,
    unless its provider wants a pause.

    Raises `Forbidden`, `NotFound`, `InvalidInput` for a time out of bounds and for a credential, which has no breaker.
    """
    require_permission(actor, FORCE_ROUTE)
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidInput("Force a route for ten seconds at least and for a week at most.", pointer="/seconds")
    action = "route.forced_open" if state is ForcedState.OPEN else "route.forced_closed"

    def change(breaker: Breaker, now: datetime) -> Breaker:
        return force(breaker, state, now + timedelta(seconds=seconds))

    route = _find(route_id)
    if not route.model:
        raise InvalidInput("This is a credential: force its models, one by one.")
    return _move(actor, action, route, change, seconds=seconds)


@transaction.atomic
def release_route(actor: Actor, *, route_id: int) -> RouteHealth:
    """Let a route be asked again, and return it: what was forced ends, and so do a pause that its provider wanted and
    the time that its breaker is open, after which one call finds out whether it works. Raises `Forbidden`, `NotFound`.
    """
    require_permission(actor, FORCE_ROUTE)
    return _move(actor, "route.released", _find(route_id), lift)


def _find(route_id: int) -> RouteHealth:
    route = RouteHealth.objects.filter(pk=route_id).first()
    if route is None:
        raise NotFound("There is no such route here.")
    return route


def _move(
    actor: Actor, action: str, route: RouteHealth, change: Callable[[Breaker, datetime], Breaker], **detail: Any
) -> RouteHealth:
    def move(row: RouteRow, now: datetime) -> RouteRow:
        return RouteRow(
            key=row.key, id=row.id, revision=row.revision, breaker=change(row.breaker, now), last_error=row.last_error,
            last_error_at=row.last_error_at, changed_at=row.changed_at,
        )  # fmt: skip

    was = route.forced or route.state
    move_route(RouteKey(route.provider, route.model, route.credential), move)
    record_audit(actor, action, target=route, detail={"was": was, **detail})
    route.refresh_from_db()
    return route
