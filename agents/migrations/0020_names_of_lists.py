"""Lists are called in their headings what the sidebar calls them. Nothing in the database changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0019_letters")]

    operations = [
        migrations.AlterModelOptions(
            name="auditentry",
            options={"ordering": ["-id"], "verbose_name": "audit entry", "verbose_name_plural": "audit trail"},
        ),
        migrations.AlterModelOptions(
            name="letter",
            options={"ordering": ["-id"], "verbose_name": "mail", "verbose_name_plural": "mail"},
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="action",
            field=models.CharField(help_text='What was done, e.g. "release.published".', max_length=64),
        ),
    ]
