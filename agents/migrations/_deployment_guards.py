"""What the database refuses of deployments: illegal moves, another agent, candidate or baseline, and changes of one that
has ended, but for references to rows that are deleted.

The table of moves is written out here, because a migration must not change when code does; a test holds it against
`agents.domain.deployments`.
"""

DEPLOYMENT_GUARD = """
CREATE FUNCTION agents_guard_deployment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('done', 'rolled_back', 'cancelled') THEN
        IF to_jsonb(NEW) - ARRAY['test_set_id', 'created_by_id'] <> to_jsonb(OLD) - ARRAY['test_set_id', 'created_by_id']
        THEN
            RAISE EXCEPTION 'deployment % is % and cannot change', OLD.id, OLD.state
                USING ERRCODE = 'check_violation', CONSTRAINT = 'deployment_ended_is_final';
        END IF;
    ELSIF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
        ('draft', 'staging'), ('draft', 'rolled_back'), ('draft', 'cancelled'),
        ('staging', 'validating'), ('staging', 'rolled_back'), ('staging', 'cancelled'),
        ('validating', 'canary'), ('validating', 'rolled_back'), ('validating', 'cancelled'),
        ('canary', 'live'), ('canary', 'rolled_back'), ('canary', 'cancelled'),
        ('live', 'watching'), ('live', 'rolled_back'), ('live', 'cancelled'),
        ('watching', 'done'), ('watching', 'rolled_back'), ('watching', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'deployment % cannot move from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'deployment_move_is_legal';
    ELSIF (OLD.agent_id, OLD.candidate_id, OLD.baseline_id) <> (NEW.agent_id, NEW.candidate_id, NEW.baseline_id) THEN
        RAISE EXCEPTION 'deployment % keeps its agent and releases', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'deployment_releases_stay';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER agents_guard_deployment BEFORE UPDATE ON agents_deployment FOR EACH ROW
    EXECUTE FUNCTION agents_guard_deployment();
"""
DEPLOYMENT_GUARD_BACK = """
DROP TRIGGER agents_guard_deployment ON agents_deployment; DROP FUNCTION agents_guard_deployment();
"""
