"""PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview

All notifications of an incident have one `dedup_key`: a repeat adds to the incident, and its end resolves it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings

from foundation.graphemes import cut_text
from monitoring.notifications.message import NotificationMessage, Recipient
from monitoring.notifications.notification_content import ContentState
from monitoring.notifications.notification_text import headline, links
from monitoring.notifications.senders.http_request import HttpRequest

MAX_SUMMARY: Final = 1_024
MAX_DEDUP_KEY: Final = 255
_SEVERITIES: Final = frozenset({"critical", "error", "warning", "info"})


def make_request(recipient: Recipient, messages: Sequence[NotificationMessage], *, url: str) -> HttpRequest:
    """The request of the one message in `messages`."""
    (message,) = messages
    event = make_event(message, routing_key=recipient.secret, source=settings.BANDSTAND.base_url)
    return HttpRequest(url, json.dumps(event).encode())


def make_event(message: NotificationMessage, *, routing_key: str, source: str) -> dict[str, Any]:
    """The JSON of a message. `source` is the address of this installation."""
    content = message.content
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if content.state is ContentState.RESOLVED else "trigger",
        "dedup_key": content.incident_key[:MAX_DEDUP_KEY],
    }
    if content.state is ContentState.RESOLVED:
        return event
    return event | {
        "client": "Bandstand",
        "client_url": content.url or source,
        "links": [{"href": address, "text": text} for text, address in links(content)],
        "payload": {
            "summary": cut_text(headline(message), MAX_SUMMARY, mark="…"),
            "source": source,
            "severity": content.severity if content.severity in _SEVERITIES else "warning",
            "timestamp": (content.since or message.created_at).isoformat(),
            "component": content.rule,
            "class": content.rule,
            "custom_details": content.dump(),
        },
    }
