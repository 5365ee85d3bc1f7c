"""Delivers notifications to a channel over the network. Uses no database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from django.conf import settings

from accounts.email_outbox import email_enabled
from foundation.http import GuardedClient, allowed_origin
from monitoring.models import NotificationChannel
from monitoring.notifications.message import DeliveryOutcome, NotificationMessage, Recipient
from monitoring.notifications.senders import email_message, pagerduty, slack, webhook
from monitoring.notifications.senders.http_request import HttpRequest, send_request

log = structlog.get_logger(__name__)

Kind = NotificationChannel.Kind


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What the environment says of deliveries. `hosts` are `host:port` that may be in private networks."""

    pagerduty_url: str
    hosts: frozenset[str] = field(default_factory=frozenset)
    email_enabled: bool = False

    @property
    def allow_origins(self) -> frozenset[str]:
        """The origins that the environment has named."""
        return self.hosts | {allowed_origin(self.pagerduty_url)}


def read_delivery_settings() -> DeliverySettings:
    """Those of this process."""
    config = settings.BANDSTAND
    return DeliverySettings(
        pagerduty_url=config.pagerduty_url, hosts=frozenset(config.alert_hosts), email_enabled=email_enabled()
    )


def deliver(
    recipient: Recipient, messages: Sequence[NotificationMessage], delivery_settings: DeliverySettings
) -> DeliveryOutcome:
    """Send `messages`, all of them in one, and return what came of it. Never raises; ends within a minute or two."""
    if recipient.unusable:
        return DeliveryOutcome(error=recipient.unusable, is_permanent=True)
    try:
        if recipient.kind is Kind.EMAIL:
            return email_message.send_email(recipient, messages, is_enabled=delivery_settings.email_enabled)
        request = _make_request(recipient, messages, delivery_settings)
        return asyncio.run(_post(request, recipient, delivery_settings))
    except Exception as error:
        # An error of ours in one message must not stop the others; what it says may contain the secret.
        log.error("notification.not_delivered", channel=recipient.name, error=type(error).__name__)
        return DeliveryOutcome(error=f"It could not be made ({type(error).__name__}).", is_permanent=True)


def _make_request(
    recipient: Recipient, messages: Sequence[NotificationMessage], delivery_settings: DeliverySettings
) -> HttpRequest:
    match recipient.kind:
        case Kind.SLACK:
            return slack.make_request(recipient, messages)
        case Kind.PAGERDUTY:
            return pagerduty.make_request(recipient, messages, url=delivery_settings.pagerduty_url)
        case _:
            return webhook.make_request(recipient, messages)


async def _post(request: HttpRequest, recipient: Recipient, delivery_settings: DeliverySettings) -> DeliveryOutcome:
    async with GuardedClient(allow_origins=delivery_settings.allow_origins) as client:
        return await send_request(client, request, secret=recipient.secret)
