"""Runs of the readiness validator."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import foundation.ids


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0004_alerts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ReadinessRun",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("passed", "Passed"),
                            ("failed", "Failed"),
                            ("interrupted", "Interrupted"),
                        ],
                        default="running",
                        max_length=11,
                    ),
                ),
                ("agent_id", models.UUIDField(blank=True, null=True)),
                ("subject", models.CharField(help_text="The agent's name, or the installation.", max_length=280)),
                ("fingerprint", models.CharField(blank=True, default="", max_length=64)),
                ("requested_as", models.CharField(help_text="The name of whoever asked for it.", max_length=150)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                ("lines", models.JSONField(blank=True, default=list)),
                (
                    "requested_by",
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
                "verbose_name": "readiness check",
                "ordering": ["-id"],
                "permissions": [
                    ("run_readiness", "Can run the readiness checks"),
                    ("override_readiness", "Can publish in spite of failed readiness checks"),
                ],
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["agent_id", "-id"], name="readiness_run_of_agent")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "running")), fields=("status",), name="readiness_run_one_running"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["running", "passed", "failed", "interrupted"])),
                        name="readiness_run_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status", "running"), ("finished_at__isnull", False), _connector="XOR"),
                        name="readiness_run_finished_has_time",
                    ),
                ],
            },
        ),
    ]
