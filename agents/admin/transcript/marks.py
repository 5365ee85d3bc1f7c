"""What stands in a transcript between its messages: who took over and gave back, and the operators' notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from agents.admin.inbox.inbox_labels import describe_outcome, describe_reason, operator_name
from agents.domain.events import EventType
from agents.domain.handoffs import HandoffSource
from agents.models import AgentSession, Event, HandoffNote, Message

HANDOFF_EVENTS: Final = frozenset(
    {
        EventType.HANDOFF_REQUESTED,
        EventType.HANDOFF_OPENED,
        EventType.HANDOFF_RETURNED,
        EventType.HANDOFF_RESOLVED,
    }
)
# Whose reasons are words of the conversation.
_IN_WORDS: Final = frozenset({HandoffSource.USER, HandoffSource.TOOL})
# On one page, of each kind.
MOST_MARKS: Final = 200


@dataclass(frozen=True, slots=True)
class TranscriptMark:
    """A line of the history of handoffs, or with `note` the note of an operator. `ordinal` is its place among the
    messages, between two whole numbers."""

    key: str
    ordinal: float
    text: str
    at: datetime
    note: bool = False
    author: str = ""

    @property
    def mark(self) -> bool:
        return not self.note


def handoff_marks(session: AgentSession, *, readable: bool, after_seq: int = 0) -> list[TranscriptMark]:
    """The handoffs of a session, from its events after `after_seq`; unless it is `readable`, without the words in which
    its user or its agent asked for a person."""
    events = Event.objects.filter(agent_session=session, seq__gt=after_seq, type__in=HANDOFF_EVENTS).order_by("-seq")
    rows = list(events[:MOST_MARKS])[::-1]
    positions = _Positions(session, [event.at for event in rows])
    return [
        TranscriptMark(
            f"event-{event.seq}",
            positions.find(event.at),
            _describe(event.type, event.data, readable=readable),
            event.at,
        )
        for event in rows
    ]


def note_marks(session: AgentSession, *, after: UUID | None = None) -> list[TranscriptMark]:
    """The operators' notes on a session, after the one with the id `after`."""
    notes = HandoffNote.objects.filter(agent_session=session).select_related("author").order_by("-pk")
    rows = list((notes.filter(pk__gt=after) if after else notes)[:MOST_MARKS])[::-1]
    positions = _Positions(session, [note.created_at for note in rows])
    return [
        TranscriptMark(
            f"note-{note.pk}",
            positions.find(note.created_at),
            note.text,
            note.created_at,
            note=True,
            author=operator_name(note.author),
        )
        for note in rows
    ]


class _Positions:
    """From times to positions among the messages of a session."""

    def __init__(self, session: AgentSession, times: Sequence[datetime]) -> None:
        self._messages: list[tuple[int, datetime]] = []
        if times:
            rows = Message.objects.filter(agent_session=session).order_by("-ordinal")
            self._messages = list(rows.values_list("ordinal", "created_at")[: 2 * MOST_MARKS])

    def find(self, at: datetime) -> float:
        """The place of `at`: after the last message before it, and in the order of time. Stays the same when more
        messages come."""
        for ordinal, created_at in self._messages:
            if created_at <= at:
                seconds = (at - created_at).total_seconds()
                return ordinal + 0.05 + 0.9 * seconds / (seconds + 3_600)
        return 0.0


def _describe(event_type: str, data: Mapping[str, Any], *, readable: bool) -> str:
    by = f" by {data['assignee']}" if "assignee" in data else ""
    match event_type:
        case EventType.HANDOFF_REQUESTED:
            nobody = "; nobody was on duty" if data.get("on_duty") is False else ""
            source = data.get("by", "")
            reason = data.get("reason", "") if readable or source not in _IN_WORDS else ""
            return f"A person was asked for: {describe_reason(source, reason)}{nobody}"
        case EventType.HANDOFF_OPENED:
            return f"{data.get('assignee') or 'An operator'} took over: a person answers from now on"
        case EventType.HANDOFF_RETURNED:
            return f"The agent answers again: {describe_outcome(data.get('reason', ''))}{by}"
    return f"Closed: {describe_outcome(data.get('reason', ''))}{by}. The agent answers what comes next"
