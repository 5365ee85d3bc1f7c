"""The operators' side of a handoff: take a session over, answer its user, leave notes, and give it back.

Every verb needs the permission to answer and the right to read the transcripts of the session's agent, and is audited
without what was said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.models import User
from agents.domain.events import EventType
from agents.domain.handoffs import HandoffOutcome, HandoffPriority, HandoffSource, HandoffState
from agents.domain.message_parts import check_text, text_part
from agents.domain.serialization import person_name
from agents.journal.handoff_writes import (
    assign_locked,
    find_unresolved,
    give_back_locked,
    note_reply_locked,
    take_control_locked,
)
from agents.journal.locked_writes import append_messages_locked, database_now, lock_session
from agents.models import AgentSession, Handoff, HandoffNote, Message
from agents.permissions.role_permissions import ANSWER_HANDOFF
from agents.permissions.transcripts import can_read_transcript, require_transcript
from agents.sessions.accept import NOT_STORED, Accepted, accepted_seq, check_key
from agents.sessions.access import operate_session
from agents.sessions.errors import AnsweredByAnother, NotHandedOff
from agents.sessions.handoffs import HandoffStatus, describe_handoff
from foundation import strict_json
from foundation.clock import now
from foundation.db_retry import retry_after_deadlock, retry_after_lost_connection
from foundation.errors import IdempotencyMismatch, InvalidInput, Unauthenticated
from foundation.ids import new_id
from ratelimits import guard_storage

MAX_NOTE_BYTES: Final = 16 * 1024
LONGEST_SNOOZE: Final = timedelta(days=30)
# With the prefix, whose space no key of a client has, the column has room for it.
LONGEST_REPLY_KEY: Final = 200
_REPLY_KEY: Final = "reply "


@dataclass(slots=True)
class _Case:
    """A session that an operator acts on, locked, and its handoff, if it has one that is not resolved."""

    actor: Actor
    operator: User
    session: AgentSession
    handoff: Handoff | None

    def require_handoff(self) -> Handoff:
        """The handoff. Raises `NotHandedOff` where there is none."""
        if self.handoff is None:
            raise NotHandedOff
        return self.handoff

    def check_assignee(self, *, take_over: bool) -> None:
        """Raise `AnsweredByAnother` if somebody else is to answer, unless the operator takes over on purpose."""
        other = self.handoff.assignee if self.handoff else None
        if other is not None and other.pk != self.operator.pk and not take_over:
            raise AnsweredByAnother(f"{operator_name(other)} answers already.")

    def take_control(self) -> Handoff:
        """Let the operator control the session, if they do not yet; the audit has it."""
        previous = self.handoff.assignee_id if self.handoff else None
        was_human = self.session.controller == AgentSession.Controller.HUMAN
        self.handoff = handoff = take_control_locked(self.session, user=self.operator)
        if not was_human or previous != self.operator.pk:
            self.audit(
                "handoff.claimed",
                {"requested_by": str(handoff.requested_by), **self.describe_previous_assignee(previous)},
            )
        return handoff

    def describe_previous_assignee(self, assignee_id: int | None) -> dict[str, int]:
        """What the audit says of whom the operator took the session from; nothing where that is nobody else."""
        return {} if assignee_id in (None, self.operator.pk) else {"from": assignee_id}

    def audit(self, action: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record what the operator did to the session."""
        about = {"handoff": str(self.handoff.pk)} if self.handoff else {}
        record_audit(self.actor, action, target=self.session, detail={**about, **(detail or {})})

    def describe(self) -> HandoffStatus:
        """The handoff as it is now."""
        return describe_handoff(self.session, self.require_handoff())


@contextmanager
def _open_case(actor: Actor, session_id: UUID) -> Iterator[_Case]:
    """A transaction that holds the session's lock. Raises `Forbidden`, `NotFound`, `Unauthenticated`."""
    operator = _require_operator(actor, session_id)
    with transaction.atomic():
        session = lock_session(session_id)
        yield _Case(actor, operator, session, find_unresolved(session))


def _require_operator(actor: Actor, session_id: UUID) -> User:
    session = operate_session(actor=actor, session_id=session_id, permission=ANSWER_HANDOFF)
    require_transcript(actor, session.agent)
    if actor.user_id is None:
        raise Unauthenticated
    return User.objects.get(pk=actor.user_id)


def operator_name(user: User) -> str:
    """How other operators read the name of an operator."""
    return user.get_full_name() or user.get_username()


@retry_after_deadlock
def claim_handoff(actor: Actor, *, session_id: UUID, take_over: bool = False) -> HandoffStatus:
    """Take control of a session, whether anybody was asked for or not: the actor answers in place of the agent.

    A repeat changes nothing. Raises `Forbidden`, `NotFound`, and `AnsweredByAnother` while somebody else has it, unless
    `take_over` is set.
    """
    with _open_case(actor, session_id) as case:
        case.check_assignee(take_over=take_over)
        case.take_control()
        return case.describe()


def reply_as_human(actor: Actor, *, session_id: UUID, text: str, key: str, take_over: bool = False) -> Accepted:
    """Answer the user of a session in place of the agent; this takes control by itself, as `claim_handoff` does.

    A repeat with the same `key` stores nothing and takes no control. Raises also `InvalidInput`, `TooLarge`,
    `RateLimited`, `IdempotencyMismatch`, and `Unavailable` when the database cannot be reached.
    """
    check_text(text, pointer="/text")
    check_key(key)
    if len(key) > LONGEST_REPLY_KEY:
        raise InvalidInput(f"This key has at most {LONGEST_REPLY_KEY} characters.", pointer="/idempotency_key")
    operator = _require_operator(actor, session_id)
    guard_storage(user_id=operator.pk, size_bytes=len(text.encode()))
    message = Message(
        id=new_id(),
        author=Message.Author.HUMAN,
        parts=[text_part(text, by=person_name(operator) or "")],
        idempotency_key=_REPLY_KEY + key,
        fingerprint=hashlib.sha256(strict_json.canonical({"reply": text})).digest(),
    )
    return retry_after_lost_connection(
        lambda: _reply(actor, session_id=session_id, message=message, take_over=take_over), detail=NOT_STORED
    )


@retry_after_deadlock
def _reply(actor: Actor, *, session_id: UUID, message: Message, take_over: bool) -> Accepted:
    with _open_case(actor, session_id) as case:
        if (first := _find_reply(message, session_id)) is not None:
            return first
        case.check_assignee(take_over=take_over)
        handoff = case.take_control()
        session = case.session
        message.parent_id = session.head_message_id
        session.updated_at = now()
        session.save(update_fields=["updated_at"])
        seq = append_messages_locked(session, [message])
        note_reply_locked(handoff)
        case.audit("handoff.replied", {"message": str(message.pk)})
    return Accepted(None, message.pk, seq, message.ordinal, "stored", replayed=False)


def _find_reply(message: Message, session_id: UUID) -> Accepted | None:
    """The outcome of the first reply with the key of `message`, if there was one. Raises `IdempotencyMismatch` when
    that was another."""
    first = Message.objects.filter(agent_session_id=session_id, idempotency_key=message.idempotency_key).first()
    if first is None:
        return None
    if bytes(first.fingerprint or b"") != message.fingerprint:
        raise IdempotencyMismatch
    seq = accepted_seq(session_id, EventType.MESSAGE_CREATED, None, message=str(first.pk))
    return Accepted(None, first.pk, seq, first.ordinal, "stored", replayed=first.pk != message.pk)


@retry_after_deadlock
def add_note(actor: Actor, *, session_id: UUID, text: str, key: str) -> HandoffNote:
    """Leave a note about a session for other operators: neither its user nor its agent reads it.

    A repeat with the same `key` stores nothing and returns the first. Raises `Forbidden`, `NotFound`, `InvalidInput`,
    `TooLarge`, `RateLimited`, and `IdempotencyMismatch` for another text.
    """
    check_text(text, pointer="/text", max_bytes=MAX_NOTE_BYTES)
    check_key(key)
    operator = _require_operator(actor, session_id)
    guard_storage(user_id=operator.pk, size_bytes=len(text.encode()))
    with _open_case(actor, session_id) as case:
        first = HandoffNote.objects.filter(agent_session=case.session, idempotency_key=key).first()
        if first is not None:
            if first.text != text:
                raise IdempotencyMismatch
            return first
        note = HandoffNote.objects.create(agent_session=case.session, author=operator, text=text, idempotency_key=key)
        case.audit("handoff.noted", {"note": str(note.pk)})
    return note


def return_to_agent(actor: Actor, *, session_id: UUID, take_over: bool = False) -> HandoffStatus:
    """Let the agent answer again: it goes on with what the user wanted, with the next message. Raises `Forbidden`,
    `NotFound`, `NotHandedOff`, and `AnsweredByAnother` while somebody else has it, unless `take_over` is set."""
    return _give_back(actor, session_id, HandoffOutcome.RETURNED, "handoff.given_back", take_over=take_over)


def resolve_handoff(actor: Actor, *, session_id: UUID, take_over: bool = False) -> HandoffStatus:
    """Resolve a handoff: what the user wanted is done. The agent answers what comes next. Raises `Forbidden`,
    `NotFound`, `NotHandedOff`, and `AnsweredByAnother` while somebody else has it, unless `take_over` is set."""
    return _give_back(actor, session_id, HandoffOutcome.RESOLVED, "handoff.closed", take_over=take_over)


@retry_after_deadlock
def _give_back(
    actor: Actor, session_id: UUID, outcome: HandoffOutcome, action: str, *, take_over: bool
) -> HandoffStatus:
    with _open_case(actor, session_id) as case:
        case.check_assignee(take_over=take_over)
        handoff = case.require_handoff()
        give_back_locked(case.session, handoff, outcome=outcome, by=HandoffSource.OPERATOR, user=case.operator)
        case.audit(action, case.describe_previous_assignee(handoff.assignee_id))
        return case.describe()


@retry_after_deadlock
def snooze_handoff(actor: Actor, *, session_id: UUID, until: datetime) -> HandoffStatus:
    """Put a handoff out of sight until a time, or until the user writes. Who controls the session does not change.
    Raises `Forbidden`, `NotFound`, `NotHandedOff`, and `InvalidInput` for a time that has passed or is far away."""
    with _open_case(actor, session_id) as case:
        at, handoff = database_now(), case.require_handoff()
        if not at < until <= at + LONGEST_SNOOZE:
            raise InvalidInput(f"A time within the next {LONGEST_SNOOZE.days} days is expected.", pointer="/until")
        handoff.state = HandoffState.SNOOZED.value
        handoff.snoozed_at, handoff.snoozed_until, handoff.due_at = at, until, until
        handoff.save(update_fields=["state", "snoozed_at", "snoozed_until", "due_at"])
        case.audit("handoff.snoozed", {"until": until.isoformat()})
        return case.describe()


@retry_after_deadlock
def assign_handoff(actor: Actor, *, session_id: UUID, assignee_id: int | None) -> HandoffStatus:
    """Say who is to answer; None: whoever comes. Who controls the session does not change. Raises `Forbidden`,
    `NotFound`, `NotHandedOff`, and `InvalidInput` for somebody who may not answer here."""
    with _open_case(actor, session_id) as case:
        handoff, assignee = case.require_handoff(), None
        if assignee_id is not None:
            assignee = User.objects.filter(pk=assignee_id, is_active=True).first()
            if assignee is None or not _may_answer(assignee, case.session):
                raise InvalidInput("This person may not answer here.", pointer="/assignee")
        if handoff.assignee_id != assignee_id:
            case.audit("handoff.assigned", {"from": handoff.assignee_id, "to": assignee_id})
        assign_locked(case.session, handoff, user=assignee)
        return case.describe()


def _may_answer(user: User, session: AgentSession) -> bool:
    return user.has_perm(ANSWER_HANDOFF) and can_read_transcript(user, session.agent)


@retry_after_deadlock
def set_handoff_priority(actor: Actor, *, session_id: UUID, priority: HandoffPriority) -> HandoffStatus:
    """Say how soon a handoff is to be served. Raises `Forbidden`, `NotFound`, `NotHandedOff`."""
    with _open_case(actor, session_id) as case:
        handoff = case.require_handoff()
        if handoff.priority != priority:
            case.audit("handoff.priority_changed", {"was": handoff.priority, "now": priority.value})
            handoff.priority = priority.value
            handoff.save(update_fields=["priority"])
        return case.describe()
