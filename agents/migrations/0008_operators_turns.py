"""What operators may do to a turn: permissions, and the move from queued to failed that setting one aside needs."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

GRANTED = ["retry_turn", "requeue_turn", "set_aside_turn", "fork_agentsession", "mend_agentsession"]

GUARD = """
CREATE OR REPLACE FUNCTION agents_guard_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('completed', 'failed', 'cancelled', 'expired') THEN
        -- Usage that the provider reports late may still be settled, and its deltas are folded together later.
        IF to_jsonb(NEW) - ARRAY['input_tokens', 'output_tokens', 'compacted']
           <> to_jsonb(OLD) - ARRAY['input_tokens', 'output_tokens', 'compacted'] THEN
            RAISE EXCEPTION 'turn % is % and cannot change', OLD.id, OLD.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'turn_terminal_is_final';
        END IF;
    ELSIF (OLD.status, NEW.status) NOT IN (
        ('queued', 'running'), ('queued', 'cancelled'), ('queued', 'expired'), {queued}
        ('running', 'waiting'), ('running', 'retry_wait'), ('running', 'cancelling'), ('running', 'completed'),
        ('running', 'failed'), ('running', 'expired'), ('running', 'queued'),
        ('waiting', 'queued'), ('waiting', 'cancelled'), ('waiting', 'expired'), ('waiting', 'failed'),
        ('retry_wait', 'queued'), ('retry_wait', 'cancelled'), ('retry_wait', 'expired'), ('retry_wait', 'failed'),
        ('cancelling', 'cancelled'), ('cancelling', 'completed'), ('cancelling', 'expired')
    ) THEN
        RAISE EXCEPTION 'turn % cannot move from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'turn_move_is_legal';
    END IF;
    RETURN NEW;
END $$;
"""


def grant(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    config = apps.get_app_config("agents")
    config.models_module = True
    create_permissions(config, verbosity=0, using=alias, apps=apps)
    config.models_module = None
    permissions = apps.get_model("auth", "Permission").objects.using(alias).filter(codename__in=GRANTED)
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=["operator", "owner"]):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_client_requests")]

    operations = [
        migrations.AlterModelOptions(
            name="agentsession",
            options={
                "permissions": [
                    ("use_chat", "Can chat with agents"),
                    ("view_transcript", "Can read the transcripts of others"),
                    ("fork_agentsession", "Can fork the sessions of others"),
                    ("mend_agentsession", "Can set aside the faulty state of a session"),
                ],
                "verbose_name": "session",
            },
        ),
        migrations.AlterModelOptions(
            name="turn",
            options={
                "permissions": [
                    ("cancel_turn", "Can cancel the turns of others"),
                    ("retry_turn", "Can retry the turns of others"),
                    ("requeue_turn", "Can take a turn away from its runner"),
                    ("set_aside_turn", "Can set aside a turn"),
                ]
            },
        ),
        migrations.RunSQL(GUARD.replace("{queued}", "('queued', 'failed'),"), GUARD.replace("{queued}", "")),
        migrations.RunPython(grant, migrations.RunPython.noop, elidable=False),
    ]
