"""What the database itself refuses: entries of the audit trail are written once. Only retention deletes them, and only
the erasure of a person changes what names that person. And the words by which the trail is searched."""

AUDIT_GUARD = """
CREATE FUNCTION accounts_guard_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('bandstand.audit_retention', true) = 'on' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'audit entry % is final', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_is_final';
    ELSIF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'the audit trail is final'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_is_final';
    ELSIF NEW.user_id IS NULL AND to_jsonb(NEW) - 'user_id' = to_jsonb(OLD) - 'user_id' THEN
        RETURN NEW;
    ELSIF current_setting('bandstand.audit_erasure', true) = 'on'
        AND (NEW.id, NEW.at, NEW.action, NEW.target_type, NEW.target_id)
            = (OLD.id, OLD.at, OLD.action, OLD.target_type, OLD.target_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit entry % is final', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_is_final';
END $$;
CREATE TRIGGER accounts_guard_audit BEFORE UPDATE OR DELETE ON accounts_auditentry FOR EACH ROW
    EXECUTE FUNCTION accounts_guard_audit();
CREATE TRIGGER accounts_guard_audit_truncate BEFORE TRUNCATE ON accounts_auditentry FOR EACH STATEMENT
    EXECUTE FUNCTION accounts_guard_audit();
"""
AUDIT_GUARD_BACK = """
DROP TRIGGER accounts_guard_audit_truncate ON accounts_auditentry;
DROP TRIGGER accounts_guard_audit ON accounts_auditentry;
DROP FUNCTION accounts_guard_audit();
"""

# Signs stand between words, so that `release.published`, a name in a list and a part of an id are found. Searches put
# their own words through the same.
AUDIT_SEARCH = r"""
CREATE FUNCTION accounts_audit_words(content text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    translate(content, '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32));
CREATE FUNCTION accounts_audit_document(
    action text, actor text, target_type text, target_id text, target_name text, detail jsonb
) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    to_tsvector('simple'::regconfig, accounts_audit_words(
        action || ' ' || actor || ' ' || target_type || ' ' || target_id || ' ' || target_name || ' '
        || left(detail::text, 10000)));
CREATE INDEX audit_document ON accounts_auditentry USING gin (
    accounts_audit_document(action, actor, target_type, target_id, target_name, detail));
"""
AUDIT_SEARCH_BACK = """
DROP INDEX audit_document;
DROP FUNCTION accounts_audit_document(text, text, text, text, text, jsonb);
DROP FUNCTION accounts_audit_words(text);
"""
