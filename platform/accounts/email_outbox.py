"""Mail to people, with links for their passwords: written with what asks for it, sent by the scheduler.

A letter is a row first. Whoever sends it takes it for a few minutes, hands it to the mail server, and writes down how
that went: a process that dies in between costs a second copy at most, never the letter. The link is made while it is
sent, so no row, queue or log ever holds one.
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

# How long after each attempt the next one is made; after the last one the letter has failed.
RETRY_DELAYS: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
# Longer than one mail can take: after this a letter whose sender died is anybody's.
CLAIM_TIMEOUT: Final = timedelta(minutes=5)
SEND_SECONDS: Final = 40
RETENTION: Final = timedelta(days=30)

_TASK: Final = "agents.tasks.send_emails"
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
    """Whether this installation sends mail (EMAIL_URL)."""
    return settings.BANDSTAND.mail_server is not None


def queue_emails(users: Iterable[User | None], *, kind: OutgoingEmail.Kind, asked_by: str = "") -> list[OutgoingEmail]:
    """Letters to `users`, sent soon after the caller's transaction. None stands for nobody, at the same cost."""
    emails = OutgoingEmail.objects.bulk_create(
        [OutgoingEmail(user=user, kind=kind, asked_by=asked_by) for user in users]
    )
    async_task(_TASK, group="mail")
    return emails


def send_emails() -> int:
    """Send what is due, for 40 seconds at most; how many were sent. None while another worker is at it.

    A mail server that does not answer takes its time for each letter: it must not get all workers of the scheduler.
    """
    sent: list[bool] = []

    def send_next(_seconds_left: float) -> int:
        with try_advisory_lock(AdvisoryLock.SEND_EMAIL) as acquired:
            email = _claim_next() if acquired else None
            if email is not None:
                sent.append(_send(email))
        # Asked after the lock is gone: who found it taken has left a letter behind.
        return acquired and _due().exists()

    work_in_batches(send_next, seconds=SEND_SECONDS)
    return sum(sent)


def purge_emails() -> int:
    """Delete the letters of more than a month ago; how many there were."""
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
    """The next letter that is due, from now on ours; those for nobody are deleted on the way."""
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
        # Opened here, and so closed, too, when the opening fails half way.
        with get_connection() as server:
            server.send_messages([_message(email, user, absolute_link(path))])
    except (SMTPException, OSError, ValueError) as error:
        # A server may repeat what it refused.
        reason = str(error).replace(path.rstrip("/").rpartition("/")[2], "…")
        _postpone(email, f"{type(error).__name__}: {reason}", permanent=_is_final(error))
        return False
    _close(email, OutgoingEmail.State.SENT)
    log.info("mail.sent", email=str(email.pk), kind=email.kind, user=user.get_username())
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


def _is_final(error: Exception) -> bool:
    """Whether the server refused this very letter: asking again would be refused again."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    if isinstance(error, SMTPAuthenticationError):
        return False  # somebody may be mending the password
    return isinstance(error, ValueError) or (isinstance(error, SMTPResponseException) and error.smtp_code >= 500)


def _postpone(email: OutgoingEmail, error: str, *, permanent: bool) -> None:
    if permanent or email.attempts > len(RETRY_DELAYS):
        _fail(email, error)
        return
    email.due_at = now() + RETRY_DELAYS[email.attempts - 1]
    email.error = error[:300]
    email.save(update_fields=["address", "due_at", "error"])
    log.warning("mail.postponed", email=str(email.pk), attempts=email.attempts, error=email.error)


def _fail(email: OutgoingEmail, error: str) -> None:
    _close(email, OutgoingEmail.State.FAILED, error[:300])
    log.error("mail.failed", email=str(email.pk), attempts=email.attempts, error=email.error)


def _close(email: OutgoingEmail, state: OutgoingEmail.State, error: str = "") -> None:
    email.state, email.error = state, error
    email.finished_at = now()
    email.save(update_fields=["address", "state", "error", "finished_at"])
