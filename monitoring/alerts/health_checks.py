"""The check of alert rules: what fires, and which rules cannot be evaluated, for the start page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import F, FilteredRelation, Q

from foundation.durations import duration
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements
from monitoring.alerts.alert_descriptions import describe_labels, format_metric_value, metric_title
from monitoring.models import Alert, AlertRule, Severity
from monitoring.role_permissions import VIEW_ALERT

# After so many failures in a row the evaluation itself is an alert.
FAILING: Final = 3
# Of all rules together: more are not read.
MAX_ALERTS: Final = 200


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert that fires; for how many seconds."""

    id: UUID
    labels: Mapping[str, Any]
    value: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TroubledRule:
    """A rule with alerts that fire, or that cannot be evaluated because of `error`."""

    id: UUID
    name: str
    metric: str
    severity: str
    description: str
    has_runbook: bool
    error: str
    alerts: Sequence[FiringAlert]


def read_troubled_rules(measurements: Measurements) -> list[TroubledRule]:
    """Rules with alerts that fire, the critical ones first, and those that cannot be evaluated. One statement."""
    rows = (
        AlertRule.objects.annotate(
            firing=FilteredRelation("alerts", condition=Q(alerts__resolved_at=None, alerts__state=Alert.State.FIRING))
        )
        .filter(Q(firing__isnull=False) | Q(enabled=True, evaluation_failures__gte=FAILING))
        .annotate(alert=F("firing__pk"), since=F("firing__firing_at"), of=F("firing__labels"), now=F("firing__value"))
        .order_by("name", "since")
        .values()[:MAX_ALERTS]
    )
    alerts: dict[UUID, list[FiringAlert]] = {}
    rules: dict[UUID, Mapping[str, Any]] = {}
    for row in rows:
        rules[row["id"]] = row
        alerts.setdefault(row["id"], [])
        if row["alert"] is not None:
            alerts[row["id"]].append(_firing(row, measurements.now))
    ranks = {severity: rank for rank, severity in enumerate(Severity.values)}
    return [
        TroubledRule(
            rule_id,
            row["name"],
            row["metric"],
            row["severity"],
            row["description"],
            bool(row["runbook_url"]),
            row["evaluation_error"] if row["evaluation_failures"] >= FAILING else "",
            alerts[rule_id],
        )
        for rule_id, row in sorted(rules.items(), key=lambda item: ranks.get(item[1]["severity"], len(ranks)))
    ]


def _firing(row: Mapping[str, Any], now: datetime) -> FiringAlert:
    return FiringAlert(row["alert"], row["of"], row["now"], max(0.0, (now - row["since"]).total_seconds()))


def evaluate_rules(rules: Sequence[TroubledRule]) -> Sequence[Finding]:
    """A finding for each rule that fires, and for each that cannot be evaluated."""
    return [finding for rule in rules for finding in _findings(rule)]


def _findings(rule: TroubledRule) -> Iterator[Finding]:
    level = Level.BAD if rule.severity == Severity.CRITICAL else Level.WARN
    runbook = "Its page leads to the runbook, which says what to do." if rule.has_runbook else ""
    remedy = " ".join(text for text in (rule.description, runbook) if text)
    if len(rule.alerts) == 1:
        [alert] = rule.alerts
        of = f" of {describe_labels(alert.labels)}" if alert.labels else ""
        value = f"{metric_title(rule.metric)}{of}: {format_metric_value(rule.metric, alert.value)}"
        message = f"{rule.name} has been firing for {duration(alert.seconds)}. {value}"
        yield Finding(level, message, remedy=remedy, link=Link("admin:monitoring_alert_change", args=(alert.id,)))
    elif rule.alerts:
        longest = duration(max(alert.seconds for alert in rule.alerts))
        query = {"rule": rule.id, "state": Alert.State.FIRING.value}
        link = Link("admin:monitoring_alert_changelist", query=query)
        message = f"{rule.name}: {len(rule.alerts)} alerts are firing, the first for {longest}"
        yield Finding(level, message, remedy=remedy, link=link)
    if rule.error:
        yield Finding(
            Level.BAD,
            f"The alert rule {rule.name} cannot be evaluated: {rule.error}",
            remedy="Nobody is notified of what it is about. Mend the rule, or what it reads.",
            link=Link("admin:monitoring_alertrule_change", args=(rule.id,)),
        )


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="alerts",
        title="Alerts",
        measure=read_troubled_rules,
        evaluator=evaluate_rules,
        alarms_when="an alert rule fires, or cannot be evaluated three times in a row; red for critical ones",
        remedy="Its page says since when, and what to do.",
        readers=frozenset({Reader.OVERVIEW}),
        order=5,
        link=Link("admin:monitoring_alert_changelist", query={"state": "firing"}),
        permissions=(VIEW_ALERT,),
    ),
)
