"""Control of a session: a person is asked to take over, takes over, and gives it back, all under the session's lock.

Taking control is one transaction: what the agent still did loses its fence in it, so that never two answer, and what
waited for the agent ends in it, so that nobody waits for an answer of the agent that cannot come.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from accounts.models import User
from agents.domain.configuration import AgentConfiguration, HandoffSettings
from agents.domain.events import (
    EventType,
    HandoffOpened,
    HandoffRequested,
    HandoffResolved,
    HandoffReturned,
    SessionData,
)
from agents.domain.handoffs import HandoffOutcome, HandoffSource, HandoffState
from agents.domain.serialization import person_name, session_shape
from agents.domain.states import TurnStatus
from agents.journal import sql
from agents.journal.locked_writes import append_locked, database_now, end_locked, notify
from agents.models import AgentSession, Handoff, Turn
from agents.permissions.duty import is_somebody_on_duty
from foundation.errors import BandstandError

MAX_REASON = 200
_HUMAN = AgentSession.Controller.HUMAN


def handoff_settings(session: AgentSession) -> HandoffSettings:
    """What the release of the session says about handoffs; the defaults, if a newer version wrote it."""
    try:
        return AgentConfiguration.parse(session.release.configuration).handoff
    except BandstandError:
        return HandoffSettings()


def find_unresolved(session: AgentSession) -> Handoff | None:
    """The handoff of the session that is not resolved, with its assignee; None where nobody is wanted."""
    rows = Handoff.objects.filter(agent_session=session).exclude(state=HandoffState.RESOLVED)
    return rows.select_related("assignee").first()


def request_handoff_locked(
    session: AgentSession, *, by: HandoffSource, reason: str, turn: Turn | None = None
) -> Handoff:
    """Ask for a person, and return the request. A second one meets the first, which it wakes if it was snoozed.

    `turn` is the one that it comes from, and must be saved.
    """
    if (handoff := find_unresolved(session)) is not None:
        if handoff.state == HandoffState.SNOOZED:
            wake_locked(session, handoff)
        return handoff
    at, settings = database_now(), handoff_settings(session)
    handoff = Handoff.objects.create(
        agent_session=session,
        turn=turn,
        requested_by=by.value,
        reason=reason[:MAX_REASON],
        requested_at=at,
        on_duty=is_somebody_on_duty(session.agent_id),
        reply_due_at=at + timedelta(minutes=settings.first_reply_minutes),
        due_at=at + timedelta(minutes=settings.queue_minutes),
    )
    requested = HandoffRequested(reason=handoff.reason, by=by.value, on_duty=bool(handoff.on_duty))
    append_locked(session, [(EventType.HANDOFF_REQUESTED, requested)], turn=turn)
    return handoff


def take_control_locked(session: AgentSession, *, user: User) -> Handoff:
    """Let `user` answer in place of the agent from now on, and return the handoff; a new one, if nobody was asked for.

    The turns of the session end as cancelled: what a running one has shown stays as a partial answer, its runner can
    write nothing more, and is notified to stop. Where a person controls the session already, `user` replaces them.
    """
    at = database_now()
    handoff = find_unresolved(session) or Handoff(
        agent_session=session, requested_by=HandoffSource.OPERATOR.value, requested_at=at
    )
    if session.controller == _HUMAN and (handoff.state, handoff.assignee_id) == (HandoffState.OPEN, user.pk):
        return handoff
    # A message that was left for people waits as long as it takes, also for whoever has seen it.
    has_message = handoff.state == HandoffState.PENDING and handoff.last_user_message_at is not None
    changes: list[tuple[str, Mapping[str, Any]]] = []
    if session.controller != _HUMAN:
        if _end_turns_locked(session):
            handoff.last_user_message_at = at
        elif handoff.requested_by != HandoffSource.OPERATOR and handoff.first_reply_at is None:
            handoff.last_user_message_at = handoff.last_user_message_at or handoff.requested_at
        session.controller = _HUMAN
        session.save(update_fields=["controller"])
        changes = [(EventType.SESSION_UPDATED, SessionData(session=session_shape(session)))]
    handoff.state = HandoffState.OPEN.value
    handoff.assignee = user
    handoff.opened_at = handoff.opened_at or at
    handoff.snoozed_at = handoff.snoozed_until = None
    handoff.due_at = _queue_end(session, at) if is_waiting(handoff) and not has_message else None
    handoff.save()
    append_locked(session, [(EventType.HANDOFF_OPENED, _opened(handoff)), *changes])
    return handoff


def assign_locked(session: AgentSession, handoff: Handoff, *, user: User | None) -> None:
    """Let `user` be the one who is to answer, or nobody in particular. Who controls the session does not change."""
    if handoff.assignee_id == (user.pk if user else None):
        return
    handoff.assignee = user
    handoff.save(update_fields=["assignee"])
    if session.controller == _HUMAN:
        append_locked(session, [(EventType.HANDOFF_OPENED, _opened(handoff))])


def give_back_locked(
    session: AgentSession, handoff: Handoff, *, outcome: HandoffOutcome, by: HandoffSource, user: User | None = None
) -> None:
    """Resolve a handoff: the agent answers what comes next. What was said meanwhile is not asked again. `user` is the
    operator who does it, which need not be the one who has answered."""
    handoff.state, handoff.outcome = HandoffState.RESOLVED.value, outcome.value
    handoff.resolved_at = database_now()
    handoff.due_at = handoff.snoozed_at = handoff.snoozed_until = None
    handoff.save(update_fields=["state", "outcome", "resolved_at", "due_at", "snoozed_at", "snoozed_until"])
    data: HandoffReturned | HandoffResolved = {"reason": outcome.value, "by": by.value}
    if user is not None:
        data["assignee"] = person_name(user) or ""
    is_done = outcome is HandoffOutcome.RESOLVED
    event = EventType.HANDOFF_RESOLVED if is_done else EventType.HANDOFF_RETURNED
    events: list[tuple[str, Mapping[str, Any]]] = [(event, data)]
    if session.controller == _HUMAN:
        session.controller = AgentSession.Controller.AGENT
        session.save(update_fields=["controller"])
        events.append((EventType.SESSION_UPDATED, SessionData(session=session_shape(session))))
    append_locked(session, events)


def note_user_message_locked(session: AgentSession) -> None:
    """The user has written while a person answers: that person's time for an answer begins, and a snoozed handoff is
    awake again."""
    if (handoff := find_unresolved(session)) is None:
        return
    at = database_now()
    if handoff.last_user_message_at is None:
        handoff.last_user_message_at = at
    if handoff.state == HandoffState.SNOOZED or handoff.due_at is None:
        _show(session, handoff, at)
    handoff.save()


def note_reply_locked(handoff: Handoff) -> None:
    """A person has replied: nobody waits for a reply now."""
    handoff.first_reply_at = handoff.first_reply_at or database_now()
    handoff.last_user_message_at = handoff.due_at = None
    handoff.save(update_fields=["first_reply_at", "last_user_message_at", "due_at"])


def wake_locked(session: AgentSession, handoff: Handoff) -> None:
    """End the snooze of a handoff."""
    _show(session, handoff, database_now())
    handoff.save()


def is_waiting(handoff: Handoff) -> bool:
    """Whether the user of the session waits for a person's words."""
    return handoff.first_reply_at is None or handoff.last_user_message_at is not None


def _opened(handoff: Handoff) -> HandoffOpened:
    return HandoffOpened(reason=handoff.reason, by=HandoffSource.OPERATOR.value, assignee=person_name(handoff.assignee))


def _show(session: AgentSession, handoff: Handoff, at: datetime) -> None:
    is_human = session.controller == _HUMAN
    handoff.state = (HandoffState.OPEN if is_human else HandoffState.PENDING).value
    handoff.snoozed_at = handoff.snoozed_until = None
    # While the agent answers, only a message that was left for people waits for their words, and as long as it takes.
    has_message = not is_human and handoff.last_user_message_at is not None
    handoff.due_at = _queue_end(session, at) if is_waiting(handoff) and not has_message else None


def _queue_end(session: AgentSession, at: datetime) -> datetime:
    return at + timedelta(minutes=handoff_settings(session).queue_minutes)


def _end_turns_locked(session: AgentSession) -> int:
    """End all open turns as cancelled, and return how many there were."""
    rows = Turn.objects.select_for_update(no_key=True, of=("self",))
    turns = list(rows.filter(agent_session=session, finished_at__isnull=True).order_by("ordinal"))
    for turn in turns:
        if turn.status == TurnStatus.RUNNING:
            # Only a turn that is to be cancelled may be: both in this commit.
            turn.status = TurnStatus.CANCELLING
            turn.save(update_fields=["status"])
            # Its runner would find out with its next write. Until then it pays for words that nobody reads.
            notify(sql.TURNS_CHANNEL, f"stop {turn.pk}")
        end_locked(session, turn, TurnStatus.CANCELLED, for_handoff=True)
    return len(turns)
