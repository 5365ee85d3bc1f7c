"""Who may enter the console reads the drafts of agents, too."""

from typing import Any

from django.db import migrations


def grant(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    permission = apps.get_model("auth", "Permission").objects.using(alias).get(codename="view_agentdraft")
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=["viewer", "operator"]):
        group.permissions.add(permission)


class Migration(migrations.Migration):
    dependencies = [("agents", "0010_cost")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop, elidable=False)]
