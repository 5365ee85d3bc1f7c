"""Access to sessions, turns and messages. Those of other users raise `NotFound`, like those that do not exist."""

from __future__ import annotations

from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce, JSONObject

from accounts.actor import Actor, Scope
from accounts.permissions import require_permission
from agents.domain.approvals import ApprovalState
from agents.domain.states import StepKind, StepStatus
from agents.models import AgentSession, Approval, Message, Step, Turn
from agents.permissions.agents import visible_agent_filter
from foundation.errors import NotFound, Unauthenticated


def user_sessions(actor: Actor) -> QuerySet[AgentSession]:
    """The actor's own sessions with agents that the actor may use, with agent and release.

    Raises `Forbidden`, `Unauthenticated`.
    """
    user_id = _require_reader(actor)
    sessions = AgentSession.objects.filter(visible_agent_filter(user_id, "agent_id"), user_id=user_id)
    return sessions.select_related("agent", "release")


def access_session(*, actor: Actor, session_id: UUID) -> AgentSession:
    """One of the actor's sessions. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    session = user_sessions(actor).filter(pk=session_id).first()
    if session is None:
        raise NotFound
    return session


def access_turn(*, actor: Actor, turn_id: UUID) -> Turn:
    """A turn of one of the actor's sessions, with that session, with `position`: the number of open turns of the
    session before it, with `needs_approval`: see `NEEDS_APPROVAL`, and with `calls`: see `MODEL_CALLS`. Raises
    `NotFound`, `Forbidden`, `Unauthenticated`."""
    user_id = _require_reader(actor)
    turn = (
        Turn.objects.filter(
            visible_agent_filter(user_id, "agent_session__agent_id"), pk=turn_id, agent_session__user_id=user_id
        )
        .select_related("agent_session", "agent_session__agent", "agent_session__release")
        .annotate(position=_POSITION, needs_approval=NEEDS_APPROVAL, calls=MODEL_CALLS)
        .first()
    )
    if turn is None:
        raise NotFound
    return turn


def operate_session(*, actor: Actor, session_id: UUID, permission: str) -> AgentSession:
    """Any user's session, for actors with `permission`. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, permission)
    session = AgentSession.objects.select_related("agent", "release").filter(pk=session_id).first()
    if session is None:
        raise NotFound
    return session


def operate_turn(*, actor: Actor, turn_id: UUID, permission: str) -> Turn:
    """Any user's turn, for actors with `permission`. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, permission)
    turn = Turn.objects.filter(pk=turn_id).first()
    if turn is None:
        raise NotFound
    return turn


def access_message(*, actor: Actor, message_id: UUID) -> Message:
    """A message of one of the actor's sessions. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    user_id = _require_reader(actor)
    message = Message.objects.filter(
        visible_agent_filter(user_id, "agent_session__agent_id"), pk=message_id, agent_session__user_id=user_id
    ).first()
    if message is None:
        raise NotFound
    return message


def _require_reader(actor: Actor) -> int:
    actor.require_scope(Scope.READ)
    if actor.user_id is None:
        raise Unauthenticated
    return actor.user_id


# A turn's model calls that have an outcome, oldest first, for `agents.domain.serialization.calls_shape`.
MODEL_CALLS = ArraySubquery(
    Step.objects.filter(turn_id=OuterRef("pk"), kind=StepKind.MODEL)
    .exclude(Q(status=StepStatus.INTENT) | Q(name=""))
    .order_by("number")
    .values(
        call=JSONObject(
            route="name",
            answered=ExpressionWrapper(Q(status=StepStatus.DONE), output_field=BooleanField()),
        )
    )
)

# Whether calls of a turn wait for a person.
NEEDS_APPROVAL = Exists(Approval.objects.filter(turn=OuterRef("pk"), state=ApprovalState.PENDING))

_OPEN = Turn.objects.filter(agent_session=OuterRef("agent_session"), finished_at__isnull=True)
_POSITION = Coalesce(
    Subquery(
        _OPEN.filter(ordinal__lt=OuterRef("ordinal"))
        .order_by()
        .values("agent_session")
        .annotate(n=Count("*"))
        .values("n"),
        output_field=IntegerField(),
    ),
    Value(0),
)
