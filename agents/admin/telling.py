"""How states, times and money are told in the console's lists and pages."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.rules.states import StepStatus, TurnStatus

_LEVELS: Final[dict[str, str]] = {
    TurnStatus.QUEUED: "warn",
    TurnStatus.RUNNING: "good",
    TurnStatus.WAITING: "warn",
    TurnStatus.RETRY_WAIT: "warn",
    TurnStatus.CANCELLING: "warn",
    TurnStatus.FAILED: "bad",
    TurnStatus.EXPIRED: "bad",
    StepStatus.INTENT: "warn",
    StepStatus.UNKNOWN: "bad",
}
NOTHING: Final = "\N{EN DASH}"


def tag(word: str, level: str = "") -> SafeString:
    """A label; `level` is "", "good", "warn" or "bad"."""
    return format_html('<span class="bs-tag{}">{}</span>', f" bs-tag--{level}" if level else "", word)


def state_tag(status: str) -> SafeString:
    """The state of a turn or a step."""
    return tag(str(status).replace("_", " "), _LEVELS.get(str(status), ""))


def money(cost: Decimal | None) -> str:
    """Dollars as people compare them; a dash where no price is known."""
    if cost is None:
        return NOTHING
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}" if cost else "$0"


def took(begin: datetime | None, end: datetime | None) -> str:
    """A time span: "640 ms", "3.2 s", "4 min 05 s"."""
    if begin is None or end is None:
        return NOTHING
    seconds = max(0.0, (end - begin).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def moment(at: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else NOTHING
