"""What a notification says, whichever channel it goes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AlertContent:
    """One alert of a notification."""

    id: str
    labels: dict[str, str]
    state: str
    value: float | None
    value_text: str
    firing_at: datetime | None
    resolved_at: datetime | None
    url: str


@dataclass(frozen=True, slots=True)
class NotificationContent:
    """What is sent, as of the moment in which it was queued."""

    title: str
    state: str
    severity: str
    incident_key: str
    rule: str = ""
    description: str = ""
    condition: str = ""
    value: float | None = None
    value_text: str = ""
    threshold: float | None = None
    threshold_text: str = ""
    since: datetime | None = None
    alerts: tuple[AlertContent, ...] = ()
    alerts_count: int = 0
    url: str = ""
    runbook_url: str = ""

    def dump(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: _dump(value) for name, value in asdict(self).items()}


def _dump(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _dump(item) for name, item in value.items()}
        case list() | tuple():
            return [_dump(item) for item in value]
        case _:
            return value
