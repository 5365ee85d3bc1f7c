"""When a release has a person asked for by itself: by how turns ended, by a refused call, by a thumb down. Never by
words in a text."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db.models import Q

from agents.domain.approvals import ApprovalState
from agents.domain.handoffs import HandoffOutcome, HandoffSource
from agents.domain.states import TurnStatus
from agents.journal.handoff_writes import handoff_settings, request_handoff_locked
from agents.journal.locked_writes import database_now
from agents.models import AgentSession, Approval, Handoff, Step, Turn

# The reasons of the rules, as the events have them.
FAILED_TURNS: Final = "failed_turns"
REFUSED_CALL: Final = "refused_call"
THUMB_DOWN: Final = "thumb_down"

# What fails every hour, by a schedule, is not to call a person every time they have looked at it.
PAUSE: Final = timedelta(hours=1)

_BY_PERSON: Final = (HandoffOutcome.RETURNED, HandoffOutcome.RESOLVED)
_WITHOUT_ANSWER: Final = frozenset({TurnStatus.FAILED, TurnStatus.EXPIRED})


def apply_turn_rules_locked(session: AgentSession, turn: Turn, status: TurnStatus) -> None:
    """Ask for a person if the release has a rule for how `turn` went, which ends with `status` in this transaction."""
    settings = handoff_settings(session)
    limit = settings.failed_turns
    if limit is not None and status in _WITHOUT_ANSWER and _all_unanswered(session, turn, limit - 1):
        _request_locked(session, FAILED_TURNS, turn)
    elif settings.refused_call and _has_refused_call(turn):
        _request_locked(session, REFUSED_CALL, turn)


def apply_rating_rule_locked(session: AgentSession) -> None:
    """Ask for a person if the release says so about an answer that the user does not like."""
    if handoff_settings(session).thumb_down:
        _request_locked(session, THUMB_DOWN)


def _request_locked(session: AgentSession, reason: str, turn: Turn | None = None) -> None:
    """Ask for a person, unless one has given the session back within the last `PAUSE`."""
    last = Handoff.objects.filter(agent_session=session).order_by("-requested_at").first()
    given_back_at = last.resolved_at if last is not None and last.outcome in _BY_PERSON else None
    if given_back_at is not None and database_now() - given_back_at < PAUSE:
        return
    request_handoff_locked(session, by=HandoffSource.RULE, reason=reason, turn=turn)


def _all_unanswered(session: AgentSession, turn: Turn, count: int) -> bool:
    """Whether the last `count` turns before `turn` that were not stopped have no answer. Those before the last handoff
    do not count: what was wrong then has been dealt with."""
    rows = Turn.objects.filter(agent_session=session, finished_at__isnull=False).exclude(pk=turn.pk)
    last = Handoff.objects.filter(agent_session=session, resolved_at__isnull=False).order_by("-resolved_at").first()
    if last is not None and last.resolved_at is not None:
        rows = rows.filter(finished_at__gt=last.resolved_at)
    statuses = rows.exclude(status=TurnStatus.CANCELLED).order_by("-ordinal").values_list("status", flat=True)[:count]
    return len(statuses) == count and _WITHOUT_ANSWER.issuperset(statuses)


def _has_refused_call(turn: Turn) -> bool:
    """Whether the release or a person refused a call of the turn."""
    by_right = Q(details__right__decision="deny")
    if Step.objects.filter(by_right, turn=turn).exists():
        return True
    return Approval.objects.filter(turn=turn, state=ApprovalState.DENIED).exists()
