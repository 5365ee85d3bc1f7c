"""What the check constraints of the hot tables call; why they are functions: agents/models/constraints.py."""

ROW_CHECKS = """
CREATE FUNCTION agents_turn_row_check(status text, lease timestamptz, finished timestamptz, available timestamptz,
                                      wait_reason text, error_class text)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE status
        WHEN 'waiting' THEN lease IS NULL AND finished IS NULL AND available IS NOT NULL
                            AND wait_reason IN ('approval', 'children', 'budget')
        WHEN 'retry_wait' THEN lease IS NULL AND finished IS NULL AND available IS NOT NULL AND wait_reason = ''
        ELSE available IS NULL AND wait_reason = '' AND CASE status
            WHEN 'queued' THEN lease IS NULL AND finished IS NULL
            WHEN 'running' THEN lease IS NOT NULL AND finished IS NULL
            WHEN 'cancelling' THEN lease IS NOT NULL AND finished IS NULL
            WHEN 'completed' THEN lease IS NULL AND finished IS NOT NULL
            WHEN 'cancelled' THEN lease IS NULL AND finished IS NOT NULL
            WHEN 'expired' THEN lease IS NULL AND finished IS NOT NULL
            WHEN 'failed' THEN lease IS NULL AND finished IS NOT NULL AND error_class <> ''
            ELSE false
        END
    END;
END $$;

CREATE FUNCTION agents_step_row_check(kind text, status text, finished timestamptz)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN kind IN ('model', 'tool', 'fallback') AND CASE status
        WHEN 'intent' THEN finished IS NULL
        WHEN 'done' THEN finished IS NOT NULL
        WHEN 'failed' THEN finished IS NOT NULL
        WHEN 'unknown' THEN finished IS NOT NULL
        ELSE false
    END;
END $$;

CREATE FUNCTION agents_session_row_check(controller text, next_seq bigint, next_ordinal integer, open_turns integer)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN controller IN ('agent', 'human') AND next_seq >= 1 AND next_ordinal >= 1 AND open_turns >= 0;
END $$;

CREATE FUNCTION agents_message_row_check(author text, id uuid, parent uuid)
RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN author IN ('user', 'agent', 'human', 'system') AND (parent IS NULL OR parent <> id);
END $$;
"""
ROW_CHECKS_BACK = """
DROP FUNCTION agents_turn_row_check(text, timestamptz, timestamptz, timestamptz, text, text);
DROP FUNCTION agents_step_row_check(text, text, timestamptz);
DROP FUNCTION agents_session_row_check(text, bigint, integer, integer);
DROP FUNCTION agents_message_row_check(text, uuid, uuid);
"""
