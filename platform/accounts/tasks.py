"""Background tasks of accounts, for the scheduler: mail, old logins and audit entries. Each may run twice."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models.functions import Now

from accounts import email_outbox
from accounts.audit import purge_audit_before
from foundation.batches import work_in_batches
from foundation.clock import now

AUDIT_BATCH = 5_000
# The scheduler's other work waits no longer than this.
AUDIT_SECONDS = 40


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
        lambda _: purge_audit_before(cutoff, limit=AUDIT_BATCH), seconds=AUDIT_SECONDS, full=AUDIT_BATCH
    )
