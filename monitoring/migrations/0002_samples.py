"""Samples of gauges and processes, and recommendations."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0001_spans")]

    operations = []
