"""What the database itself refuses: entries of the audit trail are written once. Only retention deletes them, and only
a deleted account leaves them."""

AUDIT_GUARD = """
CREATE FUNCTION accounts_guard_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF current_setting('bandstand.audit_retention', true) = 'on' THEN
            RETURN OLD;
        END IF;
    ELSIF NEW.user_id IS NULL AND to_jsonb(NEW) - 'user_id' = to_jsonb(OLD) - 'user_id' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit entry % is final', OLD.id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_is_final';
END $$;
CREATE TRIGGER accounts_guard_audit BEFORE UPDATE OR DELETE ON accounts_auditentry FOR EACH ROW
    EXECUTE FUNCTION accounts_guard_audit();
"""
AUDIT_GUARD_BACK = "DROP TRIGGER accounts_guard_audit ON accounts_auditentry; DROP FUNCTION accounts_guard_audit();"
