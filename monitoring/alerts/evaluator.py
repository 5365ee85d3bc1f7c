"""One pass over the alert rules that are due: values are read, alerts change, and notifications are queued with them.

All of a pass is one transaction under an advisory lock that ends with it, so that whoever dies in between leaves
nothing behind, and the next pass, in whichever process, goes on from the rows. Times are those of the database.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now

from foundation.advisory_locks import AdvisoryLock, try_advisory_xact_lock
from foundation.graphemes import cut_text
from monitoring.alerts.label_sets import LabelSet
from monitoring.alerts.notification_groups import assign_group, queue_evaluation, queue_notifications
from monitoring.alerts.rule_values import read_rule_values, series_key
from monitoring.alerts.transitions import RULE_DISABLED, RuleAlerts, apply_values, end_alert, nearest_to_firing
from monitoring.models import Alert, AlertRule
from monitoring.performance.situation import database_now

log = structlog.get_logger(__name__)

Values = Mapping[LabelSet, float | None]
ReadValues = Callable[[AlertRule, datetime], Values]

# A pass begins no further reading after this time: the rules that remain are the first of the next one. The server
# ends a transaction of a process that serves people after 15 s.
READING_SECONDS: Final = 5.0
# After so many evaluations in a row that failed, people are notified.
FAILURES_UNTIL_NOTIFIED: Final = 3
_ALERT_FIELDS: Final = (
    "state", "pending_at", "firing_at", "clear_at", "resolved_at", "evaluated_at", "value", "resolution", "group_key",
    "notified_at",
)  # fmt: skip
_RULE_FIELDS: Final = ("evaluated_at", "value", "evaluation_failures", "evaluation_error", "evaluation_failing_at")


@dataclass(frozen=True, slots=True)
class EvaluationPass:
    """How many rules a pass evaluated, how many of them could not be, and how many notifications it queued."""

    rules: int = 0
    failures: int = 0
    notifications: int = 0


def evaluate_due_rules(*, read_values: ReadValues = read_rule_values, at: datetime | None = None) -> EvaluationPass:
    """Evaluate the rules that are due at `at`, by default the database's time, unless another process does.

    One statement where nothing is due.
    """
    if not AlertRule.objects.due(at or Now()).exists():
        return EvaluationPass()
    with transaction.atomic():
        if not try_advisory_xact_lock(AdvisoryLock.EVALUATE_ALERTS):
            return EvaluationPass()
        moment = at or database_now()
        return evaluate_rules(AlertRule.objects.due(moment), read_values=read_values, at=moment)


def evaluate_rules(
    rules: Iterable[AlertRule], *, at: datetime, read_values: ReadValues = read_rule_values
) -> EvaluationPass:
    """Evaluate `rules` at `at`, in the caller's transaction, which holds `AdvisoryLock.EVALUATE_ALERTS`.

    A rule that cannot be evaluated leaves its alerts as they are, and fails no other rule.
    """
    readings = _read(rules, read_values, at)
    alerts = _read_open_alerts(reading.rule for reading in readings)
    outcomes = [_judge(reading, alerts[reading.rule.pk], at) for reading in readings]
    queued = sum(_note_outcome(reading, at) for reading in readings)
    AlertRule.objects.bulk_update([reading.rule for reading in readings], _RULE_FIELDS)
    queued += _write(outcomes, at)
    return EvaluationPass(len(readings), sum(bool(reading.error) for reading in readings), queued)


@dataclass(frozen=True, slots=True)
class _Reading:
    """The values of a rule, or why there are none. Of a disabled rule neither is there."""

    rule: AlertRule
    values: Values
    error: str = ""


def _read(rules: Iterable[AlertRule], read_values: ReadValues, at: datetime) -> list[_Reading]:
    """The values of as many rules as there is time for. Rules that look at the same share a reading."""
    ends_at = time.monotonic() + READING_SECONDS
    shared: dict[tuple[str, int], _Reading] = {}
    readings = []
    for rule in rules:
        if time.monotonic() > ends_at:
            log.warning("alert_rules.postponed", first=rule.name)
            break
        if not rule.enabled:
            readings.append(_Reading(rule, {}))
            continue
        key = series_key(rule), rule.window_seconds
        if key not in shared:
            shared[key] = _read_rule(rule, read_values, at)
        readings.append(replace(shared[key], rule=rule))
    return readings


def _read_rule(rule: AlertRule, read_values: ReadValues, at: datetime) -> _Reading:
    try:
        with transaction.atomic():
            return _Reading(rule, read_values(rule, at))
    except Exception as error:
        if not connection.is_usable():
            raise
        log.warning("alert_rule.not_evaluated", rule=rule.name, error=str(error)[:200])
        return _Reading(rule, {}, cut_text(f"{type(error).__name__}: {error}", 300))


def _read_open_alerts(rules: Iterable[AlertRule]) -> dict[UUID, list[Alert]]:
    by_id = {rule.pk: rule for rule in rules}
    alerts: dict[UUID, list[Alert]] = defaultdict(list)
    for alert in Alert.objects.open().filter(rule__in=by_id).order_by("id"):
        alert.rule = by_id[alert.rule_id]
        alerts[alert.rule_id].append(alert)
    return alerts


def _judge(reading: _Reading, alerts: Sequence[Alert], at: datetime) -> RuleAlerts:
    """What becomes of the alerts of a rule."""
    if reading.error:
        return RuleAlerts(reading.rule, firing=[alert for alert in alerts if alert.state == Alert.State.FIRING])
    if reading.rule.enabled:
        return apply_values(reading.rule, alerts, reading.values, at)
    outcome = RuleAlerts(reading.rule)
    for alert in alerts:
        end_alert(alert, outcome, at, RULE_DISABLED)
    return outcome


def _note_outcome(reading: _Reading, at: datetime) -> int:
    """Note at the rule how its evaluation went; return how many notifications that queued."""
    rule, failures = reading.rule, reading.rule.evaluation_failures
    if rule.enabled:
        rule.evaluated_at = at
    if reading.error:
        rule.evaluation_failures, rule.evaluation_error = failures + 1, reading.error
        rule.evaluation_failing_at = rule.evaluation_failing_at or at
        if failures + 1 != FAILURES_UNTIL_NOTIFIED:
            return 0
        return queue_evaluation(rule, failing_at=rule.evaluation_failing_at, error=reading.error)
    failing_at = rule.evaluation_failing_at
    rule.value = nearest_to_firing(rule, list(reading.values.values()))
    rule.evaluation_failures, rule.evaluation_error, rule.evaluation_failing_at = 0, "", None
    if failures < FAILURES_UNTIL_NOTIFIED or failing_at is None:
        return 0
    return queue_evaluation(rule, failing_at=failing_at, error="")


def _write(outcomes: Sequence[RuleAlerts], at: datetime) -> int:
    """Write what became of the alerts, and queue the notifications; return how many."""
    for outcome in outcomes:
        assign_group(outcome)
    Alert.objects.bulk_update([alert for outcome in outcomes for alert in outcome.changed], _ALERT_FIELDS)
    if deleted := [alert.pk for outcome in outcomes for alert in outcome.deleted]:
        Alert.objects.filter(pk__in=deleted).delete()
    # After those with the same labels have ended.
    Alert.objects.bulk_create([alert for outcome in outcomes for alert in outcome.created])
    return queue_notifications(outcomes, at)
