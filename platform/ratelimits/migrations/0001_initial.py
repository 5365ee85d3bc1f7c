from django.db import migrations, models

# No write-ahead log, so no statement on it waits for the disk; a crash empties it. Room on each page for the next version
# of a row.
UNLOGGED = """
ALTER TABLE ratelimits_bucket SET (fillfactor = 50);
ALTER TABLE ratelimits_bucket SET UNLOGGED;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Bucket",
            fields=[
                ("key", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("full_at", models.DateTimeField(help_text="When it is full again.")),
                ("granted", models.IntegerField(help_text="Tokens of the last taking.")),
            ],
        ),
        migrations.RunSQL(UNLOGGED, migrations.RunSQL.noop),
    ]
