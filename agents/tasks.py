"""Background tasks of sessions and turns, for the scheduler. Each may run twice at a time; none owns a turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from agents.domain.circuit_breaker import BreakerState
from agents.domain.configuration import NewerConfiguration
from agents.engine.context import load_release
from agents.journal.compaction import compact_turns
from agents.journal.turn_texts import store_turn_texts
from agents.models import CompletionRequest, RouteHealth, Runner, Turn
from agents.runner import reaper
from agents.runner.budget_waker import settle_open_reservations
from agents.runner.handoff_timers import run_handoff_timers
from agents.sessions import delete_expired_sessions, open_bulk_actions, run_bulk_action
from agents.sessions.schedule_firing import BATCH as SCHEDULE_BATCH
from agents.sessions.schedule_firing import fire_due_schedules
from agents.sessions.turn_episodes import remember_turn, uses_memory
from foundation.batches import work_in_batches
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import InvalidInput

log = structlog.get_logger(__name__)

# Readers who follow live are past the deltas by then; later ones get the compacted row.
COMPACT_AFTER = timedelta(seconds=60)
COMPACT_BATCH = 500
# Of one transaction, in which their sessions are locked: a message to one of them waits for some milliseconds.
COMPACT_TURNS = 20
# The scheduler runs this each minute; a crowd of ended turns must not hold up its other work for longer.
COMPACT_SECONDS = 40

COMPLETION_RETENTION = timedelta(hours=48)
RUNNER_RETENTION = timedelta(days=7)
ROUTE_RETENTION = timedelta(days=90)

EXPIRED_BATCH = 200

# What is not fired by then is by the next run, a minute later.
FIRE_SECONDS = 50

# Nearly all of the minute until the scheduler runs it again.
BULK_SECONDS = 55
# Then the next bulk action gets its slice, so that a small one does not wait for a large one.
BULK_SLICE_SECONDS = 10


def turns_to_compact() -> QuerySet[Turn]:
    """Ended turns whose deltas are not compacted, in the order of their ends."""
    return Turn.objects.filter(finished_at__lt=Now() - COMPACT_AFTER, compacted=False).order_by("finished_at")


def compact_events() -> int:
    """Compact the deltas of turns that ended a minute ago or earlier, count these and store their words for search, for
    40 seconds at most; return how many turns. What a runner was to remember of them and has not, because it was killed,
    is remembered before."""
    due = turns_to_compact().values_list("agent_session_id", "id", "release_id")

    def compact_batch(_left: float) -> int:
        # Those of one session together, so that its log is read once.
        rows = sorted(due[:COMPACT_BATCH])
        store_turn_texts([turn for _, turn, _ in rows])
        return sum(_compact(rows[first : first + COMPACT_TURNS]) for first in range(0, len(rows), COMPACT_TURNS))

    return work_in_batches(compact_batch, seconds=COMPACT_SECONDS, full=COMPACT_BATCH)


def _compact(rows: Sequence[tuple[UUID, UUID, UUID]]) -> int:
    for _, turn, release in rows:
        _remember(turn, release)
    return _compact_readable([(session, turn) for session, turn, _ in rows])


def _compact_readable(turns: Sequence[tuple[UUID, UUID]]) -> int:
    """Compact `turns`; one whose rows cannot be read is logged and holds nobody else up."""
    try:
        return compact_turns(turns)
    except DATABASE_FAULTS:
        raise
    except DatabaseError:
        if len(turns) > 1:
            return sum(_compact_readable([turn]) for turn in turns)
        log.exception("turn.not_compacted", turn=str(turns[0][1]))
        return 0


def _remember(turn_id: UUID, release_id: UUID) -> None:
    """Remember what a turn's runner has not, if it was killed. Only the database may keep a turn from being compacted:
    then the next run tries both again."""
    try:
        release = load_release(release_id)
        if uses_memory(release):
            remember_turn(turn_id, release=release)
    except DATABASE_FAULTS:
        raise
    except (InvalidInput, NewerConfiguration) as error:
        log.warning("turn.not_remembered", turn=str(turn_id), fault=error.detail)
    except Exception:
        log.exception("turn.not_remembered", turn=str(turn_id))


def reap() -> int:
    """Run the reaper and the timers of handoffs as the runners do, so that turns expire and people wait no longer than
    they should without any runner, and settle what killed runners had reserved; return the number of turns and of
    handoffs that moved."""
    return reaper.reap() + run_handoff_timers() + settle_open_reservations()


def purge_completions() -> int:
    """Delete what is kept to recognize repeated completions, after 48 hours; return the number of requests."""
    deleted, _ = CompletionRequest.objects.filter(created_at__lt=Now() - COMPLETION_RETENTION).delete()
    return deleted


def purge_runners() -> int:
    """Delete runners whose last heartbeat is a week old; return their number."""
    deleted, _ = Runner.objects.filter(heartbeat_at__lt=Now() - RUNNER_RETENTION).delete()
    return deleted


def purge_routes() -> int:
    """Delete routes that no process has begun to use for 90 days, and that are closed or have not moved since, unless
    an operator holds them; return their number."""
    old = Now() - ROUTE_RETENTION
    unused = RouteHealth.objects.filter(Q(state=BreakerState.CLOSED.value) | Q(changed_at__lt=old), used_at__lt=old)
    deleted, _ = unused.exclude(forced_until__gt=Now()).delete()
    return deleted


def delete_expired() -> int:
    """Delete expired sessions, for at most 40 seconds; return their number."""
    return work_in_batches(
        lambda _: delete_expired_sessions(limit=EXPIRED_BATCH), seconds=COMPACT_SECONDS, full=EXPIRED_BATCH
    )


def fire_schedules() -> int:
    """Fire the schedules that are due, for at most 50 seconds; return their number."""
    return work_in_batches(
        lambda _: fire_due_schedules(limit=SCHEDULE_BATCH), seconds=FIRE_SECONDS, full=SCHEDULE_BATCH
    )


def run_bulk_actions() -> int:
    """Run the open bulk actions in turn, for at most 55 seconds; return the number of processed rows."""
    return work_in_batches(
        lambda remaining: sum(
            run_bulk_action(bulk, seconds=min(remaining, BULK_SLICE_SECONDS)) for bulk in open_bulk_actions()
        ),
        seconds=BULK_SECONDS,
    )
