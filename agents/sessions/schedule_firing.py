"""Fire the schedules that are due: each sends its message once for each of its times, whatever is killed in between.

A worker claims a batch for a minute, sends the messages, and then writes what became of them. A message is sent in a
commit of its own, and its key names the schedule and the time: a worker that finds a schedule still due, since another
one was killed, finds the turn by it, too. Rights and limits are those that its user has at that moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from django.db import IntegrityError, InterfaceError, connection, transaction

from accounts.actor import Scope
from accounts.permissions import SCOPE_PERMISSIONS, held_permissions_sql, permission_scopes
from agents.domain.message_parts import text_part
from agents.domain.states import Priority, WhenBusy
from agents.domain.titles import make_title
from agents.journal.admission import NewTurn
from agents.journal.queries import fetch
from agents.models import Agent, TurnSchedule
from agents.releases.release_choice import CHOICES
from agents.sessions.accept import Accepted, accept_new, find_replay
from agents.sessions.crud import insert_session_row
from foundation.errors import BandstandError, Conflict, Forbidden, InvalidInput, NotFound, OurFault
from foundation.graphemes import cut_text
from foundation.ids import derive_id, new_id
from ratelimits import count_message
from scheduling.occurrences import passed_runs

log = structlog.get_logger(__name__)

# Of one claim, which holds for a minute; each takes some milliseconds.
BATCH: Final = 100
CLAIM_SECONDS: Final = 60.0
# A refusal that passes, such as a rate limit, is tried again at the next runs of the job.
MAX_ATTEMPTS: Final = 5
RETRY_SECONDS: Final = 45.0
LONGEST_RETRY_SECONDS: Final = 900.0
# More are not counted: after a long time without a scheduler this would take longer than to send the messages.
MAX_MISSED: Final = 200
LONGEST_ERROR: Final = 200
NOT_FOR_YOU: Final = "You may not use this agent any more, or the chat is gone."

CLAIM_DUE: Final = f"""
WITH due AS (
    SELECT id FROM agents_turnschedule
    WHERE next_at <= statement_timestamp() AND (available_at IS NULL OR available_at <= statement_timestamp())
    ORDER BY next_at, id LIMIT %(limit)s
    FOR NO KEY UPDATE SKIP LOCKED
), c AS (
    UPDATE agents_turnschedule s
    SET attempts = s.attempts + 1, available_at = statement_timestamp() + %(seconds)s * interval '1 second'
    FROM due WHERE s.id = due.id
    RETURNING s.*
)
SELECT c.id, c.user_id, u.is_active, {held_permissions_sql(SCOPE_PERMISSIONS)}, c.agent_id, c.agent_session_id,
       c.api_key_id, c.text, c.cron, c.time_zone, c.next_at, c.attempts, statement_timestamp()
FROM c JOIN accounts_user u ON u.id = c.user_id
ORDER BY c.next_at, c.id
"""  # noqa: S608 - put together from a constant; values are parameters

# A schedule that its user has changed in between keeps the next time that it got then.
_RECORD: Final = """
UPDATE agents_turnschedule s
SET last_due_at = r.newest_at, last_fired_at = statement_timestamp(), last_outcome = r.outcome,
    last_session_id = r.session, last_turn_id = r.turn, last_error = r.error,
    missed = s.missed + CASE WHEN s.next_at = r.due_at THEN r.missed ELSE 0 END,
    attempts = CASE WHEN s.next_at = r.due_at THEN 0 ELSE s.attempts END,
    available_at = CASE WHEN s.next_at = r.due_at THEN NULL ELSE s.available_at END,
    enabled = s.enabled AND (s.next_at IS DISTINCT FROM r.due_at OR r.following_at IS NOT NULL),
    next_at = CASE WHEN s.next_at = r.due_at THEN r.following_at ELSE s.next_at END
FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, due_at timestamptz, newest_at timestamptz, following_at timestamptz, missed int, outcome text,
         session uuid, turn uuid, error text)
WHERE s.id = r.id
"""

_POSTPONE: Final = """
UPDATE agents_turnschedule s SET available_at = statement_timestamp() + r.seconds * interval '1 second'
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, due_at timestamptz, seconds float8)
WHERE s.id = r.id AND s.next_at = r.due_at
"""


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A claimed schedule: `due_at` is its oldest time that was not fired, `session_id` None for a new session,
    `attempts` how often this time was claimed, `claimed_at` the database's time."""

    id: UUID
    user_id: int
    is_active: bool
    permissions: list[str]
    agent_id: UUID
    session_id: UUID | None
    api_key_id: UUID | None
    text: str
    cron: str
    time_zone: str
    due_at: datetime
    attempts: int
    claimed_at: datetime

    @property
    def key(self) -> str:
        """The idempotency key of its turn. The space distinguishes it from the keys of clients."""
        return f"schedule {self.id} {self.due_at.timestamp():.0f}"


@dataclass(frozen=True, slots=True)
class FiringOutcome:
    """What became of a due schedule. `retry_seconds`: it is to be tried again after that."""

    due: DueSchedule
    session_id: UUID | None = None
    accepted: Accepted | None = None
    error: str = ""
    retry_seconds: float | None = None


def fire_due_schedules(*, limit: int = BATCH) -> int:
    """Fire up to `limit` of the schedules that are due, the longest due first; return how many.

    What somebody may not do, or has no room for, is recorded in the schedule. Only a fault of the database is raised:
    what is not recorded then is fired again a minute later, and finds what was sent.
    """
    claimed = claim_due_schedules(limit=limit)
    agents = read_agents(claimed)
    record_firings([fire(due, agents) for due in claimed])
    return len(claimed)


def claim_due_schedules(*, limit: int) -> list[DueSchedule]:
    """Keep other workers for a minute from up to `limit` of the schedules that are due, and return these."""
    return [DueSchedule(*row) for row in fetch(CLAIM_DUE, {"limit": limit, "seconds": CLAIM_SECONDS})]


def read_agents(claimed: Sequence[DueSchedule]) -> dict[UUID, Agent]:
    """The agents that sessions may be begun with, by id, of those that are asked in a new session."""
    asked = {due.agent_id for due in claimed if due.session_id is None}
    usable = Agent.objects.filter(pk__in=asked, archived_at__isnull=True, live_release__isnull=False)
    return usable.select_related(*CHOICES).in_bulk() if asked else {}


def fire(due: DueSchedule, agents: Mapping[UUID, Agent]) -> FiringOutcome:
    """Send the message of `due`, unless it was sent before; `agents` is what `read_agents` returns. Raises
    `InterfaceError` for a lost connection."""
    try:
        new = _build_turn(due)
        return FiringOutcome(due, new.session_id, _send(due, agents, new))
    except BandstandError as error:
        retry_seconds = None
        if error.retryable and due.attempts < MAX_ATTEMPTS:
            retry_seconds = min(max(RETRY_SECONDS, error.retry_after_seconds or 0.0), LONGEST_RETRY_SECONDS)
        else:
            log.info("schedule.refused", schedule=str(due.id), user=due.user_id, code=error.code)
        return FiringOutcome(due, error=error.detail, retry_seconds=retry_seconds)
    except InterfaceError:
        raise
    except Exception:
        # One that fails must not block the others.
        log.exception("schedule.failed", schedule=str(due.id))
        retry_seconds = RETRY_SECONDS if due.attempts < MAX_ATTEMPTS else None
        return FiringOutcome(
            due, error="Something went wrong on our side; the log has it.", retry_seconds=retry_seconds
        )


def record_firings(firings: Sequence[FiringOutcome]) -> None:
    """Write what became of due schedules, and their next times."""
    if not firings:
        return
    postponed: list[dict[str, Any]] = [
        {"id": firing.due.id, "due_at": firing.due.due_at, "seconds": firing.retry_seconds}
        for firing in firings
        if firing.retry_seconds is not None
    ]
    ended = [_record(firing) for firing in firings if firing.retry_seconds is None]
    with transaction.atomic(), connection.cursor() as cursor:
        for statement, rows in ((_RECORD, ended), (_POSTPONE, postponed)):
            if rows:
                # In the order of their ids, so that two workers never wait for each other.
                rows.sort(key=lambda row: row["id"])
                cursor.execute(statement, {"rows": orjson.dumps(rows).decode()})


def _build_turn(due: DueSchedule) -> NewTurn:
    return NewTurn(
        session_id=due.session_id or derive_id(due.due_at, due.id),
        user_id=due.user_id,
        turn_id=new_id(),
        message_id=new_id(),
        parts=[text_part(due.text, schedule=str(due.id))],
        # Of the key alone: its user may change the text between two attempts.
        fingerprint=hashlib.sha256(due.key.encode()).digest(),
        key=due.key,
        branch=False,
        parent=None,
        # It waits even if the agent rejects a second message or is interrupted by it.
        when_busy=WhenBusy.ENQUEUE,
        priority=Priority.BACKGROUND,
        title=make_title(due.text),
        api_key_id=due.api_key_id,
        # The person who answers just now has not been asked by a clock.
        for_agent=True,
    )


def _send(due: DueSchedule, agents: Mapping[UUID, Agent], new: NewTurn) -> Accepted:
    if due.attempts > 1 and (first := find_replay(new)) is not None:
        return first
    if due.attempts > MAX_ATTEMPTS:
        raise OurFault("It was begun several times, and never ended.")
    if not due.is_active:
        raise Forbidden("Your account is closed.")
    if Scope.CHAT not in permission_scopes(due.permissions):
        raise Forbidden("You may not use the chat any more.")
    agent = agents.get(due.agent_id)
    if due.session_id is None and agent is None:
        raise NotFound(NOT_FOR_YOU)
    size = len(due.text.encode())
    try:
        with count_message(user_id=due.user_id, key_id=None, session_id=due.session_id, size_bytes=size):
            return accept_new(new) if due.session_id is not None or agent is None else _begin_session(agent, new)
    except NotFound:
        raise NotFound(NOT_FOR_YOU) from None


def _begin_session(agent: Agent, new: NewTurn) -> Accepted:
    """Both in one commit, so that no refusal leaves an empty session: such as for an agent that is now for others."""
    try:
        with transaction.atomic():
            insert_session_row(agent, user_id=new.user_id, session_id=new.session_id)
            return accept_new(new)
    except IntegrityError:
        # Another worker, whose claim is over, has begun it just now.
        if (first := find_replay(new)) is None:
            raise Conflict from None
        return first


def _record(firing: FiringOutcome) -> dict[str, Any]:
    due, accepted, error = firing.due, firing.accepted, firing.error
    missed, newest, following = 0, due.due_at, None
    if due.cron:
        try:
            passed = passed_runs(due.cron, due.time_zone, after=due.due_at, until=due.claimed_at, limit=MAX_MISSED)
            missed, newest, following = passed.count, passed.newest or due.due_at, passed.following
        except InvalidInput as fault:
            # Such as a time zone of another machine: it stops, and holds up no other.
            log.warning("schedule.stopped", schedule=str(due.id), fault=fault.detail)
            error = error or f"It has stopped: {fault.detail}"
    outcome = TurnSchedule.Outcome.REFUSED if accepted is None else TurnSchedule.Outcome.ASKED
    return {
        "id": due.id,
        "due_at": due.due_at,
        "newest_at": newest,
        "following_at": following,
        "missed": missed,
        "outcome": outcome.value,
        "session": firing.session_id,
        "turn": accepted.turn_id if accepted else None,
        "error": cut_text(error, LONGEST_ERROR),
    }
