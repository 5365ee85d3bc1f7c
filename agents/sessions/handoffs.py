"""The user's side of a handoff: ask for a person, leave a message for one, go on with the agent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor, Scope
from agents.domain.handoffs import HandoffOutcome, HandoffPriority, HandoffSource, HandoffState
from agents.domain.message_parts import check_text, text_part
from agents.domain.serialization import person_name
from agents.domain.states import Priority
from agents.domain.titles import make_title
from agents.journal.admission import NewTurn
from agents.journal.handoff_writes import (
    MAX_REASON,
    find_unresolved,
    give_back_locked,
    handoff_settings,
    request_handoff_locked,
)
from agents.journal.locked_writes import lock_session, lock_turn
from agents.models import AgentSession, Handoff
from agents.permissions.duty import is_somebody_on_duty
from agents.sessions.accept import NOT_STORED, Accepted, check_key, find_replay, store_for_human_locked
from agents.sessions.access import access_session
from agents.sessions.errors import HandoffNotOffered
from foundation import strict_json
from foundation.db_retry import retry_after_deadlock, retry_after_lost_connection
from foundation.db_threads import start_in_db_thread
from foundation.errors import Conflict, InvalidInput
from foundation.ids import new_id
from ratelimits import count_message, refund_message
from ratelimits.limiter import consume, rate

__all__ = [
    "HandoffStatus",
    "leave_message",
    "read_handoff",
    "request_handoff",
    "request_handoff_locked",
    "request_human",
    "withdraw_handoff",
]

# Each request calls people; a repeat while one is open costs a token, too.
REQUESTS_PER_HOUR: Final = 30


@dataclass(frozen=True, slots=True)
class HandoffStatus:
    """A handoff as it is now. `state` is `pending` or `open` for users, whose agent or person answers; operators see a
    snoozed one, too. `on_duty`: whether somebody is there to answer now. `assignee` is the name that the user reads."""

    id: UUID
    session_id: UUID
    state: HandoffState
    is_human: bool
    reason: str
    requested_by: HandoffSource
    requested_at: datetime
    on_duty: bool
    assignee: str | None
    priority: HandoffPriority
    reply_due_at: datetime | None
    first_reply_at: datetime | None
    outcome: HandoffOutcome | None


@retry_after_deadlock
def request_handoff(actor: Actor, *, session_id: UUID, reason: str = "") -> HandoffStatus:
    """Ask for a person to take over one of the actor's sessions, and return the request; a repeat meets the first one.

    The agent goes on answering until somebody comes. `on_duty` says whether somebody is there: if not, the user may
    wait, leave a message or go on with the agent. Raises `NotFound`, `Forbidden`, `InvalidInput`, `RateLimited`, and
    `HandoffNotOffered` where the release has no button for it.
    """
    actor.require_scope(Scope.CHAT)
    reason = _clean_reason(reason)
    own = access_session(actor=actor, session_id=session_id)
    if not handoff_settings(own).offered:
        raise HandoffNotOffered
    _count_request(own)
    with transaction.atomic():
        session = lock_session(session_id)
        handoff = request_handoff_locked(session, by=HandoffSource.USER, reason=reason)
    return describe_handoff(session, handoff)


def read_handoff(actor: Actor, *, session_id: UUID) -> HandoffStatus | None:
    """The handoff of one of the actor's sessions that is not resolved, if there is one. Raises `NotFound`,
    `Forbidden`."""
    session = access_session(actor=actor, session_id=session_id)
    handoff = find_unresolved(session)
    return None if handoff is None else describe_handoff(session, handoff)


@retry_after_deadlock
def withdraw_handoff(actor: Actor, *, session_id: UUID) -> HandoffStatus | None:
    """Go on with the agent: nobody is wanted any more, and a person who answers hands the session back. Returns the
    resolved handoff; None, and nothing changes, if there is none. Raises `NotFound`, `Forbidden`."""
    actor.require_scope(Scope.CHAT)
    access_session(actor=actor, session_id=session_id)
    with transaction.atomic():
        session = lock_session(session_id)
        if (handoff := find_unresolved(session)) is None:
            return None
        give_back_locked(session, handoff, outcome=HandoffOutcome.WITHDRAWN, by=HandoffSource.USER)
    return describe_handoff(session, handoff)


def leave_message(actor: Actor, *, session_id: UUID, text: str, key: str | None = None) -> Accepted:
    """Store a message of the user for the person who comes next; the agent does not answer it, now or later.

    It asks for a person, if nobody was asked for, and that request has no end of its own: somebody reads it. With a
    `key`, a repeat returns the first outcome. Raises what `accept_message` and `request_handoff` raise.
    """
    actor.require_scope(Scope.CHAT)
    check_text(text, pointer="/text")
    if key is not None:
        check_key(key)
    own = access_session(actor=actor, session_id=session_id)
    if not handoff_settings(own).offered:
        raise HandoffNotOffered
    message_id = new_id()
    new = NewTurn(
        session_id=session_id,
        user_id=own.user_id,
        turn_id=message_id,
        message_id=message_id,
        parts=[text_part(text)],
        fingerprint=hashlib.sha256(strict_json.canonical({"left_for_a_person": text})).digest(),
        key=key if key is not None else f"auto-{message_id}",
        branch=False,
        parent=None,
        when_busy=None,
        priority=Priority.INTERACTIVE,
        title=make_title(text),
    )
    with count_message(user_id=own.user_id, key_id=actor.key_id, session_id=session_id, size_bytes=len(text.encode())):
        if find_unresolved(own) is None:
            _count_request(own)
        accepted = retry_after_lost_connection(lambda: _store_message(new), detail=NOT_STORED)
    if accepted.replayed:
        refund_message(user_id=own.user_id)
    return accepted


@retry_after_deadlock
def _store_message(new: NewTurn) -> Accepted:
    with transaction.atomic():
        session = lock_session(new.session_id)
        if (first := find_replay(new)) is not None:
            return first
        handoff = request_handoff_locked(session, by=HandoffSource.USER, reason="")
        accepted = store_for_human_locked(session, new)
        if session.controller == AgentSession.Controller.AGENT:
            Handoff.objects.filter(pk=handoff.pk).update(due_at=None, last_user_message_at=session.updated_at)
    return accepted


def request_human(session_id: UUID, turn_id: UUID, reason: str) -> str:
    """Ask for a person on behalf of the agent in its turn, and return words for the model; waits for a database thread.
    A repeat meets the first request. Raises `Conflict` when the turn is not at work any more."""
    return str(start_in_db_thread(_request_human, session_id, turn_id, reason).result())


@retry_after_deadlock
def _request_human(session_id: UUID, turn_id: UUID, reason: str) -> str:
    with transaction.atomic():
        session = lock_session(session_id)
        if session.active_turn_id != turn_id:
            # A person has taken over, or another runner has the turn.
            raise Conflict("The conversation has gone on without this call.")
        turn = lock_turn(session, turn_id)
        reason = _clean_reason(reason)
        request_handoff_locked(session, by=HandoffSource.TOOL, reason=reason, turn=turn)
        if is_somebody_on_duty(session.agent_id):
            return "A person was asked to take over, and will write here. Until then you answer."
    return (
        "A person was asked to take over, but nobody is there at the moment. Tell the user so, and that they may wait, "
        "leave a message, or go on with you."
    )


def describe_handoff(session: AgentSession, handoff: Handoff) -> HandoffStatus:
    """The handoff as it is now."""
    is_human = session.controller == AgentSession.Controller.HUMAN
    return HandoffStatus(
        id=handoff.pk,
        session_id=session.pk,
        state=HandoffState(handoff.state),
        is_human=is_human,
        reason=handoff.reason,
        requested_by=HandoffSource(handoff.requested_by),
        requested_at=handoff.requested_at,
        on_duty=is_somebody_on_duty(session.agent_id),
        assignee=person_name(handoff.assignee) if is_human else None,
        priority=HandoffPriority(handoff.priority),
        reply_due_at=handoff.reply_due_at,
        first_reply_at=handoff.first_reply_at,
        outcome=HandoffOutcome(handoff.outcome) if handoff.outcome else None,
    )


def _count_request(session: AgentSession) -> None:
    consume([(rate("handoff-requests", REQUESTS_PER_HOUR, 3600.0, leased=False), f"h:u:{session.user_id}")])


def _clean_reason(reason: str) -> str:
    if not isinstance(reason, str):
        raise InvalidInput("Text is expected.", pointer="/reason")
    strict_json.check_storable(reason, "/reason")
    if len(reason := reason.strip()) > MAX_REASON:
        raise InvalidInput(f"A reason has at most {MAX_REASON} characters.", pointer="/reason")
    return reason
