"""Channels, and the outbox of notifications with the log of their delivery."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Now

from foundation.ids import new_id


class NotificationChannel(models.Model):
    """Where notifications go: e-mail addresses, a Slack webhook, a PagerDuty service, or a webhook of anybody.

    `secret` (Slack's URL, PagerDuty's routing key, the signing key of a webhook) and `url` (a webhook's, which may
    carry a token) are encrypted and belong to the origin in `address`; the secret is dropped when that changes. What a
    channel cannot deliver goes to its `fallback`.
    """

    class Kind(models.TextChoices):
        EMAIL = "email", "e-mail"
        SLACK = "slack", "Slack"
        PAGERDUTY = "pagerduty", "PagerDuty"
        WEBHOOK = "webhook", "webhook"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.SlugField(max_length=60, unique=True)
    kind = models.CharField(max_length=9, choices=Kind.choices)
    enabled = models.BooleanField(default=True)
    address = models.TextField(blank=True, default="", help_text="E-mail addresses, one per line; or a URL's origin.")
    url = models.TextField(blank=True, default="", editable=False, help_text="A webhook's, encrypted.")
    secret = models.TextField(blank=True, default="", editable=False, help_text="Encrypted.")
    fallback = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    for_tests = models.BooleanField(default=False, help_text="Of the readiness validator; no rule may use it.")
    version = models.PositiveIntegerField(default=1)
    # Of deliveries: written by the notifier alone, and by none of the forms.
    claimed_until = models.DateTimeField(
        null=True, editable=False, help_text="A delivery under way holds the channel until then."
    )
    attempted_at = models.DateTimeField(null=True, editable=False, help_text="When a delivery last began.")

    class Meta:
        ordering = ["name"]
        permissions = [("test_notificationchannel", "Can send a test notification")]

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """One notification to one channel, queued in the transaction of the change that it reports.

    `content` is what is sent, as of that moment. Delivery is at least once: receivers tell repeats by `dedup_key`. A
    notifier claims the channel, so that each has one delivery at a time; what it does is in `DeliveryAttempt`.
    """

    class Kind(models.TextChoices):
        FIRING = "firing"
        REPEAT = "repeat"
        RESOLVED = "resolved"
        EVALUATION_FAILED = "evaluation_failed", "evaluation failed"
        TEST = "test"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"
        # The end of an incident that the channel was sent the beginning of, while it is switched off.
        HELD = "held"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    channel = models.ForeignKey(
        NotificationChannel, on_delete=models.CASCADE, related_name="notifications", db_index=False
    )
    rule = models.ForeignKey(
        "monitoring.AlertRule", null=True, on_delete=models.SET_NULL, related_name="notifications", db_index=False
    )
    alerts = models.ManyToManyField("monitoring.Alert", related_name="notifications")
    kind = models.CharField(max_length=17, choices=Kind.choices)
    dedup_key = models.CharField(max_length=100, help_text="Equal in all attempts, and in what replaces it.")
    content = models.JSONField()
    state = models.CharField(max_length=7, choices=State.choices, default=State.WAITING)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    priority = models.PositiveSmallIntegerField(default=2, help_text="Of its channel's the lowest goes first.")
    attempts = models.PositiveSmallIntegerField(default=0)
    finished_at = models.DateTimeField(null=True)
    replaces = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="replacements")
    requested_by = models.CharField(max_length=200, blank=True, default="", help_text="Who sent it again.")

    class Meta:
        default_permissions = ("view",)
        permissions = [("resend_notification", "Can send a notification again")]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["due_at"], name="notification_waiting", condition=Q(state="waiting")),
            models.Index(
                fields=["channel", "priority", "created_at"], name="notification_next", condition=Q(state="waiting")
            ),
            models.Index(
                "channel",
                KeyTransform("incident_key", "content"),
                name="notification_incident",
                condition=Q(state="waiting"),
            ),
            models.Index(fields=["channel", "-id"], name="notification_of_channel"),
            models.Index(fields=["rule", "-id"], name="notification_of_rule"),
            models.Index(fields=["finished_at"], name="notification_failed", condition=Q(state="failed")),
        ]
        constraints = [
            # Resending by hand is a row of its own.
            models.UniqueConstraint(
                fields=["channel", "dedup_key", "kind"], condition=Q(requested_by=""), name="notification_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel_id}"


class DeliveryAttempt(models.Model):
    """One attempt to deliver a notification: written before the network is used, and completed after."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="delivery_attempts")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    succeeded = models.BooleanField(null=True)
    status_code = models.PositiveSmallIntegerField(null=True, help_text="Of the HTTP response.")
    error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        default_permissions = ("view",)
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["notification"], name="attempt_unfinished", condition=Q(finished_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"attempt of {self.notification_id}"
