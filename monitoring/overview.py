"""The overview page: alerts, metrics, the past day, and the latest failed turns, releases and actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

from django.contrib.auth.models import AnonymousUser

from accounts.models import AuditEntry, User
from agents.models import UNANSWERED_FAILURE, Release, Turn
from console.formatting import NOTHING
from foundation.clock import now
from foundation.ids import lowest_id
from health_checks.check import Level, Link, Reader
from health_checks.registry import registry
from health_checks.run import FAULT_LABELS, CheckResult, run_checks
from monitoring.charts import past_day

ROWS: Final = 6
# Audit entries that are read to group repeated actions.
READ_ENTRIES: Final = 200
# The time limit of the checks of the page.
CHECK_SECONDS: Final = 9.0
_FAULT_REMEDY: Final = "Load this page again; var/logs/web-*.log says why it could not be measured."


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem: its description, a link, and what to do. `level` is "warn" or "bad"."""

    message: str
    address: str
    remedy: str
    level: str


@dataclass(frozen=True, slots=True)
class Metric:
    """A number on the overview page. `level` is "", "warn" or "bad"."""

    name: str
    value: str
    message: str
    address: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class RepeatedAction:
    """An action that one actor did `times` in a row, with its newest entry. `or_more`: earlier ones were not read."""

    entry: AuditEntry
    times: int
    or_more: bool


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """The template context of the page, limited to what `user` may see; None for lists without permission."""

    def holds(permission: str) -> bool:
        return bool(user.is_active and user.has_perm(permission))

    at = now()
    failed = Turn.objects.filter(UNANSWERED_FAILURE, pk__gte=lowest_id(at - timedelta(days=1)))
    newest_failed = failed.select_related("user", "agent_session__agent").order_by("-id")
    releases = Release.objects.select_related("agent", "published_by").order_by("-published_at")
    results = run_checks(registry.for_reader(Reader.OVERVIEW, has_permission=holds), now=at, seconds=CHECK_SECONDS)
    return {
        "metrics": [_metric(result) for result in results if result.check.is_metric],
        "alerts": list(_alerts(results)),
        "day": past_day(at) if holds("agents.view_turn") else None,
        "failed_turns": newest_failed[:ROWS] if holds("agents.view_turn") else None,
        "latest_releases": releases[:ROWS] if holds("agents.view_release") else None,
        "latest_actions": _latest_actions() if holds("accounts.view_auditentry") else None,
    }


def _metric(result: CheckResult) -> Metric:
    check = result.check
    if result.fault:
        return Metric(check.title, NOTHING, FAULT_LABELS[result.fault], _address(check.link), "warn")
    [finding] = result.findings
    level = "" if finding.level is Level.GOOD else str(finding.level)
    return Metric(check.title, finding.value, finding.message, _address(finding.link), level)


def _alerts(results: Sequence[CheckResult]) -> Iterator[Alert]:
    """Findings that are not good, and checks that failed to run; without those that another check details."""
    measured = {result.check.name for result in results if not result.fault}
    for result in results:
        check = result.check
        if result.fault:
            yield Alert(f"{check.title}: {FAULT_LABELS[result.fault]}", _address(check.link), _FAULT_REMEDY, "warn")
        elif check.detailed_by not in measured:
            for finding in result.findings:
                if finding.level is not Level.GOOD:
                    message = (
                        f"{check.title}: {finding.value}, {finding.message}" if check.is_metric else finding.message
                    )
                    yield Alert(message, _address(finding.link), finding.remedy, str(finding.level))


def _address(link: Link | None) -> str:
    return link.url() if link else ""


def _latest_actions() -> list[RepeatedAction]:
    entries = list(AuditEntry.objects.defer("detail").order_by("-id")[:READ_ENTRIES])
    actions: list[RepeatedAction] = []
    for _, group in groupby(entries, key=lambda entry: (entry.actor, entry.action)):
        repeated = list(group)
        actions.append(
            RepeatedAction(repeated[0], len(repeated), len(entries) == READ_ENTRIES and repeated[-1] is entries[-1])
        )
    return actions[:ROWS]
