"""What turns and steps cost; like other usage, a turn's may be settled after its end."""

from django.db import migrations, models

# Only these words of the function change; the moves that it knows are another matter.
LATE = "''output_tokens'', ''compacted''"
LATE_WITH_COST = "''output_tokens'', ''cost_usd'', ''compacted''"
GUARD = """
DO $do$ BEGIN
    EXECUTE replace(pg_get_functiondef('agents_guard_turn'::regproc), '{}', '{}');
END $do$;
"""


def _cost() -> models.DecimalField:
    return models.DecimalField(decimal_places=8, max_digits=14, null=True, help_text="Null: the price is unknown.")


class Migration(migrations.Migration):
    dependencies = [("agents", "0009_limits")]

    operations = [
        migrations.AddField("step", "cost_usd", _cost()),
        migrations.AddField("turn", "cost_usd", _cost()),
        migrations.RunSQL(GUARD.format(LATE, LATE_WITH_COST), GUARD.format(LATE_WITH_COST, LATE)),
    ]
