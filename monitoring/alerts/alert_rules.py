"""Alert rules: save one, switch one on or off, delete one, and what a rule must hold to be accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.advisory_locks import AdvisoryLock, advisory_xact_lock
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from foundation.visible_text import visible_text
from monitoring.alerts.metrics import METRICS, AlertMetric, MetricKind
from monitoring.models import Alert, AlertRule, Comparison, Grouping, NoDataPolicy, NotificationChannel, Severity
from monitoring.models.alerts import MAX_INTERVAL_SECONDS, MAX_WINDOW_SECONDS, MIN_INTERVAL_SECONDS
from monitoring.role_permissions import ADD_ALERT_RULE, CHANGE_ALERT_RULE, DELETE_ALERT_RULE

MAX_NAME: Final = 60
MAX_DESCRIPTION: Final = 300
MAX_HOLD_SECONDS: Final = 86_400
MIN_REPEAT_SECONDS: Final = 60
MAX_REPEAT_SECONDS: Final = 7 * 86_400
MAX_LABEL: Final = 200
# More than any metric has; what is beyond could not be read, nor drawn.
MAX_THRESHOLD: Final = 1e15
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
# An address of this console, or one elsewhere.
_RUNBOOK: Final = re.compile(r"(/|https?://)\S+")
_MINUTE: Final = 60
_FALLING: Final = frozenset({Comparison.BELOW, Comparison.AT_MOST})


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """All that a person says of a rule; the fields are those of `AlertRule`. `channels` and `inhibited_by` are ids."""

    name: str
    metric: str
    threshold: float
    description: str = ""
    enabled: bool = True
    labels: Mapping[str, str] | None = None
    group_by: Sequence[str] = ()
    comparison: str = Comparison.ABOVE
    clear_threshold: float | None = None
    window_seconds: int = 300
    for_seconds: int = 0
    keep_firing_for_seconds: int = 0
    interval_seconds: int = 30
    no_data: str = NoDataPolicy.OK
    severity: str = Severity.WARNING
    grouping: str = Grouping.RULE
    repeat_seconds: int = 4 * 3600
    runbook_url: str = ""
    channels: Sequence[UUID] = ()
    inhibited_by: Sequence[UUID] = ()

    def row(self, row: AlertRule | None = None) -> AlertRule:
        """`row`, or a new one, with these values, unsaved; without the relations."""
        row = row or AlertRule()
        for name in COLUMNS:
            setattr(row, name, getattr(self, name))
        row.labels, row.group_by = dict(self.labels or {}), list(self.group_by)
        return row


COLUMNS: Final = tuple(
    field.name for field in fields(RuleSettings) if field.name not in {"labels", "group_by", "channels", "inhibited_by"}
)


def read_settings(rule: AlertRule) -> RuleSettings:
    """The settings of a saved rule. Two statements."""
    return RuleSettings(
        **{name: getattr(rule, name) for name in COLUMNS},
        labels=rule.labels,
        group_by=tuple(rule.group_by),
        channels=tuple(sorted(rule.channels.values_list("pk", flat=True))),
        inhibited_by=tuple(sorted(rule.inhibited_by.values_list("pk", flat=True))),
    )


@transaction.atomic
def save_rule(
    actor: Actor, settings: RuleSettings, *, rule_id: UUID | None = None, expected_version: int | None = None
) -> AlertRule:
    """Add a rule, or change the one with `rule_id`, and return it. Evaluations follow within seconds; they end the open
    alerts of a rule that measures something else from now on.

    Raises `Forbidden`, `NotFound`, `InvalidInput` (its pointer names the field), and `PreconditionFailed` where the
    rule has another version than `expected_version`.
    """
    require_permission(actor, ADD_ALERT_RULE if rule_id is None else CHANGE_ALERT_RULE)
    if rule_id is None:
        check_rule(settings)
        rule = settings.row()
        rule.save()
        _set_relations(rule, settings)
        record_audit(actor, "alert_rule.added", target=rule, detail=_detail(settings))
        return rule
    rule = lock_rule(rule_id)
    if expected_version is not None and rule.version != expected_version:
        raise PreconditionFailed
    check_rule(settings, rule_id=rule_id)
    previous = _detail(read_settings(rule))
    settings.row(rule)
    rule.version += 1
    rule.save(update_fields=[*COLUMNS, "labels", "group_by", "version"])
    _set_relations(rule, settings)
    after = _detail(settings)
    changes = {name: [previous[name], after[name]] for name in after if previous[name] != after[name]}
    record_audit(actor, "alert_rule.changed", target=rule, detail=changes)
    return rule


@transaction.atomic
def switch_rule(actor: Actor, rule_id: UUID, *, enabled: bool) -> AlertRule:
    """Switch a rule on or off and return it; one that is so already stays as it is. The open alerts of one that is off
    end at the next evaluation. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, CHANGE_ALERT_RULE)
    rule = lock_rule(rule_id)
    if rule.enabled != enabled:
        rule.enabled, rule.version = enabled, rule.version + 1
        rule.save(update_fields=["enabled", "version"])
        record_audit(actor, "alert_rule.enabled" if enabled else "alert_rule.disabled", target=rule)
    return rule


@transaction.atomic
def delete_rule(actor: Actor, rule_id: UUID) -> None:
    """Delete a rule with its past alerts and its silences.

    Raises `Forbidden`, `NotFound`, and `Conflict` for one that is built in, and while an alert is open or the rule
    cannot be evaluated: nobody would be notified of the end of that.
    """
    require_permission(actor, DELETE_ALERT_RULE)
    rule = lock_rule(rule_id)
    if rule.built_in:
        raise Conflict("This rule is built in: it can be switched off, not deleted.")
    if Alert.objects.open().filter(rule=rule).exists():
        raise Conflict("An alert of this rule is open. Switch the rule off; the alert ends then, and so can the rule.")
    if rule.evaluation_failures:
        raise Conflict("This rule cannot be evaluated. Switch it off; that ends then, and so can the rule.")
    record_audit(actor, "alert_rule.deleted", target=rule, detail=_detail(read_settings(rule)))
    rule.delete()


def check_rule(settings: RuleSettings, *, rule_id: UUID | None = None) -> None:
    """Raises the first of `rule_problems`."""
    for problem in rule_problems(settings, rule_id=rule_id):
        raise problem


def rule_problems(settings: RuleSettings, *, rule_id: UUID | None = None) -> Iterator[InvalidInput]:
    """All that is wrong with the settings of a new rule, or of the one with `rule_id`; each pointer names the field."""
    yield from _check_texts(settings, rule_id)
    metric = METRICS.get(settings.metric)
    if metric is None:
        yield InvalidInput("There is no such metric.", pointer="/metric")
    else:
        yield from _check_labels(settings, metric)
        yield from _check_window(settings, metric)
    yield from _check_thresholds(settings)
    yield from _check_times(settings)
    yield from _check_choices(settings)
    yield from _check_relations(settings, rule_id)


def _check_texts(settings: RuleSettings, rule_id: UUID | None) -> Iterator[InvalidInput]:
    if not _NAME.fullmatch(settings.name) or len(settings.name) > MAX_NAME:
        yield InvalidInput(
            f"A name has at most {MAX_NAME} small letters, digits, hyphens and underscores, such as high_error_rate.",
            pointer="/name",
        )
    rows = AlertRule.objects.exclude(pk=rule_id) if rule_id else AlertRule.objects.all()
    if rows.filter(name=settings.name).exists():
        yield InvalidInput("Another rule has this name.", pointer="/name")
    if len(settings.description) > MAX_DESCRIPTION or visible_text(settings.description) != settings.description:
        yield InvalidInput(f"At most {MAX_DESCRIPTION} visible characters are expected.", pointer="/description")
    if settings.runbook_url and not _RUNBOOK.fullmatch(settings.runbook_url):
        yield InvalidInput(
            "An address is expected: it begins with https:// or, on this site, /.", pointer="/runbook_url"
        )


def _check_labels(settings: RuleSettings, metric: AlertMetric) -> Iterator[InvalidInput]:
    labels = settings.labels or {}
    for name in (*labels, *settings.group_by):
        if name not in metric.labels:
            yield InvalidInput(f"{metric.title} cannot be told apart by {name}.", pointer=f"/labels/{name}")
    for name, value in labels.items():
        if not value or len(value) > MAX_LABEL or visible_text(value) != value:
            yield InvalidInput(f"At most {MAX_LABEL} visible characters are expected.", pointer=f"/labels/{name}")
        if name in settings.group_by:
            yield InvalidInput("Either one value, or an alert for each: not both.", pointer=f"/labels/{name}")


def _check_thresholds(settings: RuleSettings) -> Iterator[InvalidInput]:
    threshold, clear = settings.threshold, settings.clear_threshold
    for name, value in (("threshold", threshold), ("clear_threshold", clear)):
        if value is not None and not (isfinite(value) and abs(value) <= MAX_THRESHOLD):
            yield InvalidInput(f"A number of at most {MAX_THRESHOLD:,.0f} is expected.", pointer=f"/{name}")
    if clear is None:
        return
    if settings.comparison in _FALLING and clear < threshold:
        yield InvalidInput(
            "This rule fires at low values, so it ends at a value that is not below its threshold.",
            pointer="/clear_threshold",
        )
    if settings.comparison not in _FALLING and clear > threshold:
        yield InvalidInput(
            "This rule fires at high values, so it ends at a value that is not above its threshold.",
            pointer="/clear_threshold",
        )


def _check_window(settings: RuleSettings, metric: AlertMetric) -> Iterator[InvalidInput]:
    window = settings.window_seconds
    if not 0 <= window <= MAX_WINDOW_SECONDS:
        yield InvalidInput("A window is at most a day long.", pointer="/window_seconds")
    elif window % _MINUTE:
        yield InvalidInput("A window is of whole minutes: 1 min, 5 min, 1 h.", pointer="/window_seconds")
    elif not window and metric.kind is MetricKind.WINDOW:
        yield InvalidInput(f"{metric.title} needs a window of a minute at least.", pointer="/window_seconds")


def _check_times(settings: RuleSettings) -> Iterator[InvalidInput]:
    for name, seconds in (
        ("for_seconds", settings.for_seconds),
        ("keep_firing_for_seconds", settings.keep_firing_for_seconds),
    ):
        if not 0 <= seconds <= MAX_HOLD_SECONDS:
            yield InvalidInput("At most a day is expected.", pointer=f"/{name}")
    if not MIN_INTERVAL_SECONDS <= settings.interval_seconds <= MAX_INTERVAL_SECONDS:
        yield InvalidInput(
            f"A rule is evaluated each {MIN_INTERVAL_SECONDS} seconds at most, and each hour at least.",
            pointer="/interval_seconds",
        )
    repeat = settings.repeat_seconds
    if repeat and not MIN_REPEAT_SECONDS <= repeat <= MAX_REPEAT_SECONDS:
        yield InvalidInput("A minute at least and a week at most is expected; 0 is never.", pointer="/repeat_seconds")


def _check_choices(settings: RuleSettings) -> Iterator[InvalidInput]:
    for name, value, choices in (
        ("comparison", settings.comparison, Comparison),
        ("no_data", settings.no_data, NoDataPolicy),
        ("severity", settings.severity, Severity),
        ("grouping", settings.grouping, Grouping),
    ):
        if value not in choices.values:
            yield InvalidInput(f"One of {', '.join(choices.values)} is expected.", pointer=f"/{name}")


def _check_relations(settings: RuleSettings, rule_id: UUID | None) -> Iterator[InvalidInput]:
    channels = set(settings.channels)
    if channels and NotificationChannel.objects.filter(pk__in=channels, for_tests=False).count() != len(channels):
        yield InvalidInput("There is no such channel.", pointer="/channels")
    inhibiting = set(settings.inhibited_by)
    if not inhibiting:
        return
    if AlertRule.objects.filter(pk__in=inhibiting).count() != len(inhibiting):
        yield InvalidInput("There is no such rule.", pointer="/inhibited_by")
    if rule_id is not None and rule_id in _all_inhibiting(inhibiting):
        yield InvalidInput(
            "These rules would hold back each other's notifications, and nobody would be notified.",
            pointer="/inhibited_by",
        )


def _all_inhibiting(first: set[UUID]) -> set[UUID]:
    """`first`, and all that inhibit these, however far."""
    links: dict[UUID, set[UUID]] = {}
    through: Any = AlertRule.inhibited_by.through
    for inhibited, inhibiting in through.objects.values_list("from_alertrule_id", "to_alertrule_id"):
        links.setdefault(inhibited, set()).add(inhibiting)
    reached: set[UUID] = set()
    pending = set(first)
    while pending:
        rule = pending.pop()
        reached.add(rule)
        pending |= links.get(rule, set()) - reached
    return reached


def lock_rule(rule_id: UUID) -> AlertRule:
    """The rule, which no evaluation reads or writes until the end of the transaction. Raises `NotFound`."""
    # First the lock of a pass, which then writes rules: the other way round the two would wait for each other.
    advisory_xact_lock(AdvisoryLock.EVALUATE_ALERTS)
    rule = AlertRule.objects.select_for_update(no_key=True).filter(pk=rule_id).first()
    if rule is None:
        raise NotFound("There is no such rule.")
    return rule


def _set_relations(rule: AlertRule, settings: RuleSettings) -> None:
    rule.channels.set(NotificationChannel.objects.filter(pk__in=settings.channels))
    rule.inhibited_by.set(AlertRule.objects.filter(pk__in=settings.inhibited_by))


def _detail(settings: RuleSettings) -> dict[str, Any]:
    """The settings as JSON, for the audit trail: relations by name."""
    values = asdict(settings) | {"labels": dict(settings.labels or {}), "group_by": list(settings.group_by)}
    channels = NotificationChannel.objects.filter(pk__in=settings.channels)
    inhibiting = AlertRule.objects.filter(pk__in=settings.inhibited_by)
    values["channels"] = list(channels.order_by("name").values_list("name", flat=True))
    values["inhibited_by"] = list(inhibiting.order_by("name").values_list("name", flat=True))
    return {name: str(value) if isinstance(value, Comparison) else value for name, value in values.items()}
