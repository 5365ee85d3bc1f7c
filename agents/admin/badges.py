"""The status of turns and steps as badges."""

from __future__ import annotations

from typing import Final

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.domain.states import StepStatus, TurnStatus
from agents.models import Turn
from agents.sessions.retry import RETRIABLE
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


def retry_badge(turn: Turn) -> SafeString | None:
    """A badge with a link to the turn that asked the question of a failed one again; None for other turns."""
    if turn.retried_by_id is None or turn.status not in RETRIABLE:
        return None
    address = reverse("admin:agents_turn_change", args=[turn.retried_by_id])
    return format_html('<a class="bs-tag" href="{}" title="The turn that asked it again">retried</a>', address)


def purpose_badge(purpose: str) -> SafeString:
    """A badge for the purpose of a session; "" for one of production."""
    return badge(purpose, "warn") if purpose else SafeString("")


def rating_badge(value: int) -> SafeString:
    """A badge for a rating: 1 or -1."""
    return badge("rated up", "good") if value > 0 else badge("rated down", "bad")
