"""Acts of operators on many rows, which whoever may enter the console sees."""

from typing import Any

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

import foundation.ids

CONSOLE = ["viewer", "operator", "builder", "owner"]


def grant(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    config = apps.get_app_config("agents")
    config.models_module = True
    create_permissions(config, verbosity=0, using=alias, apps=apps)
    config.models_module = None
    permission = apps.get_model("auth", "Permission").objects.using(alias).get(codename="view_bulkact")
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=CONSOLE):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("agents", "0017_turns_to_fold")]

    operations = [
        migrations.CreateModel(
            name="BulkAct",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("act", models.CharField(max_length=32)),
                (
                    "targets",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.UUIDField(), help_text="In the order of work; emptied at the end.", size=None
                    ),
                ),
                ("total", models.PositiveIntegerField()),
                ("done", models.PositiveIntegerField(default=0)),
                ("refused", models.PositiveIntegerField(default=0, help_text="Rows that were left as they were.")),
                ("reasons", models.JSONField(default=dict, help_text="Why they were, and how often.")),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "Open"), ("done", "Done"), ("stopped", "Stopped")],
                        default="open",
                        max_length=7,
                    ),
                ),
                ("note", models.CharField(blank=True, default="", help_text="Why it was stopped.", max_length=200)),
                ("begun_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                ("worker", models.UUIDField(null=True)),
                ("lease_expires_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "bulk act",
                "ordering": ["-id"],
                "indexes": [models.Index(condition=models.Q(("status", "open")), fields=["id"], name="bulkact_open")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "total__gte",
                                models.expressions.CombinedExpression(models.F("done"), "+", models.F("refused")),
                            )
                        ),
                        name="bulkact_counts_its_rows",
                    )
                ],
            },
        ),
        migrations.RunPython(grant, migrations.RunPython.noop, elidable=False),
    ]
