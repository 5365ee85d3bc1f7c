"""People of the demo who wait for a person or were answered by one, notes of operators, and calls that wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db.models import Model

from accounts.models import User
from agents.domain.approvals import ApprovalState, Decider
from agents.domain.failures import ErrorClass
from agents.domain.handoffs import HandoffOutcome, HandoffPriority, HandoffSource, HandoffState
from agents.domain.message_parts import text_part
from agents.domain.serialization import person_name
from agents.journal.handoff_writes import (
    give_back_locked,
    note_reply_locked,
    request_handoff_locked,
    take_control_locked,
)
from agents.journal.locked_writes import append_messages_locked, lock_session
from agents.management.demo.agents_and_users import PREFIX
from agents.models import AgentSession, Approval, Event, Handoff, HandoffNote, Message, Turn
from foundation.clock import now
from foundation.ids import new_id

OPERATOR_PREFIX: Final = f"{PREFIX}operator-"
_MOST_SESSIONS: Final = 60
_REQUESTS: Final = (
    (HandoffSource.USER, "I want to talk to a person, please."),
    (HandoffSource.RULE, "failed_turns"),
    (HandoffSource.USER, "This is about my money."),
    (HandoffSource.FALLBACK, ErrorClass.TRANSIENT.value),
    (HandoffSource.RULE, "thumb_down"),
    (HandoffSource.TOOL, "The form asks for a signature, which I cannot give."),
)
_REPLIES: Final = (
    "Hello, I am a person and look into it now.",
    "It is done: you get an e-mail within the hour.",
    "Could you send me the number of the order?",
)
_NOTES: Final = ("Has called before, see the ticket of Monday.", "Accounting looks into it.", "A new contract.")
_CALLS: Final = (
    ("send_email", '{"subject":"Your order","to":"ada@example.org"}', "`to` came from a web page"),
    ("refund", '{"amount":59.9,"order":"4711"}', "this agent asks before every call of this tool"),
)


def add_waiting_people(rng: Random, *, until: datetime) -> dict[str, int]:
    """Let people of the newest sample sessions wait, be answered or be done, and calls of their turns wait or be
    decided. Returns the number of rows by kind."""
    password = make_password(None)  # nobody can log in
    operators = [
        User.objects.create(
            username=f"{OPERATOR_PREFIX}{number}",
            first_name="Sample",
            last_name=f"Operator {number}",
            password=password,
        )
        for number in (1, 2)
    ]
    sessions = AgentSession.objects.filter(agent__slug__startswith=PREFIX, agent__archived_at=None)
    keys = list(sessions.order_by("-updated_at", "-pk").values_list("pk", flat=True)[:_MOST_SESSIONS])
    initial = _count(keys)
    for number, key in enumerate(keys):
        session = lock_session(key)
        operator = operators[number % 2]
        _HISTORIES[number % len(_HISTORIES)](rng, session, operator)
        handoffs = Handoff.objects.filter(agent_session=session)
        at = until - timedelta(minutes=rng.uniform(1, 90))
        # Of long ago, and without an end of their own: there is nobody to answer.
        handoffs.update(requested_at=at, reply_due_at=at + timedelta(minutes=30), due_at=None)
        if number % 3 == 0:
            HandoffNote.objects.create(agent_session=session, author=operator, text=rng.choice(_NOTES))
        if number % 4 == 0:
            _add_call(rng, session, operator, is_pending=number % 8 == 0)
    return {name: count - initial[name] for name, count in _count(keys).items()}


def _count(keys: Sequence[UUID]) -> dict[str, int]:
    models: tuple[type[Model], ...] = (Event, Message, Handoff, HandoffNote, Approval)
    return {
        str(model._meta.model_name): model._default_manager.filter(agent_session__in=keys).count() for model in models
    }


def _request(rng: Random, session: AgentSession, _operator: User) -> Handoff:
    source, reason = rng.choice(_REQUESTS)
    handoff = request_handoff_locked(session, by=source, reason=reason)
    handoff.priority = rng.choice((HandoffPriority.NORMAL, HandoffPriority.NORMAL, HandoffPriority.HIGH)).value
    handoff.save(update_fields=["priority"])
    return handoff


def _answer(rng: Random, session: AgentSession, operator: User) -> Handoff:
    """The operator has taken over, and has replied."""
    _request(rng, session, operator)
    handoff = take_control_locked(session, user=operator)
    parts = [text_part(rng.choice(_REPLIES), by=person_name(operator) or "")]
    message = Message(id=new_id(), author=Message.Author.HUMAN, parts=parts, parent_id=session.head_message_id)
    append_messages_locked(session, [message])
    note_reply_locked(handoff)
    return handoff


def _claim(rng: Random, session: AgentSession, operator: User) -> Handoff:
    """The operator has taken over, and has said nothing yet."""
    _request(rng, session, operator)
    return take_control_locked(session, user=operator)


def _return(rng: Random, session: AgentSession, operator: User) -> Handoff:
    handoff = _answer(rng, session, operator)
    outcome = rng.choice((HandoffOutcome.RETURNED, HandoffOutcome.RESOLVED))
    give_back_locked(session, handoff, outcome=outcome, by=HandoffSource.OPERATOR, user=operator)
    return handoff


def _snooze(rng: Random, session: AgentSession, operator: User) -> Handoff:
    handoff = _request(rng, session, operator)
    handoff.state = HandoffState.SNOOZED.value
    handoff.snoozed_at, handoff.snoozed_until = now(), now() + timedelta(hours=4)
    handoff.save(update_fields=["state", "snoozed_at", "snoozed_until"])
    return handoff


# What became of one session after the other.
_HISTORIES: Final[tuple[Callable[[Random, AgentSession, User], Handoff], ...]] = (
    _request, _return, _answer, _return, _request, _claim, _return, _snooze,
)  # fmt: skip


def _add_call(rng: Random, session: AgentSession, operator: User, *, is_pending: bool) -> None:
    """A call of a tool in the newest turn of the session, which an operator has to decide, or has decided."""
    turn = Turn.objects.filter(agent_session=session).latest("ordinal")
    tool, arguments, reason = rng.choice(_CALLS)
    decided_at = None if is_pending else now()
    Approval.objects.create(
        turn=turn,
        agent_session=session,
        agent_id=session.agent_id,
        step=1,
        tool=tool,
        arguments=arguments,
        arguments_hash=hashlib.sha256(arguments.encode()).digest(),
        reasons=[reason],
        decider=Decider.OPERATOR.value,
        state=(ApprovalState.PENDING if is_pending else ApprovalState.DENIED).value,
        expires_at=now() + timedelta(hours=24),
        decided_at=decided_at,
        decided_by=None if is_pending else operator,
    )
