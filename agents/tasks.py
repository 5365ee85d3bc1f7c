"""What the scheduler runs. Every task may run twice, and none of them owns a turn."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts import email_outbox
from accounts.audit import purge_audit_before
from agents.journal.compaction import compact_turn
from agents.models import CompletionRequest, Runner, Turn
from agents.runner import reaper
from agents.sessions import delete_expired_sessions, open_bulk_actions, run_bulk_action
from agents.ws.connection_slots import purge_lost_slots
from foundation.batches import work_in_batches
from foundation.clock import now
from ratelimits.buckets import purge_full_buckets
from rest.models import IdempotencyRecord

# Readers who follow live are past the deltas by then; later ones get the compacted row.
COMPACT_AFTER = timedelta(seconds=60)
COMPACT_BATCH = 500
# The scheduler runs this each minute; a crowd of ended turns must not hold up its other work for longer.
COMPACT_SECONDS = 40

KEEP_IDEMPOTENCY = timedelta(hours=48)
KEEP_RUNNERS = timedelta(days=7)

EXPIRED_BATCH = 200
AUDIT_BATCH = 5_000

# Nearly all of the minute until the scheduler runs it again.
BULK_SECONDS = 55
# Then it is the next one's turn, so that a small act does not wait for a large one.
BULK_SLICE_SECONDS = 10


def turns_to_compact() -> QuerySet[Turn]:
    """Ended turns whose deltas are not compacted, in the order of their ends."""
    return Turn.objects.filter(finished_at__lt=Now() - COMPACT_AFTER, compacted=False).order_by("finished_at")


def compact_events() -> int:
    """Compact the deltas of turns that ended a minute ago or earlier, for 40 seconds at most; return how many turns."""
    due = turns_to_compact().values_list("agent_session_id", "id")

    def compact_batch(_left: float) -> int:
        return sum(compact_turn(session, turn) for session, turn in due[:COMPACT_BATCH])

    return work_in_batches(compact_batch, seconds=COMPACT_SECONDS, full=COMPACT_BATCH)


def reap() -> int:
    """The safety net under the runners' own reapers: with no runner alive, turns still expire."""
    return reaper.reap()


def purge_idempotency() -> int:
    """Forget outcomes that nobody may ask for any more, and runners that are long gone."""
    forgotten, _ = IdempotencyRecord.objects.filter(created_at__lt=Now() - KEEP_IDEMPOTENCY).delete()
    CompletionRequest.objects.filter(created_at__lt=Now() - KEEP_IDEMPOTENCY).delete()
    Runner.objects.filter(heartbeat_at__lt=Now() - KEEP_RUNNERS).delete()
    return forgotten


def purge_limits() -> int:
    """Delete what limits need no more: full buckets, and the slots of web processes that are gone."""
    return purge_full_buckets() + purge_lost_slots()


def delete_expired() -> int:
    """Delete sessions past their end, for 40 seconds at most; how many."""
    return work_in_batches(
        lambda _: delete_expired_sessions(limit=EXPIRED_BATCH), seconds=COMPACT_SECONDS, full=EXPIRED_BATCH
    )


def run_bulk_actions() -> int:
    """Go on with the acts of operators on many rows, by turns, for most of a minute; how many rows were dealt with."""
    return work_in_batches(
        lambda left: sum(run_bulk_action(bulk, seconds=min(left, BULK_SLICE_SECONDS)) for bulk in open_bulk_actions()),
        seconds=BULK_SECONDS,
    )


def send_emails() -> int:
    """Send the mails that are due, and forget those of more than a month ago; how many were sent."""
    email_outbox.purge_emails()
    return email_outbox.send_emails()


def purge_logins() -> int:
    """Delete the logins of browsers that have ended; how many."""
    forgotten, _ = Session.objects.filter(expire_date__lt=Now()).delete()
    return forgotten


def purge_audit() -> int:
    """Delete the entries of the audit trail that are older than they are to be kept, for 40 seconds at most."""
    days = settings.BANDSTAND.audit_days
    if not days:
        return 0
    before = now() - timedelta(days=days)
    return work_in_batches(
        lambda _: purge_audit_before(before, limit=AUDIT_BATCH), seconds=COMPACT_SECONDS, full=AUDIT_BATCH
    )
