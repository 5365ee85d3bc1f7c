"""Spans of turns, in partitions by day, and what is recorded of each agent's turns."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

# Without a default partition: one that holds rows would have to be scanned to make the partition that they belong to.
# Partitions are made on demand (monitoring/spans/partitions.py).
SPANS = """
CREATE TABLE monitoring_span (
    started_at timestamptz NOT NULL,
    id bigint NOT NULL,
    turn_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    ended_at timestamptz NOT NULL,
    error_type varchar(100) NOT NULL,
    attributes jsonb NOT NULL,
    PRIMARY KEY (started_at, id)
) PARTITION BY RANGE (started_at);
CREATE INDEX span_of_turn ON monitoring_span (turn_id);
"""
SPANS_BACK = "DROP TABLE monitoring_span"


class Migration(migrations.Migration):
    initial = True

    dependencies = [("agents", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(SPANS, SPANS_BACK)],
            state_operations=[
                migrations.CreateModel(
                    name="TurnSpan",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "started_at", "id", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("started_at", models.DateTimeField()),
                        ("id", models.BigIntegerField(help_text="Random; the span's id for OpenTelemetry.")),
                        ("turn_id", models.UUIDField()),
                        ("agent_id", models.UUIDField()),
                        ("name", models.CharField(max_length=100)),
                        ("ended_at", models.DateTimeField()),
                        ("error_type", models.CharField(blank=True, default="", max_length=100)),
                        ("attributes", models.JSONField(blank=True, default=dict)),
                    ],
                    options={
                        "db_table": "monitoring_span",
                        "default_permissions": (),
                        "indexes": [models.Index(fields=["turn_id"], name="span_of_turn")],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name="TraceExport",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("visited", models.UUIDField()),
                (
                    "open_turns",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), blank=True, default=list, size=None
                    ),
                ),
                (
                    "exported",
                    models.BigIntegerField(default=0, help_text="Turns that the receiver has taken."),
                ),
                (
                    "refused",
                    models.BigIntegerField(default=0, help_text="Turns that it does not take, whatever is done."),
                ),
                ("failures", models.IntegerField(default=0, help_text="In a row, since something was sent.")),
                ("retry_at", models.DateTimeField(null=True)),
                ("last_error", models.CharField(blank=True, default="", max_length=200)),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="trace_export_single_row")],
            },
        ),
        migrations.CreateModel(
            name="TraceSettings",
            fields=[
                (
                    "agent",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="trace_settings",
                        serialize=False,
                        to="agents.agent",
                    ),
                ),
                (
                    "sample_percent",
                    models.PositiveSmallIntegerField(
                        default=10, validators=[django.core.validators.MaxValueValidator(100)]
                    ),
                ),
                (
                    "retention_days",
                    models.PositiveSmallIntegerField(
                        default=30,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(365),
                        ],
                    ),
                ),
                ("exports_content", models.BooleanField(default=False)),
                ("version", models.PositiveIntegerField(default=1)),
            ],
            options={
                "verbose_name": "trace settings",
                "verbose_name_plural": "trace settings",
                "default_permissions": ("add", "view", "change"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("sample_percent__lte", 100)), name="trace_settings_sample_percent_range"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("retention_days__gte", 1), ("retention_days__lte", 365)),
                        name="trace_settings_retention_range",
                    ),
                ],
            },
        ),
    ]
