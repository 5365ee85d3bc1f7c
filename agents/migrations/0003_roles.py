"""The five roles as groups. Written out: a migration must not change when `agents.access.roles` does.

A role that changes later gets a migration of its own; `tests/rows/test_roles.py` holds the table in code against the rows.
"""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

USER = ["agents.use_chat"]
VIEWER = [
    "agents.enter_console",
    "agents.view_transcript",
    "agents.view_agent",
    "agents.view_agentsession",
    "agents.view_event",
    "agents.view_message",
    "agents.view_release",
    "agents.view_runner",
    "agents.view_step",
    "agents.view_turn",
]
OPERATOR = [*VIEWER, "agents.cancel_turn"]
BUILDER = [
    *VIEWER,
    "agents.publish_agent",
    "agents.add_agent",
    "agents.change_agent",
    "agents.add_agentdraft",
    "agents.change_agentdraft",
    "agents.view_agentdraft",
]
OWNER = [
    *{*USER, *OPERATOR, *BUILDER},
    "agents.add_apikey",
    "agents.revoke_apikey",
    "agents.view_apikey",
    "agents.add_user",
    "agents.change_user",
    "agents.view_user",
    "auth.add_group",
    "auth.change_group",
    "auth.delete_group",
    "auth.view_group",
]
ROLES = {"user": USER, "viewer": VIEWER, "operator": OPERATOR, "builder": BUILDER, "owner": OWNER}


def seed(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    # Django makes permissions after the last migration; the roles need them now.
    for label in ("auth", "agents"):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, verbosity=0, using=alias, apps=apps)
        config.models_module = None
    permissions = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in apps.get_model("auth", "Permission").objects.using(alias).select_related("content_type")
    }
    groups = apps.get_model("auth", "Group").objects.using(alias)
    for name, granted in ROLES.items():
        group, _ = groups.get_or_create(name=name)
        group.permissions.add(*(permissions[permission] for permission in granted))


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0002_guards"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    # Backwards nothing: people may be in the groups by then.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop, elidable=False)]
