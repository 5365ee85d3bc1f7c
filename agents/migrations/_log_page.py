"""How much of a session's log one read takes: what `LOG_PAGE` of agents/journal/sql.py calls."""

# A loop, because only a loop stops: a sum over a window would unpack all the rows that the read then leaves out, and
# some of them have megabytes.
LOG_PAGE_END = """
CREATE FUNCTION agents_log_page_end(session uuid, after bigint, most integer, most_bytes bigint)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    event record;
    page_end bigint := after;
    total bigint := 0;
BEGIN
    FOR event IN SELECT e.seq, e.data FROM agents_event e
                 WHERE e.agent_session_id = session AND e.seq > after ORDER BY e.seq LIMIT most LOOP
        page_end := event.seq;
        total := total + octet_length(event.data::text);
        EXIT WHEN total >= most_bytes;
    END LOOP;
    RETURN page_end;
END $$;
"""
LOG_PAGE_END_BACK = "DROP FUNCTION agents_log_page_end(uuid, bigint, integer, bigint);"
