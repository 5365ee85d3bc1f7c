"""Background tasks that the scheduler runs. Each may run twice at a time, and none of them owns a turn."""

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

IDEMPOTENCY_RETENTION = timedelta(hours=48)
RUNNER_RETENTION = timedelta(days=7)

EXPIRED_BATCH = 200
AUDIT_BATCH = 5_000

# Nearly all of the minute until the scheduler runs it again.
BULK_SECONDS = 55
# Then the next bulk action gets its slice, so that a small one does not wait for a large one.
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
    """Run the reaper as the runners do each second, so that turns expire without any runner; return their number."""
    return reaper.reap()


def purge_idempotency() -> int:
    """Delete idempotency records after 48 hours and runners after a week; return the number of records."""
    deleted, _ = IdempotencyRecord.objects.filter(created_at__lt=Now() - IDEMPOTENCY_RETENTION).delete()
    CompletionRequest.objects.filter(created_at__lt=Now() - IDEMPOTENCY_RETENTION).delete()
    Runner.objects.filter(heartbeat_at__lt=Now() - RUNNER_RETENTION).delete()
    return deleted


def purge_limits() -> int:
    """Delete full buckets and the slots of ended web processes; return their number."""
    return purge_full_buckets() + purge_lost_slots()


def delete_expired() -> int:
    """Delete expired sessions, for at most 40 seconds; return their number."""
    return work_in_batches(
        lambda _: delete_expired_sessions(limit=EXPIRED_BATCH), seconds=COMPACT_SECONDS, full=EXPIRED_BATCH
    )


def run_bulk_actions() -> int:
    """Run the open bulk actions in turn, for at most 55 seconds; return the number of processed rows."""
    return work_in_batches(
        lambda remaining: sum(
            run_bulk_action(bulk, seconds=min(remaining, BULK_SLICE_SECONDS)) for bulk in open_bulk_actions()
        ),
        seconds=BULK_SECONDS,
    )


def send_emails() -> int:
    """Send the e-mails that are due, and delete those older than a month; return the number sent."""
    email_outbox.purge_emails()
    return email_outbox.send_emails()


def purge_logins() -> int:
    """Delete expired login sessions; return their number."""
    deleted, _ = Session.objects.filter(expire_date__lt=Now()).delete()
    return deleted


def purge_audit() -> int:
    """Delete audit entries older than `audit_days`, for at most 40 seconds; return their number."""
    days = settings.BANDSTAND.audit_days
    if not days:
        return 0
    cutoff = now() - timedelta(days=days)
    return work_in_batches(
        lambda _: purge_audit_before(cutoff, limit=AUDIT_BATCH), seconds=COMPACT_SECONDS, full=AUDIT_BATCH
    )
