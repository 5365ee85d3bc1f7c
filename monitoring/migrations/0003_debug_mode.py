"""Debug mode of sessions and agents."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import foundation.ids


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial"), ("monitoring", "0002_samples")]

    operations = [
        migrations.CreateModel(
            name="DebugMode",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("session", models.UUIDField(blank=True, null=True)),
                ("reason", models.CharField(max_length=300)),
                ("begun_by", models.CharField(max_length=200)),
                ("begun_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("until", models.DateTimeField()),
                (
                    "ended_at",
                    models.DateTimeField(
                        blank=True, help_text="Empty where nobody ended it before its time.", null=True
                    ),
                ),
                ("ended_by", models.CharField(blank=True, default="", max_length=200)),
                (
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="debug_modes",
                        to="agents.agent",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("view", "change"),
                "permissions": [("export_trace", "Can export the traces of sessions")],
                "indexes": [
                    models.Index(
                        condition=models.Q(("session__isnull", False)), fields=["session"], name="debug_of_session"
                    ),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", True)), fields=["until"], name="debug_not_ended"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("agent",),
                        name="debug_one_open_per_agent",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("session",),
                        name="debug_one_open_per_session",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("agent__isnull", True), ("session__isnull", False)),
                            models.Q(("agent__isnull", False), ("session__isnull", True)),
                            _connector="OR",
                        ),
                        name="debug_of_one",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("until__gt", models.F("begun_at"))), name="debug_ends_later"
                    ),
                ],
            },
        ),
    ]
