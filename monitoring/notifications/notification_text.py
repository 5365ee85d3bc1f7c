"""A notification in words, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from monitoring.models import Notification
from monitoring.notifications.message import NotificationMessage
from monitoring.notifications.notification_content import AlertContent, ContentState, NotificationContent

Kind = Notification.Kind

# Of several notifications in one message, so many are listed.
MAX_LISTED: Final = 30
_MARKS: Final = {
    (Kind.FIRING, ContentState.FIRING): "Firing",
    (Kind.FIRING, ContentState.RESOLVED): "Resolved",
    (Kind.REPEAT, ContentState.FIRING): "Still firing",
    (Kind.EVALUATION_FAILED, ContentState.FIRING): "Cannot be evaluated",
    (Kind.EVALUATION_FAILED, ContentState.RESOLVED): "Evaluated again",
    (Kind.TEST, ContentState.FIRING): "Test",
}


def headline(message: NotificationMessage) -> str:
    """One line: what happened, how bad it is, and to what."""
    content = message.content
    mark = _MARKS.get((message.kind, content.state), "Resolved")
    severity = f" ({content.severity})" if content.state is ContentState.FIRING else ""
    return f"{mark}{severity}: {content.title}"


def subject(messages: Sequence[NotificationMessage]) -> str:
    """One line for all of `messages`."""
    if len(messages) == 1:
        return headline(messages[0])
    firing = sum(message.content.state is ContentState.FIRING for message in messages)
    return f"{len(messages)} notifications: {firing} firing, {len(messages) - firing} resolved"


def details(content: NotificationContent) -> Iterator[str]:
    """The lines below the headline, without links."""
    if content.description:
        yield content.description
    if content.condition:
        yield f"Condition: {content.condition}"
    if content.value_text:
        threshold = f" (threshold {content.threshold_text})" if content.threshold_text else ""
        yield f"Value: {content.value_text}{threshold}"
    if content.since is not None:
        yield f"Since: {format_time(content.since)}"
    if content.alerts_count > 1:
        yield f"Alerts: {content.alerts_count}"
    listed = content.alerts if content.alerts_count > 1 or any(alert.labels for alert in content.alerts) else ()
    yield from (f"- {_alert_line(alert)}" for alert in listed)
    if listed and content.alerts_count > len(listed):
        yield f"- and {content.alerts_count - len(listed)} more"


def links(content: NotificationContent) -> Iterator[tuple[str, str]]:
    """The links of a notification: their text and address."""
    if content.url:
        yield "Open in the console", content.url
    if content.runbook_url:
        yield "What to do", content.runbook_url


def format_time(at: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _alert_line(alert: AlertContent) -> str:
    labels = ", ".join(f"{name} {value}" for name, value in sorted(alert.labels.items())) or "no labels"
    value = f": {alert.value_text}" if alert.value_text else ""
    return f"{labels}{value} ({alert.state.value})"
