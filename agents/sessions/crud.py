"""Create, update and delete sessions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from accounts.actor import Actor, Scope
from accounts.permissions import require_permission
from agents.domain.deployments import DeploymentState
from agents.domain.events import EventType, SessionData
from agents.domain.serialization import session_shape
from agents.domain.session_purposes import SessionPurpose
from agents.journal.locked_writes import append_locked, lock_session, try_lock_session
from agents.journal.rollups import count_before_deletion
from agents.models import (
    IS_OVER,
    Agent,
    AgentSession,
    Approval,
    ApprovalPass,
    Event,
    Feedback,
    Handoff,
    HandoffNote,
    HistorySummary,
    Message,
    Step,
    Turn,
    TurnSchedule,
    TurnText,
    UtilityCall,
)
from agents.permissions.agents import visible_agents
from agents.permissions.role_permissions import CHANGE_DRAFT
from agents.releases.release_choice import CHOICES, release_for
from agents.sessions.access import access_session
from foundation import strict_json
from foundation.clock import now
from foundation.errors import Conflict, InvalidInput, PreconditionFailed, TooLarge, Unauthenticated
from foundation.ids import new_id
from foundation.names import clean_name
from foundation.sentinels import UNSET, Unset
from memory.writing import forget_sessions
from ratelimits import guard_storage
from rest.idempotency import erase_responses

MAX_TITLE = 200
MAX_METADATA_BYTES = 16 * 1024
# They are in nobody's list of chats, and the candidate is live or gone by then.
_STAGING_LIFE = timedelta(days=30)


def create_session(
    actor: Actor,
    *,
    agent_slug: str,
    title: str = "",
    metadata: Mapping[str, Any] | None = None,
    purpose: SessionPurpose = SessionPurpose.PRODUCTION,
) -> AgentSession:
    """A new session on the release that `release_for` gives its user; with the `purpose` staging on the candidate of
    the agent's open deployment, for builders. Other purposes have verbs of their own.

    Raises `InvalidInput`, also for an agent that the actor may not use, `TooLarge`, `RateLimited`, `Forbidden`,
    `Unauthenticated`, and `Conflict` for staging where no deployment is open."""
    if actor.user_id is not None:
        guard_storage(user_id=actor.user_id, size_bytes=_stored_bytes(title, metadata))
    match purpose:
        case SessionPurpose.PRODUCTION:
            return insert_session(actor, agent_slug=agent_slug, title=title, metadata=metadata)
        case SessionPurpose.STAGING:
            return _insert_staging_session(actor, agent_slug=agent_slug, title=title, metadata=metadata)
    raise InvalidInput("Only a session of staging can be asked for.", pointer="/purpose")


def _insert_staging_session(
    actor: Actor, *, agent_slug: str, title: str, metadata: Mapping[str, Any] | None
) -> AgentSession:
    require_permission(actor, CHANGE_DRAFT)
    agent = _get_agent(actor, agent_slug)
    deployment = agent.deployment
    if deployment is None or deployment.state == DeploymentState.DRAFT:
        raise Conflict("No deployment of this agent is under way, so there is no candidate to talk to.")
    return insert_session(
        actor,
        agent_slug=agent_slug,
        # It is not named by its first message, because it is not listed.
        title=title or f"Candidate {deployment.candidate.number} of {agent.name}",
        metadata=metadata,
        listed=False,
        expires_at=now() + _STAGING_LIFE,
        purpose=SessionPurpose.STAGING,
        release=deployment.candidate,
    )


def insert_session(
    actor: Actor,
    *,
    agent_slug: str,
    title: str = "",
    metadata: Mapping[str, Any] | None = None,
    session_id: UUID | None = None,
    listed: bool = True,
    expires_at: datetime | None = None,
    **values: Any,
) -> AgentSession:
    """Like `create_session`, for a caller that has counted the bytes. `values` are those of further columns.

    A session that is not `listed` is not in its user's list of chats; after `expires_at` it is deleted, unless it has
    been used recently (`delete_expired_sessions`).
    """
    actor.require_scope(Scope.CHAT)
    if actor.user_id is None:
        raise Unauthenticated
    return insert_session_row(
        _get_agent(actor, agent_slug),
        user_id=actor.user_id,
        session_id=session_id or new_id(),
        title=_clean_title(title),
        metadata=_clean_metadata({} if metadata is None else metadata),
        listed=listed,
        expires_at=expires_at,
        **values,
    )


def _get_agent(actor: Actor, slug: str) -> Agent:
    agent = visible_agents(actor).select_related(*CHOICES).filter(slug=slug).first()
    if agent is None:
        raise InvalidInput("There is no such agent.", pointer="/agent")
    return agent


def insert_session_row(agent: Agent, *, user_id: int, session_id: UUID, **values: Any) -> AgentSession:
    """Insert a session with `agent`, which has a live release, for a caller that has checked everything else: on the
    release that `release_for` gives its user, unless one is among the `values`."""
    release = values.pop("release", None) or release_for(agent, str(user_id))
    return AgentSession.objects.create(id=session_id, user_id=user_id, agent=agent, release=release, **values)


def update_session(
    actor: Actor,
    *,
    session_id: UUID,
    expected_version: int | None,
    title: str | Unset = UNSET,
    metadata: Mapping[str, Any] | Unset = UNSET,
    head: UUID | Unset = UNSET,
) -> AgentSession:
    """Change title, metadata, or the branch that people see: the one that ends with the message `head`, which the next
    message follows. Returns the session.

    `expected_version` None skips the check of the version. Raises `NotFound`, `InvalidInput`, `TooLarge`,
    `RateLimited`, and `PreconditionFailed` when the version is another one.
    """
    if actor.user_id is not None:
        guard_storage(
            user_id=actor.user_id,
            size_bytes=_stored_bytes(
                "" if isinstance(title, Unset) else title, None if isinstance(metadata, Unset) else metadata
            ),
        )
    return _update_session(
        actor, session_id=session_id, expected_version=expected_version, title=title, metadata=metadata, head=head
    )


@transaction.atomic
def _update_session(
    actor: Actor,
    *,
    session_id: UUID,
    expected_version: int | None,
    title: str | Unset,
    metadata: Mapping[str, Any] | Unset,
    head: UUID | Unset,
) -> AgentSession:
    session = _lock_own_session(actor, session_id, expected_version)
    if not isinstance(title, Unset):
        session.title = _clean_title(title)
    if not isinstance(metadata, Unset):
        session.metadata = _clean_metadata(metadata)
    if not isinstance(head, Unset):
        session.head_message_id = _check_head(session, head)
    session.version += 1
    session.save(update_fields=["title", "metadata", "version", "head_message_id"])
    append_locked(session, [(EventType.SESSION_UPDATED, SessionData(session=session_shape(session)))])
    return session


@transaction.atomic
def delete_session(actor: Actor, *, session_id: UUID, expected_version: int | None) -> None:
    """Delete a session with its messages. Raises `NotFound`, `PreconditionFailed` when the version is another one, and
    `Conflict` while a turn is open."""
    session = _lock_own_session(actor, session_id, expected_version)
    if session.open_turns:
        raise Conflict("A turn of this session is still open; stop it first.")
    _erase_locked(session)


def delete_expired_sessions(*, limit: int) -> int:
    """Delete up to `limit` expired sessions, oldest first, and return how many.

    One that is locked is left for the next run, one that has got a message, through whatever interface, is kept as
    long as after a client's request, and one that a schedule goes on in, or for which a person is wanted, as long as
    that is not over.
    """
    expired = AgentSession.objects.filter(
        ~Exists(_schedules_to_come(OuterRef("pk"))),
        ~Exists(_unresolved_handoffs(OuterRef("pk"))),
        expires_at__lt=Now(),
        open_turns=0,
        updated_at__lt=_unused_since(),
    ).order_by("expires_at")
    return sum(_delete_expired(session_id) for session_id in list(expired.values_list("pk", flat=True)[:limit]))


@transaction.atomic
def _delete_expired(session_id: UUID) -> bool:
    session = try_lock_session(session_id)
    # It may have been used between the query and the lock.
    if session is None or session.open_turns or session.expires_at is None or session.expires_at > now():
        return False
    if session.updated_at >= _unused_since() or _schedules_to_come(session_id).exists():
        return False
    if _unresolved_handoffs(session_id).exists():
        return False
    _erase_locked(session)
    return True


def _schedules_to_come(session: UUID | OuterRef) -> QuerySet[TurnSchedule]:
    return TurnSchedule.objects.filter(agent_session=session).exclude(IS_OVER)


def _unresolved_handoffs(session: UUID | OuterRef) -> QuerySet[Handoff]:
    return Handoff.objects.filter(agent_session=session).exclude(state=Handoff.State.RESOLVED)


def _unused_since() -> datetime:
    return now() - timedelta(hours=settings.BANDSTAND.client_session_hours)


def _erase_locked(session: AgentSession) -> None:
    count_before_deletion([session.pk])
    for rows_of_turns in (Step, TurnText):
        rows_of_turns.objects.filter(turn__agent_session=session).delete()
    for rows in (
        Feedback,
        Approval,
        ApprovalPass,
        HandoffNote,
        Handoff,
        Event,
        HistorySummary,
        Message,
        UtilityCall,
        TurnSchedule,
        Turn,
    ):
        # Plain deletes by the session: the cascade would read every row first.
        rows.objects.filter(agent_session=session)._raw_delete("default")
    session_id = session.pk
    session.delete()
    # Last: whoever remembers its last turn just now has committed by then, or finds it gone.
    forget_sessions([session_id])
    erase_responses([session_id])


def _lock_own_session(actor: Actor, session_id: UUID, expected_version: int | None) -> AgentSession:
    actor.require_scope(Scope.CHAT)
    access_session(actor=actor, session_id=session_id)
    session = lock_session(session_id)
    if expected_version is not None and session.version != expected_version:
        raise PreconditionFailed
    return session


def _check_head(session: AgentSession, head: UUID) -> UUID:
    if not Message.objects.filter(pk=head, agent_session=session).exists():
        raise InvalidInput("There is no such message in this session.", pointer="/head")
    return head


def _stored_bytes(title: str, metadata: Mapping[str, Any] | None) -> int:
    """About how much the two take; what cannot be stored is refused later."""
    try:
        return len(title) + (len(strict_json.dumps(dict(metadata))) if metadata else 0)
    except (TypeError, ValueError):
        return 0


def _clean_title(title: str) -> str:
    # What is many times longer is not that short in NFC and without what is invisible.
    if not isinstance(title, str) or len(title) > 10 * MAX_TITLE:
        raise InvalidInput(f"A title has at most {MAX_TITLE} characters.", pointer="/title")
    strict_json.check_storable(title, "/title")
    if len(name := clean_name(title)) > MAX_TITLE:
        raise InvalidInput(f"A title has at most {MAX_TITLE} characters.", pointer="/title")
    return name


def _clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise InvalidInput("An object is expected.", pointer="/metadata")
    strict_json.check_storable(dict(metadata), "/metadata")
    if len(strict_json.dumps(dict(metadata))) > MAX_METADATA_BYTES:
        raise TooLarge(f"Metadata may have at most {MAX_METADATA_BYTES} bytes.", pointer="/metadata")
    return dict(metadata)
