"""The audit trail. Its rows are written once: only retention deletes them, and only a deleted account leaves them."""

from typing import Any

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

import foundation.ids

GUARD = """
CREATE FUNCTION agents_guard_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('bandstand.audit_retention', true) = 'on' THEN
            RETURN OLD;
        END IF;
    ELSIF NEW.user_id IS NULL AND to_jsonb(NEW) - 'user_id' = to_jsonb(OLD) - 'user_id' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit entry % is final', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_is_final';
END $$;
CREATE TRIGGER agents_guard_audit BEFORE UPDATE OR DELETE ON agents_auditentry FOR EACH ROW
    EXECUTE FUNCTION agents_guard_audit();
"""
GUARD_BACK = "DROP TRIGGER agents_guard_audit ON agents_auditentry; DROP FUNCTION agents_guard_audit();"


def grant(apps: Any, schema_editor: Any) -> None:
    """Who may enter the console reads the trail."""
    alias = schema_editor.connection.alias
    config = apps.get_app_config("agents")
    config.models_module = True
    create_permissions(config, verbosity=0, using=alias, apps=apps)
    config.models_module = None
    permission = apps.get_model("auth", "Permission").objects.using(alias).get(codename="view_auditentry")
    roles = ["viewer", "operator", "builder", "owner"]
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=roles):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("agents", "0004_plain_plans")]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.UUIDField(default=foundation.ids.new_id, editable=False, primary_key=True, serialize=False),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("actor", models.CharField(max_length=200)),
                ("action", models.CharField(help_text='What was done, e.g. "agent.published".', max_length=64)),
                ("target_type", models.CharField(max_length=64)),
                ("target_id", models.CharField(max_length=64)),
                ("target_name", models.CharField(blank=True, default="", max_length=200)),
                ("detail", models.JSONField(default=dict)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["target_id", "-id"], name="audit_of_target"),
                    models.Index(fields=["actor", "-id"], name="audit_of_actor"),
                    models.Index(fields=["action", "-id"], name="audit_of_action"),
                ],
            },
        ),
        migrations.RunSQL(GUARD, GUARD_BACK),
        migrations.RunPython(grant, migrations.RunPython.noop, elidable=False),
    ]
