"""Alert rules, alerts, silences, channels and notifications."""

import django.db.models.deletion
import django.db.models.fields.json
import django.db.models.functions.datetime
from django.db import migrations, models

import foundation.ids


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0003_debug_mode"),
    ]

    operations = [
        migrations.CreateModel(
            name="AlertRule",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.SlugField(max_length=60, unique=True)),
                ("description", models.CharField(blank=True, default="", max_length=300)),
                ("enabled", models.BooleanField(default=True)),
                ("built_in", models.BooleanField(default=False, editable=False)),
                ("metric", models.CharField(max_length=40)),
                (
                    "labels",
                    models.JSONField(blank=True, default=dict, help_text="The value of each label that is selected."),
                ),
                (
                    "group_by",
                    models.JSONField(
                        blank=True, default=list, help_text="Labels each value of which has its own alert."
                    ),
                ),
                (
                    "comparison",
                    models.CharField(
                        choices=[("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most")],
                        default="gt",
                        max_length=2,
                    ),
                ),
                ("threshold", models.FloatField()),
                (
                    "clear_threshold",
                    models.FloatField(
                        blank=True,
                        help_text="A firing alert ends only past this value; empty: the threshold.",
                        null=True,
                    ),
                ),
                (
                    "window_seconds",
                    models.PositiveIntegerField(
                        default=300, help_text="How far back an evaluation looks; 0: the newest sample of a gauge."
                    ),
                ),
                (
                    "for_seconds",
                    models.PositiveIntegerField(
                        default=0, help_text="How long the condition must hold before it fires."
                    ),
                ),
                (
                    "keep_firing_for_seconds",
                    models.PositiveIntegerField(
                        default=0, help_text="How long the condition must be false before a firing alert ends."
                    ),
                ),
                (
                    "interval_seconds",
                    models.PositiveIntegerField(default=30, help_text="How often the rule is evaluated."),
                ),
                (
                    "no_data",
                    models.CharField(
                        choices=[
                            ("ok", "the condition is false"),
                            ("keep", "the state stays as it is"),
                            ("alert", "the condition is true"),
                        ],
                        default="ok",
                        max_length=5,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("critical", "Critical"), ("warning", "Warning"), ("info", "Info")],
                        default="warning",
                        max_length=8,
                    ),
                ),
                (
                    "grouping",
                    models.CharField(
                        choices=[
                            ("rule", "one notification for all alerts of the rule"),
                            ("alert", "one notification for each alert"),
                        ],
                        default="rule",
                        max_length=5,
                    ),
                ),
                (
                    "repeat_seconds",
                    models.PositiveIntegerField(
                        default=14400, help_text="How often a notification is repeated while the alert fires; 0: never."
                    ),
                ),
                (
                    "runbook_url",
                    models.CharField(
                        blank=True, default="", help_text="What to do; in the notification.", max_length=500
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("evaluated_at", models.DateTimeField(editable=False, null=True)),
                (
                    "value",
                    models.FloatField(
                        editable=False,
                        help_text="Of the newest evaluation that had one; of several the nearest to firing.",
                        null=True,
                    ),
                ),
                ("evaluation_failures", models.PositiveIntegerField(default=0, editable=False, help_text="In a row.")),
                ("evaluation_error", models.CharField(blank=True, default="", editable=False, max_length=300)),
                (
                    "evaluation_failing_at",
                    models.DateTimeField(editable=False, help_text="When the first of them failed.", null=True),
                ),
                (
                    "inhibited_by",
                    models.ManyToManyField(
                        blank=True,
                        help_text="While one of these fires with the same labels, this rule sends no notification.",
                        related_name="inhibits",
                        to="monitoring.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("labels", models.JSONField(default=dict)),
                (
                    "series_key",
                    models.CharField(blank=True, default="", help_text="Of what the rule measured.", max_length=32),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("firing", "Firing"), ("resolved", "Resolved")],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("pending_at", models.DateTimeField()),
                ("firing_at", models.DateTimeField(null=True)),
                (
                    "clear_at",
                    models.DateTimeField(help_text="Since when the condition of a firing alert is false.", null=True),
                ),
                ("resolved_at", models.DateTimeField(null=True)),
                ("evaluated_at", models.DateTimeField()),
                ("value", models.FloatField(help_text="Of the newest evaluation that had one.", null=True)),
                (
                    "resolution",
                    models.CharField(
                        blank=True, default="", help_text="Why it ended, if not by its condition.", max_length=60
                    ),
                ),
                (
                    "group_key",
                    models.UUIDField(
                        help_text="Of the alerts that share notifications: the id of the first.", null=True
                    ),
                ),
                ("notified_at", models.DateTimeField(help_text="When a notification was last queued.", null=True)),
                (
                    "suppressed_by",
                    models.CharField(
                        blank=True,
                        default="",
                        help_text="The silence or the rule that holds notifications back.",
                        max_length=100,
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="alerts",
                        to="monitoring.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("firing", "Firing"),
                            ("repeat", "Repeat"),
                            ("resolved", "Resolved"),
                            ("evaluation_failed", "evaluation failed"),
                            ("test", "Test"),
                        ],
                        max_length=17,
                    ),
                ),
                (
                    "dedup_key",
                    models.CharField(help_text="Equal in all attempts, and in what replaces it.", max_length=100),
                ),
                ("content", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent"), ("failed", "Failed"), ("held", "Held")],
                        default="waiting",
                        max_length=7,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "priority",
                    models.PositiveSmallIntegerField(default=2, help_text="Of its channel's the lowest goes first."),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "requested_by",
                    models.CharField(blank=True, default="", help_text="Who sent it again.", max_length=200),
                ),
                ("alerts", models.ManyToManyField(related_name="notifications", to="monitoring.alert")),
                (
                    "replaces",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="replacements",
                        to="monitoring.notification",
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="notifications",
                        to="monitoring.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "permissions": [("resend_notification", "Can send a notification again")],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="DeliveryAttempt",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                ("succeeded", models.BooleanField(null=True)),
                ("status_code", models.PositiveSmallIntegerField(help_text="Of the HTTP response.", null=True)),
                ("error", models.CharField(blank=True, default="", max_length=300)),
                (
                    "notification",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delivery_attempts",
                        to="monitoring.notification",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="NotificationChannel",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.SlugField(max_length=60, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("email", "e-mail"),
                            ("slack", "Slack"),
                            ("pagerduty", "PagerDuty"),
                            ("webhook", "webhook"),
                        ],
                        max_length=9,
                    ),
                ),
                ("enabled", models.BooleanField(default=True)),
                (
                    "address",
                    models.TextField(
                        blank=True, default="", help_text="E-mail addresses, one per line; or a URL's origin."
                    ),
                ),
                (
                    "url",
                    models.TextField(blank=True, default="", editable=False, help_text="A webhook's, encrypted."),
                ),
                ("secret", models.TextField(blank=True, default="", editable=False, help_text="Encrypted.")),
                (
                    "for_tests",
                    models.BooleanField(default=False, help_text="Of the readiness validator; no rule may use it."),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                (
                    "claimed_until",
                    models.DateTimeField(
                        editable=False, help_text="A delivery under way holds the channel until then.", null=True
                    ),
                ),
                (
                    "attempted_at",
                    models.DateTimeField(editable=False, help_text="When a delivery last began.", null=True),
                ),
                (
                    "fallback",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="monitoring.notificationchannel",
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
                "permissions": [("test_notificationchannel", "Can send a test notification")],
            },
        ),
        migrations.AddField(
            model_name="notification",
            name="channel",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notifications",
                to="monitoring.notificationchannel",
            ),
        ),
        migrations.AddField(
            model_name="alertrule",
            name="channels",
            field=models.ManyToManyField(blank=True, related_name="rules", to="monitoring.notificationchannel"),
        ),
        migrations.CreateModel(
            name="Silence",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("labels", models.JSONField(blank=True, default=dict)),
                ("reason", models.CharField(max_length=300)),
                ("created_by", models.CharField(editable=False, max_length=200)),
                ("starts_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ends_at", models.DateTimeField()),
                ("ended_by", models.CharField(blank=True, default="", editable=False, max_length=200)),
                (
                    "rule",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="silences",
                        to="monitoring.alertrule",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("view", "add", "change"),
            },
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["rule", "-id"], name="alert_of_rule"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["resolved_at"], name="alert_resolved"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["group_key"], name="alert_of_group"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                condition=models.Q(("resolved_at__isnull", True)), fields=("rule", "labels"), name="alert_one_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("firing_at__isnull", True), ("resolved_at__isnull", True), ("state", "pending")),
                    models.Q(("firing_at__isnull", False), ("resolved_at__isnull", True), ("state", "firing")),
                    models.Q(("firing_at__isnull", False), ("resolved_at__isnull", False), ("state", "resolved")),
                    _connector="OR",
                ),
                name="alert_state_has_times",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["due_at"], name="notification_waiting"
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["channel", "priority", "created_at"],
                name="notification_next",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                models.F("channel"),
                django.db.models.fields.json.KeyTransform("incident_key", "content"),
                condition=models.Q(("state", "waiting")),
                name="notification_incident",
            ),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["channel", "-id"], name="notification_of_channel"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(fields=["rule", "-id"], name="notification_of_rule"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["finished_at"], name="notification_failed"
            ),
        ),
        migrations.AddIndex(
            model_name="deliveryattempt",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", True)), fields=["notification"], name="attempt_unfinished"
            ),
        ),
        migrations.AddConstraint(
            model_name="notification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("requested_by", "")),
                fields=("channel", "dedup_key", "kind"),
                name="notification_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("interval_seconds__gte", 10), ("interval_seconds__lte", 3600)),
                name="alert_rule_interval",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("window_seconds__lte", 86400)), name="alert_rule_window"
            ),
        ),
        migrations.AddIndex(
            model_name="silence",
            index=models.Index(fields=["ends_at"], name="silence_ends"),
        ),
        migrations.AddConstraint(
            model_name="silence",
            constraint=models.CheckConstraint(
                condition=models.Q(("ends_at__gte", models.F("starts_at"))), name="silence_ends_later"
            ),
        ),
    ]
