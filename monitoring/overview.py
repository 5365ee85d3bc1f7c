"""The overview page: its live part, and the latest releases and actions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import BadRequest
from django.http import HttpRequest

from accounts.models import AuditEntry, User
from agents.models import Release
from monitoring.dashboard import dashboard, permission_test
from monitoring.time_ranges import DEFAULT_RANGE, RANGES, DashboardRange

ROWS: Final = 6
# Audit entries that are read to group repeated actions.
READ_ENTRIES: Final = 200


class UnknownRange(BadRequest):
    """The address names a range of time that there is not."""

    rule = "console_range"

    def __init__(self) -> None:
        super().__init__(f"There is no such range of time; there are {', '.join(RANGES)}.")


@dataclass(frozen=True, slots=True)
class RepeatedAction:
    """An action that one actor did `times` in a row, with its newest entry. `or_more`: earlier ones were not read."""

    entry: AuditEntry
    times: int
    or_more: bool


def read_range(request: HttpRequest, default: DashboardRange = DEFAULT_RANGE) -> DashboardRange:
    """The range of time in the address, or `default`. Raises `UnknownRange`."""
    try:
        return RANGES[request.GET["range"]] if "range" in request.GET else default
    except KeyError:
        raise UnknownRange from None


def overview(user: User | AnonymousUser, time_range: DashboardRange) -> dict[str, Any]:
    """The template context of the page, limited to what `user` may see; None for lists without permission."""
    holds = permission_test(user)
    releases = Release.objects.select_related("agent", "published_by").order_by("-published_at")
    return {
        **dashboard(user, time_range),
        "latest_releases": releases[:ROWS] if holds("agents.view_release") else None,
        "latest_actions": _latest_actions() if holds("accounts.view_auditentry") else None,
    }


def _latest_actions() -> list[RepeatedAction]:
    entries = list(AuditEntry.objects.defer("detail").order_by("-id")[:READ_ENTRIES])
    actions: list[RepeatedAction] = []
    for _, group in groupby(entries, key=lambda entry: (entry.actor, entry.action)):
        repeated = list(group)
        actions.append(
            RepeatedAction(repeated[0], len(repeated), len(entries) == READ_ENTRIES and repeated[-1] is entries[-1])
        )
    return actions[:ROWS]
