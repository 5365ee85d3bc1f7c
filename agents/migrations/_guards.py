"""What the database itself refuses: illegal moves of a turn, changes of a finished turn, changes of a release.

The table of moves is written out here, because a migration must not change when code does; `tests/integration/agents/models/test_guards.py`
holds it against `agents.domain.states`.
"""

TURN_GUARD = """
CREATE FUNCTION agents_guard_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IN ('completed', 'failed', 'cancelled', 'expired') THEN
        -- Usage that the provider reports late may still be settled, and its deltas are compacted later.
        IF to_jsonb(NEW) - ARRAY['input_tokens', 'output_tokens', 'cost_usd', 'compacted', 'remembered']
           <> to_jsonb(OLD) - ARRAY['input_tokens', 'output_tokens', 'cost_usd', 'compacted', 'remembered'] THEN
            RAISE EXCEPTION 'turn % is % and cannot change', OLD.id, OLD.status
                USING ERRCODE = 'check_violation', CONSTRAINT = 'turn_terminal_is_final';
        END IF;
    ELSIF (OLD.status, NEW.status) NOT IN (
        ('queued', 'running'), ('queued', 'cancelled'), ('queued', 'expired'), ('queued', 'failed'),
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
CREATE TRIGGER agents_guard_turn BEFORE UPDATE ON agents_turn FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.finished_at IS NOT NULL)
    EXECUTE FUNCTION agents_guard_turn();
"""
TURN_GUARD_BACK = "DROP TRIGGER agents_guard_turn ON agents_turn; DROP FUNCTION agents_guard_turn();"

RELEASE_GUARD = """
CREATE FUNCTION agents_guard_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The publisher's account may be deleted; what was published stays.
    IF NEW.published_by_id IS NOT NULL AND NEW.published_by_id IS DISTINCT FROM OLD.published_by_id
       OR to_jsonb(NEW) - 'published_by_id' <> to_jsonb(OLD) - 'published_by_id' THEN
        RAISE EXCEPTION 'release % is immutable', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'release_is_immutable';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agents_guard_release BEFORE UPDATE ON agents_release FOR EACH ROW
    EXECUTE FUNCTION agents_guard_release();
"""
RELEASE_GUARD_BACK = "DROP TRIGGER agents_guard_release ON agents_release; DROP FUNCTION agents_guard_release();"

# A session's row is rewritten several times per turn, a counter many times an hour: room on its page keeps those updates
# off the indexes.
STORAGE = """
ALTER TABLE agents_agentsession SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE agents_turn SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE agents_turnrollup SET (fillfactor = 70);
ALTER TABLE agents_callrollup SET (fillfactor = 70);
"""
STORAGE_BACK = """
ALTER TABLE agents_agentsession RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE agents_turn RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE agents_turnrollup RESET (fillfactor);
ALTER TABLE agents_callrollup RESET (fillfactor);
"""

# No write-ahead log, so no statement on them waits for the disk; a crash empties them. Room on each page for the next
# version of a row.
UNLOGGED = """
ALTER TABLE agents_webprocess SET (fillfactor = 50);
ALTER TABLE agents_webprocess SET UNLOGGED;
ALTER TABLE agents_connectionslot SET (fillfactor = 50);
ALTER TABLE agents_connectionslot SET UNLOGGED;
"""
