"""Mail to people. Owners see whether it arrived."""

from typing import Any

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

import foundation.ids


def grant(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    config = apps.get_app_config("agents")
    config.models_module = True
    create_permissions(config, verbosity=0, using=alias, apps=apps)
    config.models_module = None
    permission = apps.get_model("auth", "Permission").objects.using(alias).get(codename="view_letter")
    apps.get_model("auth", "Group").objects.using(alias).get(name="owner").permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("agents", "0018_bulk_acts")]

    operations = [
        migrations.CreateModel(
            name="Letter",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("invitation", "Invitation"), ("forgotten", "forgotten password")], max_length=10
                    ),
                ),
                (
                    "asked_by",
                    models.CharField(help_text="Who made the console write it; empty: the login page.", max_length=200),
                ),
                (
                    "address",
                    models.EmailField(blank=True, default="", help_text="Where it went.", max_length=254),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent"), ("failed", "Failed")],
                        default="waiting",
                        max_length=7,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="When it is tried, or tried again.",
                    ),
                ),
                (
                    "error",
                    models.CharField(blank=True, default="", help_text="What the mail server said.", max_length=300),
                ),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "mail",
                "verbose_name_plural": "mails",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(condition=models.Q(("state", "waiting")), fields=["due_at"], name="letter_waiting")
                ],
            },
        ),
        migrations.RunPython(grant, migrations.RunPython.noop, elidable=False),
    ]
