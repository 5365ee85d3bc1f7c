"""Read a session's current state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.db.models.expressions import RawSQL

from accounts.actor import Actor
from agents.domain.approvals import ApprovalState
from agents.domain.handoffs import HandoffState
from agents.domain.replay import Snapshot
from agents.domain.serialization import approval_shape, message_shape, person_name, session_shape, turn_error
from agents.domain.states import TERMINAL, Priority, TurnStatus
from agents.journal.locked_writes import visible_parts
from agents.journal.queries import consistent_snapshot
from agents.models import AgentSession, Approval, Handoff, Message, Turn
from agents.sessions.access import NEEDS_APPROVAL, access_session
from agents.sessions.messages import session_messages
from foundation.page_size import PAGE_BYTES

# A snapshot of all 5,000 messages of a long session took 190 ms of CPU, and 8 MB on the wire.
SNAPSHOT_MESSAGES = 200

# The ordinal of the first of the newest messages that have so many bytes at most; of the newest, if that has more. A
# part of the statement that reads them, which is not to unpack more than these.
_FIRST_FITTING = """
SELECT min(f.ordinal) FROM (
    SELECT n.ordinal, row_number() OVER newest AS number, sum(n.size_bytes) OVER newest AS bytes
    FROM (SELECT ordinal, size_bytes FROM agents_message WHERE agent_session_id = %s ORDER BY ordinal DESC LIMIT %s) n
    WINDOW newest AS (ORDER BY n.ordinal DESC)
) f WHERE f.number = 1 OR f.bytes <= %s
"""


def read_snapshot(*, actor: Actor, session_id: UUID) -> Snapshot:
    """The session as `agents.domain.replay` describes it. Raises `NotFound`, `Forbidden`,
    `Unauthenticated`."""
    with consistent_snapshot():
        session = access_session(actor=actor, session_id=session_id)
        return build_snapshot(session)


def build_snapshot(session: AgentSession, *, limit: int = SNAPSHOT_MESSAGES) -> Snapshot:
    """The snapshot of a session that was read in this transaction, with the newest `limit` messages, or as many as fit
    into a page."""
    first = RawSQL(_FIRST_FITTING, [session.pk, limit, PAGE_BYTES])  # noqa: S611 - a constant, with parameters
    fitting = session_messages(session).filter(ordinal__gte=first)
    messages = list(fitting.order_by("ordinal"))
    questions = {message.turn_id: message.pk for message in messages if message.author == Message.Author.USER}
    return {
        "seq": session.next_seq - 1,
        "session": session_shape(session),
        "messages": [message_shape(message) for message in messages],
        "turns": snapshot_turns(session, questions),
        "older": bool(messages) and messages[0].ordinal > 1,
        "handoff": snapshot_handoff(session),
    }


def snapshot_turns(session: AgentSession, questions: Mapping[UUID | None, UUID]) -> dict[str, Any]:
    """By id: the turns that are open, and those in `questions` (question ids by turn id) that did not complete."""
    visible = Q(pk__in=[turn for turn in questions if turn]) | ~Q(status__in=TERMINAL)
    turns = Turn.objects.filter(visible, agent_session=session).exclude(status=TurnStatus.COMPLETED)
    rows = turns.annotate(needs_approval=NEEDS_APPROVAL).order_by("ordinal")
    missing = [turn.pk for turn in rows if turn.pk not in questions]
    elsewhere = Message.objects.filter(turn_id__in=missing, author=Message.Author.USER) if missing else []
    questions = {**questions, **{message.turn_id: message.pk for message in elsewhere}}
    approvals = defaultdict[UUID, list[Approval]](list)
    turn_ids = [turn.pk for turn in rows if turn.needs_approval and TurnStatus(turn.status) not in TERMINAL]
    if turn_ids:
        for approval in Approval.objects.filter(turn__in=turn_ids, state=ApprovalState.PENDING).order_by("id"):
            approvals[approval.turn_id].append(approval)
    return {str(turn.pk): snapshot_turn(turn, questions[turn.pk], approvals[turn.pk]) for turn in rows}


def snapshot_handoff(session: AgentSession) -> dict[str, Any] | None:
    """The session's handoff in a snapshot, if a person is wanted or answers. A snoozed one is for operators only: it
    shows who answers."""
    handoff = Handoff.objects.filter(agent_session=session).exclude(state=HandoffState.RESOLVED).first()
    if handoff is None:
        return None
    is_open = session.controller == AgentSession.Controller.HUMAN
    return {
        "state": (HandoffState.OPEN if is_open else HandoffState.PENDING).value,
        "reason": handoff.reason,
        "by": str(handoff.requested_by),
        "on_duty": handoff.on_duty,
        "assignee": person_name(handoff.assignee) if is_open else None,
    }


def snapshot_turn(turn: Turn, message_id: UUID, approvals: Sequence[Approval] = ()) -> dict[str, Any]:
    """The entry of a turn in a snapshot. `message_id` is the message that it answers, `approvals` are its pending
    ones."""
    return {
        "id": str(turn.pk),
        "message": str(message_id),
        "ordinal": turn.ordinal,
        "priority": Priority(turn.priority).wire_name,
        "status": str(turn.status),
        "waits_for": turn.wait_reason or None,
        "shown": [] if TurnStatus(turn.status) in TERMINAL else visible_parts(turn),
        "approvals": [approval_shape(approval) for approval in approvals],
        "error": turn_error(turn),
    }
