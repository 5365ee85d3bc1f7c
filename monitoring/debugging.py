"""Debug mode of a session or an agent: begin it, end it, and say what is in it.

All spans of its turns are recorded while it lasts. It always has an end, and ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.models import Agent, AgentSession
from foundation.clock import now
from foundation.errors import InvalidInput, NotFound
from foundation.visible_text import visible_text
from monitoring.models import DebugMode
from monitoring.role_permissions import CHANGE_DEBUG_MODE
from monitoring.spans.sampling import DebugTargets

MIN_SECONDS: Final = 60
MAX_SECONDS: Final = 7 * 86_400
DEFAULT_SECONDS: Final = 3_600
MAX_REASON: Final = 300


@transaction.atomic
def begin_debug_mode(
    actor: Actor,
    *,
    session_id: UUID | None = None,
    agent_id: UUID | None = None,
    seconds: float = DEFAULT_SECONDS,
    reason: str,
) -> DebugMode:
    """Put a session or an agent, one of the two, into debug mode and return it; one that is in it gets a new end.

    Raises `Forbidden`, `NotFound`, and `InvalidInput` for a time out of bounds and without a reason.
    """
    require_permission(actor, CHANGE_DEBUG_MODE)
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidInput("Debug mode lasts a minute at least and a week at most.", pointer="/seconds")
    reason = visible_text(reason).strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise InvalidInput(f"A reason of at most {MAX_REASON} characters is expected.", pointer="/reason")
    rows: QuerySet[Agent] | QuerySet[AgentSession]
    rows = (
        Agent.objects.filter(pk=agent_id) if agent_id is not None else AgentSession.objects.filter(pk__in=[session_id])
    )
    # The lock keeps two from beginning it at once.
    target = rows.select_for_update(no_key=True).first()
    if target is None:
        raise NotFound("There is no such session." if session_id is not None else "There is no such agent.")
    moment = now()
    of = Q(session=session_id) if session_id is not None else Q(agent=agent_id)
    earlier = DebugMode.objects.filter(of, ended_at=None)
    earlier.filter(until__lte=moment).update(ended_at=F("until"))
    earlier.update(ended_at=moment, ended_by=actor.name)
    mode = DebugMode.objects.create(
        session=session_id,
        agent_id=agent_id,
        reason=reason,
        begun_by=actor.name,
        begun_at=moment,
        until=moment + timedelta(seconds=seconds),
    )
    detail = {"until": mode.until.isoformat(), "reason": mode.reason}
    record_audit(actor, "debug_mode.begun", target=target, detail=detail)
    return mode


@transaction.atomic
def end_debug_mode(actor: Actor, mode_id: UUID) -> DebugMode:
    """End debug mode before its time and return it; one that has ended stays as it is. Raises `Forbidden`,
    `NotFound`."""
    require_permission(actor, CHANGE_DEBUG_MODE)
    mode = DebugMode.objects.select_for_update().filter(pk=mode_id).first()
    if mode is None:
        raise NotFound("There is no such debug mode.")
    if not is_active(mode):
        return mode
    mode.ended_at, mode.ended_by = now(), actor.name
    mode.save(update_fields=["ended_at", "ended_by"])
    record_audit(actor, "debug_mode.ended", target=mode)
    return mode


def is_active(mode: DebugMode) -> bool:
    """Whether `mode` lasts."""
    return mode.ended_at is None and mode.until > now()


def active_modes() -> QuerySet[DebugMode]:
    """Debug modes that last now."""
    return DebugMode.objects.filter(ended_at=None, until__gt=now())


def modes_of(session: AgentSession) -> Sequence[DebugMode]:
    """The debug modes that last now and in which `session` is, its own first."""
    of = Q(session=session.pk) | Q(agent=session.agent_id)
    return sorted(active_modes().filter(of), key=lambda mode: mode.session is None)


def read_debug_targets() -> DebugTargets:
    """The sessions and agents that are in debug mode now; one statement."""
    rows = list(active_modes().order_by().values_list("session", "agent"))
    return DebugTargets(
        frozenset(session for session, _ in rows if session is not None),
        frozenset(agent for _, agent in rows if agent is not None),
    )
