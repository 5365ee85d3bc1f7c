"""Checks of what waits for people: users who want a person's words, and calls that want an approval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from agents.permissions.duty import on_duty_sql
from agents.permissions.role_permissions import VIEW_APPROVAL, VIEW_HANDOFF
from foundation.durations import duration
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements

# An operator's approval that ends within this time is pointed out.
SOON_SECONDS: Final = 3600

# Parts of a WITH. `waiting`: the sessions whose user waits for words of a person, as the inbox lists them, without
# those in which builders try something out;
# `unattended`: their agents for whom nobody is on duty; `undecided`: calls that may still be decided.
PEOPLE_PARTS: Final = f"""
waiting AS MATERIALIZED (
    SELECT s.agent_id, coalesce(h.last_user_message_at, h.requested_at) AS since,
           h.first_reply_at IS NULL AND h.reply_due_at < statement_timestamp() AS is_late
    FROM agents_handoff h JOIN agents_agentsession s ON s.id = h.agent_session_id AND s.purpose = ''
    WHERE NOT (h.state = 'resolved')
      AND (h.state = 'pending' OR (h.state = 'open' AND h.last_user_message_at IS NOT NULL))
), unattended AS MATERIALIZED (
    SELECT w.agent_id FROM (SELECT DISTINCT agent_id FROM waiting) w WHERE NOT {on_duty_sql("w.agent_id")}
), undecided AS MATERIALIZED (
    SELECT decider, expires_at FROM agents_approval WHERE state = 'pending' AND expires_at > statement_timestamp()
)"""  # noqa: S608 - put together from constants
_FIGURES: Final = f"""
WITH {PEOPLE_PARTS}
SELECT (SELECT count(*) FROM waiting),
       (SELECT extract(epoch FROM statement_timestamp() - min(since))::float8 FROM waiting),
       (SELECT count(*) FROM waiting WHERE is_late),
       (SELECT count(*) FROM waiting JOIN unattended USING (agent_id)),
       (SELECT count(*) FROM undecided),
       (SELECT count(*) FROM undecided WHERE decider = 'operator'),
       (SELECT extract(epoch FROM min(expires_at) - statement_timestamp())::float8 FROM undecided
        WHERE decider = 'operator')
"""  # noqa: S608 - put together from constants

_OVERVIEW: Final = frozenset({Reader.OVERVIEW})
_WAITING: Final = Link("admin:agents_handoff_changelist", query={"show": "waiting"})
_APPROVALS: Final = Link("admin:agents_approval_changelist", query={"state": "waiting"})


@dataclass(frozen=True, slots=True)
class WaitingPeople:
    """Who waits now. `oldest_seconds`: for how long at most, None if nobody does; `late`: how many of them have no
    first reply in the time that their agent's release names; `unattended`: for how many of them nobody is on duty.

    `approvals` may be decided, `operator_approvals` of them by operators; the first of those ends in
    `operator_seconds`."""

    waiting: int = 0
    oldest_seconds: float | None = None
    late: int = 0
    unattended: int = 0
    approvals: int = 0
    operator_approvals: int = 0
    operator_seconds: float | None = None


def waiting_people(measurements: Measurements) -> WaitingPeople:  # noqa: ARG001
    """The figures, from one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES)
        return WaitingPeople(*cursor.fetchone())


def evaluate_waiting(figures: WaitingPeople) -> Sequence[Finding]:
    if figures.oldest_seconds is None:
        return [Finding(Level.GOOD, "nobody waits for a person", "0")]
    notes = [f"oldest for {duration(figures.oldest_seconds)}"]
    if figures.late:
        notes.append(f"{figures.late:,} past the target of a first reply")
    if figures.unattended:
        notes.append(f"nobody on duty for {figures.unattended:,}")
    level = Level.BAD if figures.late or figures.unattended else Level.WARN
    return [Finding(level, ", ".join(notes), f"{figures.waiting:,}")]


def evaluate_approvals(figures: WaitingPeople) -> Sequence[Finding]:
    if not figures.approvals:
        return [Finding(Level.GOOD, "no call waits for an approval", "0")]
    label, level = "users decide them", Level.GOOD
    if figures.operator_seconds is not None:
        label = f"{figures.operator_approvals:,} for operators, the first ends in {duration(figures.operator_seconds)}"
        level = Level.WARN if figures.operator_seconds < SOON_SECONDS else Level.GOOD
    return [Finding(level, label, f"{figures.approvals:,}")]


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="people_waiting",
        title="People waiting",
        measure=waiting_people,
        evaluator=evaluate_waiting,
        alarms_when="somebody waits for a person; red after the target of a first reply, and when nobody is on duty",
        remedy="Go on duty, and answer in the inbox: the oldest first.",
        readers=_OVERVIEW,
        order=112,
        link=_WAITING,
        permissions=(VIEW_HANDOFF,),
        is_metric=True,
    ),
    Check(
        name="approvals",
        title="Approvals",
        measure=waiting_people,
        evaluator=evaluate_approvals,
        alarms_when="a call that an operator has to decide ends within the hour",
        remedy="Approve or refuse it in the inbox: afterwards the model reads that nobody decided in time.",
        readers=_OVERVIEW,
        order=114,
        link=_APPROVALS,
        permissions=(VIEW_APPROVAL,),
        is_metric=True,
    ),
)
