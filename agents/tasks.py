"""What the scheduler runs. Every task may run twice, and none of them owns a turn."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from agents.journal.folding import fold_turn
from agents.models import IdempotencyRecord, Runner, Turn
from agents.runner import reaper

# Readers who follow live are past the deltas by then; whoever comes later is served the folded row.
FOLD_AFTER = timedelta(seconds=60)
FOLD_BATCH = 2000

KEEP_IDEMPOTENCY = timedelta(hours=48)
KEEP_RUNNERS = timedelta(days=7)


def compact_events() -> int:
    """Fold the deltas of turns that ended a minute ago or earlier; how many turns were folded."""
    due = Turn.objects.filter(finished_at__lt=Now() - FOLD_AFTER, compacted=False).order_by("id")
    return sum(fold_turn(session, turn) for session, turn in due.values_list("agent_session_id", "id")[:FOLD_BATCH])


def reap() -> int:
    """The safety net under the runners' own reapers: with no runner alive, turns still expire."""
    return reaper.reap()


def purge_idempotency() -> int:
    """Forget outcomes that nobody may ask for any more, and runners that are long gone."""
    forgotten, _ = IdempotencyRecord.objects.filter(created_at__lt=Now() - KEEP_IDEMPOTENCY).delete()
    Runner.objects.filter(heartbeat_at__lt=Now() - KEEP_RUNNERS).delete()
    return forgotten
