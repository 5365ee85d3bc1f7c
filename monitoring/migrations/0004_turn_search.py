"""Words of turns, for search."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0003_debug_mode")]

    operations = []
