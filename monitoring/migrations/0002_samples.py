"""Samples of gauges and processes, and recommendations."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import foundation.ids


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0001_spans"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="GaugeSample",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("metric", models.CharField(max_length=40)),
                ("labels", models.JSONField(blank=True, default=dict)),
                ("at", models.DateTimeField()),
                ("value", models.FloatField()),
            ],
            options={
                "indexes": [models.Index(fields=["metric", "at"], name="gauge_sample_of_metric")],
            },
        ),
        migrations.CreateModel(
            name="ProcessSample",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("process_id", models.UUIDField(help_text="Of a runner: the id of its row.")),
                ("kind", models.CharField(help_text="runner or web.", max_length=10)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.IntegerField()),
                ("at", models.DateTimeField()),
                ("status", models.CharField(help_text="running, blocked or draining.", max_length=10)),
                (
                    "requests_total",
                    models.BigIntegerField(
                        help_text="Turns that a runner ended; requests that a web process answered."
                    ),
                ),
                ("errors_total", models.BigIntegerField()),
                ("mean_seconds", models.FloatField(help_text="Of a turn, or to a response.", null=True)),
                ("memory_bytes", models.BigIntegerField(help_text="Resident memory of the process.", null=True)),
                ("memory_used_bytes", models.BigIntegerField(help_text="What everybody uses of the limit.", null=True)),
                (
                    "memory_limit_bytes",
                    models.BigIntegerField(help_text="Of its cgroup, else of the machine.", null=True),
                ),
                ("cpu_percent", models.FloatField(help_text="Of one core.", null=True)),
                (
                    "queue_length",
                    models.IntegerField(help_text="Runner: turns in the queue of all. Web: requests in progress."),
                ),
                ("active_sessions", models.IntegerField(help_text="With a turn at work; with somebody who watches.")),
                (
                    "context_percent",
                    models.FloatField(help_text="Mean share of the models' windows in use.", null=True),
                ),
                ("figures", models.JSONField(blank=True, default=dict, help_text="What else the process counts.")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["process_id", "at"], name="process_sample_of_process"),
                    models.Index(fields=["at"], name="process_sample_at"),
                ],
            },
        ),
        migrations.CreateModel(
            name="RecommendationPolicy",
            fields=[
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("memory_cleanup", "memory cleanup"),
                            ("context_optimization", "context optimization"),
                            ("load_rebalancing", "load rebalancing"),
                            ("agent_restart", "agent restart"),
                        ],
                        max_length=20,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("off", "off: do not look"),
                            ("suggest", "suggest: a person applies them"),
                            ("automatic", "automatic: they are applied at once"),
                        ],
                        default="suggest",
                        max_length=9,
                    ),
                ),
            ],
            options={
                "verbose_name": "recommendation policy",
                "verbose_name_plural": "recommendation policies",
                "ordering": ["kind"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                ["memory_cleanup", "context_optimization", "load_rebalancing", "agent_restart"],
                            )
                        ),
                        name="recommendation_policy_kind",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["off", "suggest", "automatic"])),
                        name="recommendation_policy_mode",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Recommendation",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("memory_cleanup", "memory cleanup"),
                            ("context_optimization", "context optimization"),
                            ("load_rebalancing", "load rebalancing"),
                            ("agent_restart", "agent restart"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("applying", "Applying"),
                            ("applied", "Applied"),
                            ("failed", "Failed"),
                            ("dismissed", "Dismissed"),
                            ("obsolete", "no longer needed"),
                        ],
                        default="open",
                        max_length=9,
                    ),
                ),
                ("runner_id", models.UUIDField(blank=True, null=True)),
                ("agent_id", models.UUIDField(blank=True, null=True)),
                (
                    "subject",
                    models.CharField(help_text="Host and pid of the runner, or the agent's name.", max_length=280),
                ),
                ("reason", models.CharField(help_text="Which rule has found it.", max_length=40)),
                (
                    "evidence",
                    models.JSONField(default=list, help_text="The figures at the time, each with its threshold."),
                ),
                (
                    "action",
                    models.JSONField(blank=True, default=dict, help_text="What it sets, such as the limit of claims."),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("automatic", models.BooleanField(default=False, help_text="Applied by the monitor itself.")),
                ("decided_at", models.DateTimeField(help_text="When it was applied or dismissed.", null=True)),
                ("finished_at", models.DateTimeField(help_text="When its outcome was known.", null=True)),
                ("outcome", models.CharField(blank=True, default="", max_length=400)),
                (
                    "figures_before",
                    models.JSONField(blank=True, default=dict, help_text="Of the minutes before it was applied."),
                ),
                ("figures_after", models.JSONField(blank=True, help_text="The same, minutes after.", null=True)),
                ("reverted_at", models.DateTimeField(help_text="When what it set was taken back.", null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "permissions": [("apply_recommendation", "Can apply and dismiss recommendations")],
                "indexes": [
                    models.Index(fields=["status", "-id"], name="recommendation_by_status"),
                    models.Index(fields=["created_at"], name="recommendation_created"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ["open", "applying"])),
                        fields=("kind", "runner_id", "agent_id"),
                        name="recommendation_one_unfinished",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                ["memory_cleanup", "context_optimization", "load_rebalancing", "agent_restart"],
                            )
                        ),
                        name="recommendation_kind_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("runner_id__isnull", False), ("agent_id__isnull", False), _connector="XOR"),
                        name="recommendation_one_subject",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["open", "obsolete"]), ("decided_at__isnull", False), _connector="OR"
                        ),
                        name="recommendation_decided_has_time",
                    ),
                ],
            },
        ),
    ]
