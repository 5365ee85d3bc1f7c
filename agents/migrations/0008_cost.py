"""What turns and steps cost; like other usage, a turn's may be settled after its end."""

from django.db import migrations, models

GUARD = """
CREATE OR REPLACE FUNCTION agents_guard_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('completed', 'failed', 'cancelled', 'expired') THEN
        -- Usage that the provider reports late may still be settled, and its deltas are folded together later.
        IF to_jsonb(NEW) - ARRAY['input_tokens', 'output_tokens', 'cost_usd', 'compacted']
           <> to_jsonb(OLD) - ARRAY['input_tokens', 'output_tokens', 'cost_usd', 'compacted'] THEN
            RAISE EXCEPTION 'turn % is % and cannot change', OLD.id, OLD.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'turn_terminal_is_final';
        END IF;
    ELSIF (OLD.status, NEW.status) NOT IN (
        ('queued', 'running'), ('queued', 'cancelled'), ('queued', 'expired'),
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


def _cost() -> models.DecimalField:
    return models.DecimalField(decimal_places=8, max_digits=14, null=True, help_text="Null: the price is unknown.")


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_client_requests")]

    operations = [
        migrations.AddField("step", "cost_usd", _cost()),
        migrations.AddField("turn", "cost_usd", _cost()),
        migrations.RunSQL(GUARD, migrations.RunSQL.noop),
    ]
