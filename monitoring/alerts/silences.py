"""Silences: for a time, alerts that they match send no notification. Create one, end one, and say which match."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.errors import InvalidInput, NotFound
from foundation.visible_text import visible_text
from monitoring.alerts.metrics import METRICS
from monitoring.models import AlertRule, Silence
from monitoring.performance.situation import database_now
from monitoring.role_permissions import ADD_SILENCE, CHANGE_SILENCE

MIN_SECONDS: Final = 60
MAX_SECONDS: Final = 30 * 86_400
DEFAULT_SECONDS: Final = 2 * 3_600
MAX_REASON: Final = 300
MAX_LABEL: Final = 200


@transaction.atomic
def create_silence(
    actor: Actor,
    *,
    reason: str,
    rule_id: UUID | None = None,
    labels: Mapping[str, str] | None = None,
    seconds: float = DEFAULT_SECONDS,
) -> Silence:
    """Silence the alerts of a rule, or of all rules, whose labels contain `labels`, from now on; return the silence.

    Alerts go on being pending, firing and resolved; they are not notified. Raises `Forbidden`, `NotFound`, and
    `InvalidInput` for a time out of bounds, without a reason, and for what no rule can match.
    """
    require_permission(actor, ADD_SILENCE)
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidInput("A silence lasts a minute at least and 30 days at most.", pointer="/seconds")
    reason = visible_text(reason).strip()
    if not 1 <= len(reason) <= MAX_REASON:
        raise InvalidInput(f"A reason of at most {MAX_REASON} characters is expected.", pointer="/reason")
    rule = None if rule_id is None else AlertRule.objects.filter(pk=rule_id).first()
    if rule_id is not None and rule is None:
        raise NotFound("There is no such rule.")
    labels = dict(labels or {})
    _check_labels(labels, rule)
    moment = database_now()
    silence = Silence.objects.create(
        rule=rule,
        labels=labels,
        reason=reason,
        created_by=actor.name,
        starts_at=moment,
        ends_at=moment + timedelta(seconds=seconds),
    )
    detail = {
        "rule": rule.name if rule else None,
        "labels": labels,
        "until": silence.ends_at.isoformat(),
        "reason": reason,
    }
    record_audit(actor, "silence.created", target=silence, detail=detail)
    return silence


@transaction.atomic
def end_silence(actor: Actor, silence_id: UUID) -> Silence:
    """End a silence before its time and return it; one that has ended stays as it is. What fires is notified at the
    next evaluation. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, CHANGE_SILENCE)
    silence = Silence.objects.select_for_update().filter(pk=silence_id).first()
    if silence is None:
        raise NotFound("There is no such silence.")
    moment = database_now()
    if not is_active(silence, moment):
        return silence
    silence.ends_at, silence.ended_by = moment, actor.name
    silence.save(update_fields=["ends_at", "ended_by"])
    record_audit(actor, "silence.ended", target=silence)
    return silence


def is_active(silence: Silence, at: datetime) -> bool:
    """Whether `silence` lasts at the time `at`."""
    return silence.starts_at <= at < silence.ends_at


def active_silences(at: datetime) -> Q:
    """The condition on silences that last at the time `at`."""
    return Q(starts_at__lte=at, ends_at__gt=at)


def matches(silence: Silence, *, rule_id: UUID, labels: Mapping[str, Any]) -> bool:
    """Whether a silence is about an alert of this rule with these labels."""
    if silence.rule_id is not None and silence.rule_id != rule_id:
        return False
    return all(labels.get(name) == value for name, value in silence.labels.items())


def _check_labels(labels: Mapping[str, str], rule: AlertRule | None) -> None:
    """Raise `InvalidInput` for labels that no alert has: the silence would hold back nothing, and look as if it did."""
    if rule is not None:
        allowed = set(rule.group_by)
    else:
        allowed = {label for metric in METRICS.values() for label in metric.labels}
    for name, value in labels.items():
        if name not in allowed:
            whose = f"No alert of {rule.name} has" if rule is not None else "No alert has"
            raise InvalidInput(f"{whose} the label {name}.", pointer="/labels")
        if not isinstance(value, str) or not value or len(value) > MAX_LABEL:
            raise InvalidInput(f"A value of at most {MAX_LABEL} characters is expected.", pointer="/labels")
