"""Retry a turn that has no complete answer: a new turn with the same question."""

from __future__ import annotations

import hashlib
from uuid import UUID

from django.conf import settings

from accounts.actor import Actor
from accounts.audit import record_audit
from agents.domain.states import Priority, TurnStatus, WhenBusy
from agents.journal.admission import NewTurn
from agents.models import AgentSession, Message, Turn
from agents.permissions.agents import can_use_agent
from agents.permissions.role_permissions import RETRY_TURN
from agents.sessions.accept import admit_branch
from agents.sessions.errors import SessionQueueFull
from agents.sessions.operator_actions import DoesNotApply, operator_transaction
from foundation.db_retry import retry_after_deadlock
from foundation.errors import Conflict
from foundation.ids import new_id

RETRIABLE = frozenset({TurnStatus.FAILED, TurnStatus.CANCELLED, TurnStatus.EXPIRED})


@retry_after_deadlock
def retry_turn(actor: Actor, *, turn_id: UUID) -> Turn:
    """Queue a new turn with the question of an old one, and return it.

    Its question is a sibling of the old one and becomes the head of the conversation; the session's release does not
    change. Raises `Forbidden`, `NotFound`, `SessionQueueFull`, and `DoesNotApply` also for a turn whose question was
    asked again before, by whomever.
    """
    with operator_transaction(actor, turn_id=turn_id, permission=RETRY_TURN) as (session, turn):
        if (old_status := TurnStatus(turn.status)) not in RETRIABLE:
            raise DoesNotApply(
                f"Only a turn that failed, expired or was cancelled can be retried; this one is {old_status}."
            )
        # The space distinguishes it from the keys of clients, which cannot contain one.
        key = f"retry {turn_id}"
        if turn.retried_by_id is not None:
            raise DoesNotApply("It was asked again before.")
        _check_can_retry(session)
        new = _build_retry(session, turn, key)
        if admit_branch(new) is None:
            raise Conflict
        new_turn = Turn.objects.get(pk=new.turn_id)
        record_audit(actor, "turn.retried", target=turn, detail={"was": old_status.value, "new_turn": str(new_turn.pk)})
    return new_turn


def _check_can_retry(session: AgentSession) -> None:
    if not can_use_agent(user_id=session.user_id, agent_id=session.agent_id):
        raise DoesNotApply("This person may not use the agent any more: it was given to other groups.")
    if session.controller == AgentSession.Controller.HUMAN:
        raise DoesNotApply("A person answers in this session just now.")
    if session.open_turns >= settings.BANDSTAND.queue_depth:
        raise SessionQueueFull(retry_after_seconds=5)


def _build_retry(session: AgentSession, turn: Turn, key: str) -> NewTurn:
    question = Message.objects.get(agent_session=session, turn=turn, author=Message.Author.USER)
    return NewTurn(
        session_id=session.pk,
        user_id=session.user_id,
        turn_id=new_id(),
        message_id=new_id(),
        parts=question.parts,
        fingerprint=hashlib.sha256(key.encode()).digest(),
        key=key,
        branch=True,
        parent=question.parent_id,
        # A retry is queued even if the agent rejects a second message or is interrupted by it.
        when_busy=WhenBusy.ENQUEUE,
        priority=Priority(turn.priority),
        client_options=turn.client_options,
        api_key_id=turn.api_key_id,
    )
