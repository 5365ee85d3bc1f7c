"""The status of turns and steps as badges."""

from __future__ import annotations

from typing import Final

from django.utils.safestring import SafeString

from agents.domain.states import StepStatus, TurnStatus
from console.formatting import badge

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


def status_badge(status: str) -> SafeString:
    """`status` of a turn or a step as a coloured badge."""
    return badge(str(status).replace("_", " "), _LEVELS.get(str(status), ""))
