"""What a delivery takes, and what comes of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from monitoring.models import Notification, NotificationChannel
from monitoring.notifications.notification_content import NotificationContent


@dataclass(frozen=True, slots=True)
class NotificationMessage:
    """One notification. `dedup_key` and `kind` together are equal in all of its attempts."""

    kind: Notification.Kind
    dedup_key: str
    created_at: datetime
    content: NotificationContent

    @property
    def id(self) -> str:
        """What receivers tell repeats of the same message by, whichever channel brought it."""
        return f"{self.kind.value}-{self.dedup_key}"


@dataclass(frozen=True, slots=True)
class Recipient:
    """A channel with its secret in clear. `unusable` says why nothing can be sent to it, or is ""."""

    kind: NotificationChannel.Kind
    name: str
    address: str = field(repr=False)
    secret: str = field(default="", repr=False)
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What came of an attempt. `error` is for people, without secrets. After a permanent error the same attempt would
    fail again; `retry_seconds` is how long the receiver wants to be left alone, if it says so."""

    succeeded: bool = False
    error: str = ""
    status_code: int | None = None
    is_permanent: bool = False
    retry_seconds: float | None = None
