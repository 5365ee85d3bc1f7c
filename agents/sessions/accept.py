"""Accept a message: once accepted, it is never lost and never answered twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.actor import Actor, Scope
from agents.domain.events import EventType
from agents.domain.message_parts import check_text, text_part
from agents.domain.states import TERMINAL, TURN_DEADLINE, Priority, WhenBusy
from agents.domain.titles import make_title
from agents.journal.admission import Admitted, NewTurn, admit
from agents.journal.handoff_writes import note_user_message_locked
from agents.journal.locked_writes import (
    append_messages_locked,
    lock_session,
    mark_retried_locked,
    name_session_locked,
    stop_locked,
)
from agents.models import AgentSession, Event, Message, Turn
from agents.permissions.agents import can_use_agent
from agents.sessions.budget_checks import exhausted_error, find_exhausted_budget
from agents.sessions.errors import HandedOff, SessionQueueFull, TurnInProgress
from foundation import strict_json
from foundation.clock import now
from foundation.db_retry import retry_after_deadlock, retry_after_lost_connection
from foundation.errors import IdempotencyMismatch, InvalidInput, NotFound, Unauthenticated
from foundation.ids import new_id
from foundation.sentinels import UNSET, Unset
from ratelimits import count_message, refund_message

MAX_KEY_LENGTH = 255
_DEADLINE_SECONDS = int(TURN_DEADLINE.total_seconds())

NOT_STORED = "The message could not be stored; please send it again."


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted message. `turn_id` is None while a human controls the session. `seq` is that of the last event that
    the message wrote. `replayed`: an earlier request with this key was accepted, not this one. `agent_id` is that of
    whom a new turn asks."""

    turn_id: UUID | None
    message_id: UUID
    seq: int
    ordinal: int
    status: str
    replayed: bool
    agent_id: UUID | None = field(default=None, compare=False)


def accept_message(
    actor: Actor,
    *,
    session_id: UUID,
    text: str,
    key: str | None = None,
    parent: UUID | Unset | None = UNSET,
    when_busy: WhenBusy | None = None,
    priority: Priority = Priority.INTERACTIVE,
) -> Accepted:
    """Store `text` and queue the turn that answers it, in one commit.

    With a `key`, a repeat returns the first outcome (`find_replay`); `parent` starts a branch after that message, None
    at the root. After a lost connection this is tried once more: the key, or a generated one, keeps the message from
    being stored twice.

    Raises `NotFound`, `InvalidInput`, `TooLarge`, `RateLimited`, `BudgetExhausted`, `TurnInProgress`,
    `SessionQueueFull`, `IdempotencyMismatch`, and `Unavailable` when the database cannot be reached.
    """
    actor.require_scope(Scope.CHAT)
    if actor.user_id is None:
        raise Unauthenticated
    check_text(text)
    if key is not None:
        check_key(key)
    new = NewTurn(
        session_id=session_id,
        user_id=actor.user_id,
        turn_id=(turn_id := new_id()),
        message_id=new_id(),
        parts=[text_part(text)],
        fingerprint=_fingerprint(text, parent, when_busy, priority),
        key=key if key is not None else f"auto-{turn_id}",
        branch=not isinstance(parent, Unset),
        parent=None if isinstance(parent, Unset) else parent,
        when_busy=when_busy,
        priority=priority,
        title=make_title(text),
        api_key_id=actor.key_id,
    )
    with count_message(
        user_id=actor.user_id, key_id=actor.key_id, session_id=session_id, size_bytes=len(text.encode())
    ):
        accepted = accept_new(new)
    if accepted.replayed:
        refund_message(user_id=actor.user_id)
    return accepted


def accept_new(new: NewTurn) -> Accepted:
    """Accept a message that was checked and counted, as `accept_message` does."""
    return retry_after_lost_connection(lambda: _accept(new), detail=NOT_STORED)


def check_key(key: str) -> None:
    """Raise `InvalidInput` unless `key` is a valid idempotency key."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all("!" <= char <= "~" for char in key):
        raise InvalidInput("An idempotency key has 1 to 255 visible ASCII characters.", pointer="/idempotency_key")


def _fingerprint(text: str, parent: UUID | Unset | None, when_busy: WhenBusy | None, priority: Priority) -> bytes:
    body = {
        "input": text,
        "parent": "head" if isinstance(parent, Unset) else parent,
        "when_busy": when_busy,
        "priority": priority,
    }
    return hashlib.sha256(strict_json.canonical(body)).digest()


def _accept(new: NewTurn) -> Accepted:
    if new.branch and new.parent is not None:
        _check_parent(new, new.parent)
    if (budget := find_exhausted_budget(new)) is not None:
        if (first := find_replay(new)) is None:
            raise exhausted_error(budget)
        return first
    try:
        admitted = _admit(new)
    except IntegrityError:
        # The key exists already: of an earlier request, or of the attempt before, whose reply was lost.
        if (first := find_replay(new)) is None:
            raise
        return first
    if admitted is not None:
        return _build_accepted(new, admitted)
    return find_replay(new) or _accept_under_lock(new)


def _admit(new: NewTurn) -> Admitted | None:
    if not new.branch:
        return admit(new, depth=settings.BANDSTAND.queue_depth, deadline_seconds=_DEADLINE_SECONDS)
    with transaction.atomic():
        return admit_branch(new)


def admit_branch(new: NewTurn) -> Admitted | None:
    """Admit a turn whose question is a branch, as `admit` does, and mark those that it asks again. The caller holds a
    transaction."""
    admitted = admit(new, depth=settings.BANDSTAND.queue_depth, deadline_seconds=_DEADLINE_SECONDS)
    if admitted is not None:
        mark_retried_locked(new.session_id, new.turn_id, parent=new.parent)
    return admitted


def _build_accepted(new: NewTurn, admitted: Admitted) -> Accepted:
    return Accepted(
        new.turn_id,
        new.message_id,
        admitted.seq,
        admitted.ordinal,
        "queued",
        replayed=False,
        agent_id=admitted.agent_id,
    )


def _check_parent(new: NewTurn, parent: UUID) -> None:
    if not Message.objects.filter(
        pk=parent, agent_session_id=new.session_id, agent_session__user_id=new.user_id
    ).exists():
        raise InvalidInput("There is no such message in this session.", pointer="/parent")


def find_replay(new: NewTurn) -> Accepted | None:
    """The outcome of the first request with this key; None when there is none. Raises `IdempotencyMismatch` when that
    request was a different one."""
    owned = {"agent_session_id": new.session_id, "agent_session__user_id": new.user_id, "idempotency_key": new.key}
    turn = Turn.objects.filter(**owned).first()
    if turn is not None:
        _check_fingerprint(new, turn.fingerprint)
        message = Message.objects.get(turn=turn, author=Message.Author.USER)
        seq = accepted_seq(turn.agent_session_id, EventType.TURN_QUEUED, turn.pk)
        return Accepted(turn.pk, message.pk, seq, turn.ordinal, turn.status, replayed=turn.pk != new.turn_id)
    stored = Message.objects.filter(**owned).first()
    if stored is not None:
        _check_fingerprint(new, stored.fingerprint)
        seq = accepted_seq(stored.agent_session_id, EventType.MESSAGE_CREATED, None, message=str(stored.pk))
        return Accepted(None, stored.pk, seq, stored.ordinal, "stored", replayed=stored.pk != new.message_id)
    return None


def _check_fingerprint(new: NewTurn, stored: bytes | memoryview | None) -> None:
    if stored is None or bytes(stored) != new.fingerprint:
        raise IdempotencyMismatch


def accepted_seq(session_id: UUID, event_type: str, turn_id: UUID | None, *, message: str | None = None) -> int:
    """The seq of the event with which a message was accepted; 0 when it was pruned."""
    events = Event.objects.filter(agent_session_id=session_id, turn=turn_id, type=event_type)
    if message is not None:
        events = events.filter(data__message__id=message)
    return events.order_by("seq").values_list("seq", flat=True).first() or 0


@retry_after_deadlock
def _accept_under_lock(new: NewTurn) -> Accepted:
    """Accept under the session's lock what the hot path does not handle: a human controls the session, or the message
    interrupts. Raises why the session does not accept the message."""
    with transaction.atomic():
        session = lock_session(new.session_id)
        if session.user_id != new.user_id:
            raise NotFound
        if not can_use_agent(user_id=new.user_id, agent_id=session.agent_id):
            raise NotFound
        return find_replay(new) or accept_locked(session, new)


def accept_locked(session: AgentSession, new: NewTurn) -> Accepted:
    """Accept `new` for a caller that holds the session's lock and has looked for its key. Raises `TurnInProgress`,
    `SessionQueueFull`, and `HandedOff` for what only the agent should answer."""
    if session.controller == AgentSession.Controller.HUMAN:
        if new.for_agent:
            raise HandedOff
        return store_for_human_locked(session, new)
    if (new.when_busy or WhenBusy(session.agent.when_busy)) is WhenBusy.INTERRUPT:
        _interrupt_locked(session)
        new = replace(new, when_busy=WhenBusy.ENQUEUE)
    admitted = _admit(new)
    if admitted is not None:
        return _build_accepted(new, admitted)
    if session.open_turns >= settings.BANDSTAND.queue_depth:
        raise SessionQueueFull(retry_after_seconds=5)
    raise TurnInProgress


def _interrupt_locked(session: AgentSession) -> None:
    open_turns = Turn.objects.filter(agent_session=session).exclude(status__in=TERMINAL).order_by("ordinal")
    for turn in open_turns.select_for_update(no_key=True, of=("self",)):
        stop_locked(session, turn)


def store_for_human_locked(session: AgentSession, new: NewTurn) -> Accepted:
    """Store a message that a person is to answer: it has no turn, and its key is in its own row."""
    name_session_locked(session, new.title)
    message = Message(
        id=new.message_id,
        author=Message.Author.USER,
        parts=new.parts,
        parent_id=new.parent if new.branch else session.head_message_id,
        idempotency_key=new.key,
        fingerprint=new.fingerprint,
    )
    session.updated_at = now()
    session.save(update_fields=["updated_at"])
    seq = append_messages_locked(session, [message])
    if session.controller == AgentSession.Controller.HUMAN:
        note_user_message_locked(session)
    return Accepted(None, message.pk, seq, message.ordinal, "stored", replayed=False)
