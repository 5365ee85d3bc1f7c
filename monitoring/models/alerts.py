"""Alert rules, the alerts that they raise, and silences."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q, Value
from django.db.models.functions import Now

from foundation.ids import new_id

MIN_INTERVAL_SECONDS: Final = 10
MAX_INTERVAL_SECONDS: Final = 3_600
MAX_WINDOW_SECONDS: Final = 86_400


class Comparison(models.TextChoices):
    ABOVE = "gt", "above"
    AT_LEAST = "ge", "at least"
    BELOW = "lt", "below"
    AT_MOST = "le", "at most"


class Severity(models.TextChoices):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class NoDataPolicy(models.TextChoices):
    """What an evaluation without a value means."""

    OK = "ok", "the condition is false"
    KEEP = "keep", "the state stays as it is"
    ALERT = "alert", "the condition is true"


class Grouping(models.TextChoices):
    """How the alerts of a rule share notifications."""

    RULE = "rule", "one notification for all alerts of the rule"
    ALERT = "alert", "one notification for each alert"


class AlertRuleQuerySet(models.QuerySet["AlertRule"]):
    def due(self, at: datetime | Now) -> AlertRuleQuerySet:
        """Those that are to be evaluated at `at`, the longest waiting first: enabled ones whose interval has passed, or
        that were evaluated later than it by a clock that was put back; disabled ones that leave something open."""
        moment = at if isinstance(at, Now) else Value(at, output_field=models.DateTimeField())
        interval = ExpressionWrapper(F("interval_seconds") * timedelta(seconds=1), models.DurationField())
        latest = ExpressionWrapper(moment - interval, models.DateTimeField())
        has_alerts = Exists(Alert.objects.open().filter(rule=OuterRef("pk")))
        return self.filter(
            Q(enabled=True, evaluated_at=None)
            | Q(enabled=True, evaluated_at__lte=latest)
            | Q(enabled=True, evaluated_at__gt=moment)
            | Q(has_alerts | Q(evaluation_failures__gt=0), enabled=False)
        ).order_by(F("evaluated_at").asc(nulls_first=True), "name")


class AlertRule(models.Model):
    """A condition on a metric, and who is notified when it holds for some time.

    The metric is one of `monitoring.alerts.metrics`. Each distinct value of the labels in `group_by` is judged by
    itself and has an alert of its own; `labels` selects what counts. A rule that is built in may be changed and
    disabled, not deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.SlugField(max_length=60, unique=True)
    description = models.CharField(max_length=300, blank=True, default="")
    enabled = models.BooleanField(default=True)
    built_in = models.BooleanField(default=False, editable=False)
    metric = models.CharField(max_length=40)
    labels = models.JSONField(default=dict, blank=True, help_text="The value of each label that is selected.")
    group_by = models.JSONField(default=list, blank=True, help_text="Labels each value of which has its own alert.")
    comparison = models.CharField(max_length=2, choices=Comparison.choices, default=Comparison.ABOVE)
    threshold = models.FloatField()
    clear_threshold = models.FloatField(
        null=True, blank=True, help_text="A firing alert ends only past this value; empty: the threshold."
    )
    window_seconds = models.PositiveIntegerField(
        default=300, help_text="How far back an evaluation looks; 0: the newest sample of a gauge."
    )
    for_seconds = models.PositiveIntegerField(default=0, help_text="How long the condition must hold before it fires.")
    keep_firing_for_seconds = models.PositiveIntegerField(
        default=0, help_text="How long the condition must be false before a firing alert ends."
    )
    interval_seconds = models.PositiveIntegerField(default=30, help_text="How often the rule is evaluated.")
    no_data = models.CharField(max_length=5, choices=NoDataPolicy.choices, default=NoDataPolicy.OK)
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.WARNING)
    grouping = models.CharField(max_length=5, choices=Grouping.choices, default=Grouping.RULE)
    repeat_seconds = models.PositiveIntegerField(
        default=4 * 3600, help_text="How often a notification is repeated while the alert fires; 0: never."
    )
    channels = models.ManyToManyField("monitoring.NotificationChannel", blank=True, related_name="rules")
    inhibited_by = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="inhibits",
        help_text="While one of these fires with the same labels, this rule sends no notification.",
    )
    runbook_url = models.CharField(max_length=500, blank=True, default="", help_text="What to do; in the notification.")
    version = models.PositiveIntegerField(default=1)
    # Of the evaluations: written by the evaluator alone.
    evaluated_at = models.DateTimeField(null=True, editable=False)
    value = models.FloatField(
        null=True, editable=False, help_text="Of the newest evaluation that had one; of several the nearest to firing."
    )
    evaluation_failures = models.PositiveIntegerField(default=0, editable=False, help_text="In a row.")
    evaluation_error = models.CharField(max_length=300, blank=True, default="", editable=False)
    evaluation_failing_at = models.DateTimeField(null=True, editable=False, help_text="When the first of them failed.")

    objects = AlertRuleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(interval_seconds__gte=MIN_INTERVAL_SECONDS, interval_seconds__lte=MAX_INTERVAL_SECONDS),
                name="alert_rule_interval",
            ),
            models.CheckConstraint(condition=Q(window_seconds__lte=MAX_WINDOW_SECONDS), name="alert_rule_window"),
        ]

    def __str__(self) -> str:
        return self.name


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> AlertQuerySet:
        """Those that are pending or firing."""
        return self.filter(resolved_at=None)


class Alert(models.Model):
    """One time that a rule's condition held for one set of labels: pending, then firing, then resolved.

    A pending alert whose condition ends is deleted. No row is the state inactive; of each rule and set of labels at
    most one row is open. The id is what receivers tell repeats by.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        FIRING = "firing"
        RESOLVED = "resolved"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="alerts", db_index=False)
    labels = models.JSONField(default=dict)
    series_key = models.CharField(max_length=32, blank=True, default="", help_text="Of what the rule measured.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    pending_at = models.DateTimeField()
    firing_at = models.DateTimeField(null=True)
    clear_at = models.DateTimeField(null=True, help_text="Since when the condition of a firing alert is false.")
    resolved_at = models.DateTimeField(null=True)
    evaluated_at = models.DateTimeField()
    value = models.FloatField(null=True, help_text="Of the newest evaluation that had one.")
    resolution = models.CharField(
        max_length=60, blank=True, default="", help_text="Why it ended, if not by its condition."
    )
    # What was decided about notifications; the outbox has the rows.
    group_key = models.UUIDField(null=True, help_text="Of the alerts that share notifications: the id of the first.")
    notified_at = models.DateTimeField(null=True, help_text="When a notification was last queued.")
    suppressed_by = models.CharField(
        max_length=100, blank=True, default="", help_text="The silence or the rule that holds notifications back."
    )

    objects = AlertQuerySet.as_manager()

    class Meta:
        default_permissions = ("view",)
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["rule", "-id"], name="alert_of_rule"),
            models.Index(fields=["resolved_at"], name="alert_resolved"),
            models.Index(fields=["group_key"], name="alert_of_group"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "labels"], condition=Q(resolved_at__isnull=True), name="alert_one_open"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", firing_at__isnull=True, resolved_at__isnull=True)
                | Q(state="firing", firing_at__isnull=False, resolved_at__isnull=True)
                | Q(state="resolved", firing_at__isnull=False, resolved_at__isnull=False),
                name="alert_state_has_times",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule_id} {self.state}"


class Silence(models.Model):
    """For a time, alerts of a rule (or of all rules), whose labels contain `labels`, send no notification."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    rule = models.ForeignKey(AlertRule, null=True, blank=True, on_delete=models.CASCADE, related_name="silences")
    labels = models.JSONField(default=dict, blank=True)
    reason = models.CharField(max_length=300)
    created_by = models.CharField(max_length=200, editable=False)
    starts_at = models.DateTimeField(db_default=Now())
    ends_at = models.DateTimeField()
    ended_by = models.CharField(max_length=200, blank=True, default="", editable=False)

    class Meta:
        default_permissions = ("view", "add", "change")
        ordering = ["-id"]
        indexes = [models.Index(fields=["ends_at"], name="silence_ends")]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gte=F("starts_at")), name="silence_ends_later"),
        ]

    def __str__(self) -> str:
        return self.reason
