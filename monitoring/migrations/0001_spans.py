"""Spans of turns."""

from django.db import migrations


class Migration(migrations.Migration):
    initial = True

    dependencies = [("agents", "0001_initial")]

    operations = []
