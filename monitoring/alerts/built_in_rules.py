"""The alert rules and channels that an installation begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.db import transaction

from monitoring.alerts.metrics import METRICS
from monitoring.models import AlertRule, NotificationChannel, Severity
from scheduling.heartbeats import SCHEDULER_STALE_SECONDS

EMAIL: Final = NotificationChannel.Kind.EMAIL.value
SLACK: Final = NotificationChannel.Kind.SLACK.value
PAGERDUTY: Final = NotificationChannel.Kind.PAGERDUTY.value
# Below the console; the sections of the runbook bear the names of the rules.
RUNBOOKS: Final = "/admin/runbooks/"


@dataclass(frozen=True, slots=True)
class BuiltInRule:
    """A rule as it is created: it fires when its metric is above `threshold` for a time. Its channels are those that
    are called by their kinds; `fields` are the other fields of `AlertRule`."""

    name: str
    description: str
    metric: str
    threshold: float
    hold: timedelta
    severity: Severity
    channels: Sequence[str]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def make_row(self) -> AlertRule:
        """The rule, not stored and without its channels."""
        return AlertRule(
            name=self.name,
            description=self.description,
            built_in=True,
            metric=self.metric,
            threshold=self.threshold,
            for_seconds=int(self.hold.total_seconds()),
            severity=self.severity,
            runbook_url=f"{RUNBOOKS}#{self.name}",
            **{"window_seconds": int(METRICS[self.metric].default_window.total_seconds()), **self.fields},
        )


# `for` is as long as the window where a single event could else fire: the event has left the window by then.
BUILT_IN_RULES: Final = (
    BuiltInRule(
        "high_error_rate",
        "More than 5 % of the turns of the last five minutes failed, for five minutes.",
        "turn_error_rate",
        5,
        timedelta(minutes=5),
        Severity.CRITICAL,
        (EMAIL, SLACK),
        {"keep_firing_for_seconds": 120},
    ),
    BuiltInRule(
        "slow_response_time",
        "5 % of the turns of the last five minutes took longer than 30 s, for five minutes.",
        "turn_seconds_p95",
        30,
        timedelta(minutes=5),
        Severity.WARNING,
        (SLACK,),
        {"keep_firing_for_seconds": 120},
    ),
    BuiltInRule(
        "high_memory_usage",
        "More than 85 % of a host's memory, or of its container's limit, is in use for three minutes.",
        "memory_percent",
        85,
        timedelta(minutes=3),
        Severity.WARNING,
        (SLACK,),
        {"group_by": ["host"], "clear_threshold": 80},
    ),
    BuiltInRule(
        "agent_down",
        "A runner has failed more than three of the last six health checks, for two minutes.",
        "runner_failed_checks",
        3,
        timedelta(minutes=2),
        Severity.CRITICAL,
        (EMAIL, SLACK, PAGERDUTY),
        {"group_by": ["runner"], "window_seconds": 60},
    ),
    BuiltInRule(
        "no_runner",
        "No runner takes turns, for two minutes: nothing is answered.",
        "runners_alive",
        1,
        timedelta(minutes=2),
        Severity.CRITICAL,
        (EMAIL, SLACK, PAGERDUTY),
        {"comparison": "lt"},
    ),
    BuiltInRule(
        "operation_errors",
        "More than 10 % of the calls of a model or a tool failed in the last five minutes, for five minutes.",
        "operation_error_rate",
        10,
        timedelta(minutes=5),
        Severity.WARNING,
        (SLACK,),
        {"group_by": ["operation", "name"], "keep_firing_for_seconds": 120},
    ),
    BuiltInRule(
        "stuck_turn",
        "A turn is more than a minute past its lease or its deadline, and nobody cares for it.",
        "stuck_turns",
        0,
        timedelta(minutes=1),
        Severity.WARNING,
        (EMAIL, SLACK),
    ),
    BuiltInRule(
        "handoff_reply_late",
        "A user waits for the first words of a person for longer than the release of the agent allows.",
        "handoffs_late",
        0,
        timedelta(minutes=1),
        Severity.WARNING,
        (EMAIL, SLACK),
    ),
    BuiltInRule(
        "nobody_on_duty",
        "A user waits for a person and nobody is on duty, for five minutes.",
        "handoffs_unattended",
        0,
        timedelta(minutes=5),
        Severity.WARNING,
        (EMAIL, SLACK),
    ),
    BuiltInRule(
        "open_routes",
        "A model is not asked, because its route fails, for two minutes.",
        "open_routes",
        0,
        timedelta(minutes=2),
        Severity.WARNING,
        (SLACK,),
        {"group_by": ["route"], "keep_firing_for_seconds": 120},
    ),
    BuiltInRule(
        "high_spend",
        "More than 90 % of a budget that people share is spent in its present period.",
        "budget_used_percent",
        90,
        timedelta(minutes=1),
        Severity.WARNING,
        (EMAIL, SLACK),
        {"group_by": ["budget"]},
    ),
    BuiltInRule(
        "spend_overdraft",
        "A call has cost more than it had reserved of a budget in its present period.",
        "budgets_overdrawn",
        0,
        timedelta(0),
        Severity.WARNING,
        (EMAIL, SLACK),
    ),
    BuiltInRule(
        "spend_differences",
        "The ledger of budgets and its calls do not agree, and nobody has reviewed it.",
        "budget_differences",
        0,
        timedelta(0),
        Severity.WARNING,
        (EMAIL, SLACK),
    ),
    BuiltInRule(
        "scheduler_silent",
        "The scheduler has written no heartbeat for minutes: no maintenance runs.",
        "scheduler_silent_seconds",
        SCHEDULER_STALE_SECONDS,
        timedelta(minutes=1),
        Severity.CRITICAL,
        (EMAIL, SLACK),
    ),
    BuiltInRule(
        "disk_full",
        "More than 90 % of the disk with the data folder of a host is in use, for five minutes.",
        "disk_used_percent",
        90,
        timedelta(minutes=5),
        Severity.CRITICAL,
        (EMAIL, SLACK),
        {"group_by": ["host"], "clear_threshold": 88},
    ),
    BuiltInRule(
        "notifications_failed",
        "A notification could not be delivered to its channel in the last five minutes, after all attempts.",
        "failed_notifications",
        0,
        timedelta(0),
        Severity.WARNING,
        (EMAIL, SLACK),
    ),
)


def create_built_in_rules() -> int:
    """Create the rules that are missing, and the channels that they go to; return how many rules.

    A rule that exists stays as people have changed it. Channels bear the names of their kinds and are switched off
    until somebody says where they lead; one that was deleted since comes back only with a new rule.
    """
    existing = set(AlertRule.objects.values_list("name", flat=True))
    missing = [rule for rule in BUILT_IN_RULES if rule.name not in existing]
    with transaction.atomic():
        for rule in missing:
            row = rule.make_row()
            row.save(force_insert=True)
            row.channels.set([_channel(kind) for kind in rule.channels])
    return len(missing)


def _channel(kind: str) -> NotificationChannel:
    return NotificationChannel.objects.get_or_create(name=kind, defaults={"kind": kind, "enabled": False})[0]
