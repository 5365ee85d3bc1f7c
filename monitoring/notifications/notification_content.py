"""What a notification says, in a form that every kind of channel is made from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

# A notification about more alerts names these, and says how many there are.
MAX_ALERTS: Final = 20

C = TypeVar("C", "AlertContent", "NotificationContent")


class ContentState(StrEnum):
    """What is reported: that something is wrong, or that it is over."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertContent:
    """One alert. `value_text` has the unit; `url` is its page in the console."""

    id: str
    state: ContentState = ContentState.FIRING
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    value_text: str = ""
    firing_at: datetime | None = None
    resolved_at: datetime | None = None
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationContent:
    """What is sent, as of the moment at which it was queued.

    `incident_key` is equal in what reports one incident: its beginning, its repeats and its end. `condition` is the
    rule in words, `since` when the incident began; texts of values have their units. `alerts` are at most `MAX_ALERTS`
    of `alerts_count`. `url` is the page to look at, `runbook_url` what to do; either is "" when there is none.
    """

    title: str
    incident_key: str
    state: ContentState = ContentState.FIRING
    severity: str = "warning"
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
        return _plain(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> NotificationContent:
        """Read what `dump` wrote; what is missing gets its default, and what is unknown is left out."""
        alerts = tuple(_read(AlertContent, alert) for alert in data.get("alerts", ()))
        return _read(cls, {**data, "alerts": alerts})


_TIMES: Final = frozenset({"since", "firing_at", "resolved_at"})


def _read(kind: type[C], data: Mapping[str, Any]) -> C:
    known = {item.name for item in fields(kind)}
    values = {name: value for name, value in data.items() if name in known}
    values |= {name: datetime.fromisoformat(values[name]) for name in _TIMES & values.keys() if values[name]}
    return kind(**values | {"state": ContentState(values.get("state", ContentState.FIRING))})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
