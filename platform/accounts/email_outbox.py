"""The outbox of e-mails with password links: rows written in the caller's transaction, sent by the scheduler.

A worker claims a row for a few minutes, hands the e-mail to the mail server and records the result. If the worker dies
in between, the e-mail is sent twice at most, and never lost. The link is created while sending, so that no row, queue
or log contains one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from smtplib import SMTPAuthenticationError, SMTPException, SMTPRecipientsRefused, SMTPResponseException
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django_q.tasks import async_task

from accounts.models import OutgoingEmail, User
from accounts.password_links import FORGOTTEN, INVITED, LinkTokens, absolute_link, make_link_path
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from foundation.batches import work_in_batches
from foundation.clock import now
from foundation.graphemes import cut_text

# Delays before the second, third and fourth attempt; after that the e-mail has failed.
RETRY_DELAYS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
# Longer than sending one e-mail can take: after this an e-mail whose worker died can be claimed again.
CLAIM_TIMEOUT: Final = timedelta(minutes=5)
SEND_SECONDS: Final = 40
RETENTION: Final = timedelta(days=30)

# What runs as soon as e-mail is queued, by its dotted path, so that only who runs it loads it.
SEND_TASK: Final = "accounts.tasks.send_emails"
_TOKENS: Final[dict[str, LinkTokens]] = {
    OutgoingEmail.Kind.INVITATION: INVITED,
    OutgoingEmail.Kind.FORGOTTEN: FORGOTTEN,
}
_SUBJECTS: Final[dict[str, str]] = {
    OutgoingEmail.Kind.INVITATION: "Choose your password",
    OutgoingEmail.Kind.FORGOTTEN: "A new password",
}

log = structlog.get_logger(__name__)


def email_enabled() -> bool:
    """Whether this installation sends e-mail (EMAIL_URL is set)."""
    return settings.BANDSTAND.mail_server is not None


def queue_emails(users: Iterable[User | None], *, kind: OutgoingEmail.Kind, asked_by: str = "") -> list[OutgoingEmail]:
    """Queue one e-mail for each of `users`, sent soon after the caller's transaction commits; return the rows.

    A None among `users` costs as much as a user and sends nothing, so that timing does not tell who has an account.
    """
    emails = OutgoingEmail.objects.bulk_create(
        [OutgoingEmail(user=user, kind=kind, asked_by=asked_by) for user in users]
    )
    async_task(SEND_TASK, group="mail")
    return emails


def send_emails() -> int:
    """Send the e-mails that are due, for at most `SEND_SECONDS`; return how many were sent.

    Only one worker sends at a time, so that a mail server that does not answer cannot block all of the scheduler.
    """
    sent: list[bool] = []

    def send_next(_seconds_left: float) -> int:
        with try_advisory_lock(AdvisoryLock.SEND_EMAIL) as acquired:
            email = _claim_next() if acquired else None
            if email is not None:
                sent.append(_send(email))
        # Queried after the lock is released: a worker that could not take it may have left an e-mail behind.
        return acquired and _due().exists()

    work_in_batches(send_next, seconds=SEND_SECONDS)
    return sum(sent)


def purge_emails() -> int:
    """Delete finished e-mails older than `RETENTION`; return how many."""
    deleted, _ = (
        OutgoingEmail.objects.filter(created_at__lt=now() - RETENTION)
        .exclude(state=OutgoingEmail.State.WAITING)
        .delete()
    )
    return deleted


def _due() -> QuerySet[OutgoingEmail]:
    return OutgoingEmail.objects.filter(state=OutgoingEmail.State.WAITING, due_at__lte=Now())


@transaction.atomic
def _claim_next() -> OutgoingEmail | None:
    """Claim the next e-mail that is due, or return None. Rows without a user are deleted."""
    OutgoingEmail.objects.filter(user=None, state=OutgoingEmail.State.WAITING).delete()
    email = (
        _due()
        .filter(user__isnull=False)
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("user")
        .order_by("due_at")
        .first()
    )
    if email is not None:
        email.attempts += 1
        email.due_at = now() + CLAIM_TIMEOUT
        email.save(update_fields=["attempts", "due_at"])
    return email


def _send(email: OutgoingEmail) -> bool:
    user = email.user
    assert user is not None
    if (reason := _undeliverable_reason(email, user)) is not None:
        _fail(email, reason)
        return False
    path = make_link_path(user, _TOKENS[email.kind])
    email.address = user.email
    try:
        # As a context manager, so that it is closed also if opening fails half-way.
        with get_connection() as server:
            server.send_messages([_message(email, user, absolute_link(path))])
    except (SMTPException, OSError, ValueError) as error:
        # The server's error may quote the message, with the token of the link.
        reason = str(error).replace(path.rstrip("/").rpartition("/")[2], "…")
        _postpone(email, f"{type(error).__name__}: {reason}", permanent=is_permanent_failure(error))
        return False
    _close(email, OutgoingEmail.State.SENT)
    log.info("mail.sent", email_id=str(email.pk), kind=email.kind, user=user.get_username())
    return True


def _undeliverable_reason(email: OutgoingEmail, user: User) -> str | None:
    if not email_enabled():
        return "Mail is switched off (EMAIL_URL)."
    if not user.is_active:
        return "The account was closed meanwhile."
    if not user.email:
        return "The account has no address."
    if now() - email.created_at > _TOKENS[email.kind].lifetime:
        return "It could not be sent in time."
    return None


def _message(email: OutgoingEmail, user: User, link: str) -> EmailMultiAlternatives:
    context = {
        "user": user,
        "link": link,
        "asked_by": email.asked_by,
        "home": settings.BANDSTAND.base_url,
        "subject": _SUBJECTS[email.kind],
    }
    template = f"email/{email.kind}"
    message = EmailMultiAlternatives(
        _SUBJECTS[email.kind], render_to_string(f"{template}.txt", context), to=[user.email]
    )
    message.attach_alternative(render_to_string(f"{template}.html", context), "text/html")
    return message


def is_permanent_failure(error: Exception) -> bool:
    """Whether the server rejected this message for good, so that a retry would fail as well."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    if isinstance(error, SMTPAuthenticationError):
        return False  # an operator may be fixing the password
    return isinstance(error, ValueError) or (isinstance(error, SMTPResponseException) and error.smtp_code >= 500)


def _postpone(email: OutgoingEmail, error: str, *, permanent: bool) -> None:
    if permanent or email.attempts > len(RETRY_DELAYS):
        _fail(email, error)
        return
    email.due_at = now() + RETRY_DELAYS[email.attempts - 1]
    email.error = cut_text(error, 300)
    email.save(update_fields=["address", "due_at", "error"])
    log.warning("mail.postponed", email_id=str(email.pk), attempts=email.attempts, error=email.error)


def _fail(email: OutgoingEmail, error: str) -> None:
    _close(email, OutgoingEmail.State.FAILED, cut_text(error, 300))
    log.error("mail.failed", email_id=str(email.pk), attempts=email.attempts, error=email.error)


def _close(email: OutgoingEmail, state: OutgoingEmail.State, error: str = "") -> None:
    email.state, email.error = state, error
    email.finished_at = now()
    email.save(update_fields=["address", "state", "error", "finished_at"])
