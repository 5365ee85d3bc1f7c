"""Read the log of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from accounts.actor import Actor
from agents.domain.events import TERMINAL_EVENTS
from agents.journal.log import LoggedEvent, is_contiguous, read_log
from agents.models import Event, Turn
from agents.sessions.access import access_session

__all__ = ["EventPage", "LoggedEvent", "read_events", "resume_position"]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events of a session. `last_seq` is the seq of its newest event. `resync`: events after the requested seq were
    compacted or pruned; read a snapshot."""

    events: Sequence[LoggedEvent]
    last_seq: int
    resync: bool


def read_events(*, actor: Actor, session_id: UUID, after: int, limit: int) -> EventPage:
    """Up to `limit` events after seq `after`, in order. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    session = access_session(actor=actor, session_id=session_id)
    last_seq = session.next_seq - 1
    events = read_log(session_id, after=after, limit=limit)
    return EventPage(events, last_seq, resync=after > last_seq or not is_contiguous(after, events, last_seq))


def resume_position(*, turn_id: UUID, start: int, cursor: int) -> int:
    """The seq after which a reader continues that has seen a turn's events up to `cursor`. `start` is the seq before
    its first event.

    The turn's last event is repeated for a reader that has seen it, which would otherwise wait for it for ever. For a
    cursor outside the turn, which no reader can have got, all events are repeated.
    """
    end_seq = Event.objects.filter(turn=turn_id, type__in=TERMINAL_EVENTS).values_list("seq", flat=True).first()
    if end_seq is not None:
        return min(cursor, end_seq - 1) if start <= cursor <= end_seq else start
    turn = Turn.objects.select_related("agent_session").get(pk=turn_id)
    return cursor if start <= cursor < turn.agent_session.next_seq else start
