"""E-mail to the addresses of a channel, through the mail server of EMAIL_URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from smtplib import SMTPException, SMTPResponseException
from typing import Final

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from accounts.email_outbox import is_permanent_failure
from foundation.clock import now
from foundation.graphemes import cut_text
from foundation.names import clean_name
from monitoring.notifications.message import DeliveryOutcome, NotificationMessage, Recipient
from monitoring.notifications.notification_text import MAX_LISTED, details, format_time, headline, links, subject

MAX_SUBJECT: Final = 200
MAX_ERROR: Final = 200


def send_email(recipient: Recipient, messages: Sequence[NotificationMessage], *, is_enabled: bool) -> DeliveryOutcome:
    """Send one e-mail with all of `messages` to the addresses of the channel."""
    if not is_enabled:
        return DeliveryOutcome(error="E-mail is switched off (EMAIL_URL).", is_permanent=True)
    try:
        # As a context manager, so that it is closed also if opening fails half-way.
        with get_connection() as server:
            server.send_messages([make_email(recipient, messages)])
    except (SMTPException, OSError, ValueError) as error:
        return DeliveryOutcome(
            error=cut_text(clean_name(f"{type(error).__name__}: {error}"), MAX_ERROR, mark="…"),
            status_code=error.smtp_code if isinstance(error, SMTPResponseException) else None,
            is_permanent=is_permanent_failure(error),
        )
    return DeliveryOutcome(succeeded=True)


def make_email(recipient: Recipient, messages: Sequence[NotificationMessage]) -> EmailMessage:
    """One e-mail with all of `messages`; of one incident they stand in one thread."""
    title = cut_text(clean_name(subject(messages)), MAX_SUBJECT, mark="…")
    headers = {"Auto-Submitted": "auto-generated", "X-Bandstand-Message": messages[0].id}
    if len(messages) == 1:
        headers["References"] = f"<{messages[0].content.incident_key}@bandstand.invalid>"
    return EmailMessage(title, "\n".join(_lines(messages)), to=recipient.address.split(), headers=headers)


def _lines(messages: Sequence[NotificationMessage]) -> Iterator[str]:
    for message in messages[:MAX_LISTED]:
        yield headline(message)
        yield ""
        yield from details(message.content)
        yield from (f"{text}: {address}" for text, address in links(message.content))
        yield ""
    if len(messages) > MAX_LISTED:
        yield f"and {len(messages) - MAX_LISTED} more: see the notifications in the console."
        yield ""
    yield f"Sent by Bandstand at {settings.BANDSTAND.base_url}, {format_time(now())}."
