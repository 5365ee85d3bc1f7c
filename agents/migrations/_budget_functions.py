"""The only writer of the ledger and of what is spent of budgets: one function, called by
`agents.budgets.reservations`.

It is one function, so that a runner needs one round trip, and so that nothing is decided on what another transaction
changes meanwhile. All calls wait for one lock: each handles many requests at once, and the lock ends with its
statement, whatever becomes of the process that has sent it.

In this order:

1. What has an outcome is settled. A step or a call for side work says in its `details` which reservation its usage is
   of. One that has an outcome and does not name it, or whose runner is gone, may have been billed: all of it counts,
   until somebody reports what it was, or that it was never made.
2. Places of turns that no longer wait are removed.
3. In the order of arrival money is given: first to turns that come back with what was granted to them, then to those
   that wait, then to new requests. Where the whole answer does not fit it is shortened, down to its floor; what does
   not fit then waits, and nobody passes it in the windows that it waits for; what can never fit is refused.

Those that wait are looked at where something has changed in a window that they wait for; all of them in a full pass.
Without sequential scans, so that a plan that was made when the tables were small does no harm when they are large.
"""

SETTLE_AND_RESERVE = """
CREATE FUNCTION agents_settle_and_reserve(requests jsonb, releases bigint[], is_full bool) RETURNS jsonb
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    at timestamptz;
    item record;
    b record;
    w record;
    results jsonb := '[]';
    wakes jsonb;
    drawn jsonb;
    overdrawn bigint;
    touched bigint[];
    blocked bigint[] := '{}';
    tight bigint[];
    window_ids bigint[];
    ends timestamptz;
    ends_first timestamptz;
    fails_until timestamptz;
    failing uuid;
    reason text;
    key uuid;
    turn_epoch int;
    price jsonb;
    input_bound bigint;
    most bigint;
    floor_tokens bigint;
    output_bound bigint;
    fixed numeric;
    rate numeric;
    remaining numeric;
    new_usd numeric;
    new_tokens bigint;
    new_id bigint;
    new_status text;
    is_waiting bool := false;
    exhaustion_changed bool;
BEGIN
    PERFORM pg_advisory_xact_lock(7088947288457871372);
    at := clock_timestamp();

    WITH candidates AS MATERIALIZED (
        SELECT r.*, r.usd AS held_usd, r.tokens AS held_tokens, 0::numeric AS booked_usd, 0::bigint AS booked_tokens
        FROM agents_budgetreservation r WHERE r.status IN ('reserved', 'granted')
        UNION ALL
        SELECT r.*, 0, 0, r.settled_usd, r.settled_tokens
        FROM agents_budgetreservation r WHERE r.status = 'unconfirmed' AND r.reported_at IS NOT NULL
        UNION ALL
        SELECT r.*, 0, 0, r.settled_usd, r.settled_tokens
        FROM agents_budgetreservation r
        WHERE r.status = 'unconfirmed' AND r.reported_at IS NULL AND r.id = ANY(releases)
    ), due AS MATERIALIZED (
        SELECT r.id, r.windows, r.usd, r.tokens, r.held_usd, r.held_tokens, r.booked_usd, r.booked_tokens, r.route,
               (r.request ->> 'estimated_tokens')::bigint AS estimated, (r.request ->> 'bytes')::bigint AS bytes,
               CASE WHEN r.id = ANY(releases) OR r.status = 'granted' THEN 'released'
                    WHEN r.status = 'unconfirmed' THEN 'settled'
                    WHEN CASE WHEN r.purpose = 'step' THEN p.status <> 'intent' AND p.details ->> 'reservation' = r.id::text
                              WHEN r.utility_call_id IS NOT NULL
                              THEN u.status <> 'intent' AND u.details ->> 'reservation' = r.id::text
                              ELSE r.reported_at IS NOT NULL END
                    THEN 'settled' ELSE 'unconfirmed' END AS status,
               -- An answer whose usage nobody reports may be longer than its bound all the same; by an estimate, which
               -- may be twice as much as there was.
               CASE WHEN (p.details ->> 'estimated_output_tokens')::bigint > 2 * r.output_tokens
                    THEN (p.details ->> 'estimated_output_tokens')::bigint - r.output_tokens ELSE 0 END AS more,
               coalesce((r.request -> 'price' ->> 'output')::numeric, 0) / 1000000 AS rate,
               coalesce(p.cost_usd, u.cost_usd, r.reported_usd) AS cost,
               coalesce(p.input_tokens, u.input_tokens) AS input,
               coalesce(p.input_tokens + p.output_tokens, u.input_tokens + u.output_tokens, r.reported_tokens) AS used
        FROM candidates r
        LEFT JOIN LATERAL (
            SELECT s.status, s.details, s.cost_usd, s.input_tokens, s.output_tokens
            FROM agents_step s WHERE s.turn_id = r.turn_id AND s.number = r.step LIMIT 1) p ON true
        LEFT JOIN LATERAL (
            SELECT s.id, s.status, s.epoch, s.finished_at
            FROM agents_turn s WHERE s.id = r.turn_id AND r.purpose = 'step' LIMIT 1) t ON true
        LEFT JOIN LATERAL (
            SELECT s.status, s.details, s.cost_usd, s.input_tokens, s.output_tokens
            FROM agents_utilitycall s WHERE s.id = r.utility_call_id LIMIT 1) u ON true
        WHERE r.id = ANY(releases) OR r.status = 'unconfirmed' OR CASE
              -- A turn that waits for a route holds no money meanwhile.
              WHEN r.status = 'granted' THEN t.id IS NULL OR t.finished_at IS NOT NULL OR t.status = 'retry_wait'
                                             OR p.status IS DISTINCT FROM 'intent'
              WHEN r.purpose = 'step' THEN t.id IS NULL OR p.status IS DISTINCT FROM 'intent' OR t.epoch <> r.epoch
                                           OR t.status NOT IN ('running', 'cancelling')
              WHEN r.utility_call_id IS NOT NULL THEN u.status IS DISTINCT FROM 'intent' OR r.expires_at < at
              ELSE r.reported_at IS NOT NULL OR r.expires_at < at END
    ), priced AS MATERIALIZED (
        SELECT d.*,
               CASE WHEN d.status = 'released' THEN 0
                    -- Neither NaN, which is larger than everything, nor what would give money back.
                    WHEN d.status = 'settled' AND d.cost >= 0 AND d.cost < 'Infinity' THEN d.cost
                    ELSE d.usd + ceil(d.more * d.rate * 100000000) / 100000000 END AS settled_usd,
               CASE WHEN d.status = 'released' THEN 0
                    WHEN d.status = 'settled' AND d.used >= 0 THEN d.used
                    ELSE d.tokens + d.more END AS settled_tokens
        FROM due d
    ), moved AS (
        SELECT v.id, sum(CASE v.unit WHEN 'usd' THEN d.held_usd ELSE d.held_tokens END) AS reserved,
               sum(CASE v.unit WHEN 'usd' THEN d.settled_usd - d.booked_usd
                               ELSE d.settled_tokens - d.booked_tokens END) AS spent,
               sum(greatest(0, CASE v.unit WHEN 'usd' THEN d.settled_usd - d.usd ELSE d.settled_tokens - d.tokens END))
                   AS overdraft
        FROM priced d CROSS JOIN LATERAL unnest(d.windows) AS k(id) JOIN agents_budgetwindow v ON v.id = k.id
        GROUP BY v.id
    ), changed AS (
        UPDATE agents_budgetwindow v
        SET spent = greatest(0, v.spent + m.spent), reserved = greatest(0, v.reserved - m.reserved),
            overdraft = v.overdraft + m.overdraft
        FROM moved m WHERE v.id = m.id
        RETURNING v.budget_id, v.spent, m.spent AS added
    ), ratios AS (
        INSERT INTO agents_tokenratio AS o (route, ratio, extra_tokens)
        SELECT d.route, max(d.input::float8 / d.estimated), greatest(0, max(d.input - d.bytes))
        FROM priced d WHERE d.status = 'settled' AND d.input > 0 AND d.estimated > 0 GROUP BY d.route
        ON CONFLICT (route) DO UPDATE
        SET ratio = greatest(o.ratio, EXCLUDED.ratio), extra_tokens = greatest(o.extra_tokens, EXCLUDED.extra_tokens)
        WHERE EXCLUDED.ratio > o.ratio OR EXCLUDED.extra_tokens > o.extra_tokens
    ), settled AS (
        UPDATE agents_budgetreservation r
        SET status = d.status, settled_usd = d.settled_usd, settled_tokens = d.settled_tokens, settled_at = at
        FROM priced d WHERE r.id = d.id
    )
    SELECT (SELECT count(*) FROM moved WHERE overdraft > 0),
           coalesce((SELECT array_agg(m.id) FROM moved m), '{}'),
           EXISTS (SELECT FROM changed c JOIN agents_budget g ON g.id = c.budget_id
                   CROSS JOIN LATERAL (
                       SELECT CASE WHEN g.override_until > at THEN g.override_amount ELSE g.amount END AS amount) a
                   -- Or is not any more, since what counted whole was corrected.
                   WHERE (c.spent >= a.amount) <> (c.spent - c.added >= a.amount))
    INTO overdrawn, touched, exhaustion_changed;
    IF exhaustion_changed THEN
        PERFORM pg_notify('bandstand_budgets', 'exhausted');
    END IF;

    WITH gone AS (
        DELETE FROM agents_budgetreservation r
        WHERE r.status = 'waiting' AND NOT EXISTS (
            SELECT FROM agents_turn t JOIN agents_step p ON p.turn_id = t.id AND p.number = r.step
            WHERE t.id = r.turn_id AND t.finished_at IS NULL AND t.status <> 'retry_wait' AND p.status = 'intent')
        RETURNING r.windows)
    SELECT touched || coalesce(array_agg(k.id), '{}') INTO touched FROM gone CROSS JOIN LATERAL unnest(gone.windows) AS k(id);

    FOR item IN
        SELECT q.n, h.id AS held_id, h.status AS held_status, h.windows AS held_windows, h.usd AS held_usd,
               h.tokens AS held_tokens, h.expires_at < at AS is_stale, coalesce(q.request, h.request) AS request
        FROM (SELECT e.n, e.request, (e.request ->> 'turn')::uuid AS turn, (e.request ->> 'step')::smallint AS step
              FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(request, n)) q
        FULL JOIN (SELECT * FROM agents_budgetreservation WHERE status IN ('waiting', 'granted')) h
             ON h.turn_id = q.turn AND h.step = q.step
        WHERE q.n IS NOT NULL OR h.status = 'waiting'
        ORDER BY h.status = 'granted' DESC NULLS LAST, h.id NULLS LAST, q.n
    LOOP
        IF item.n IS NULL AND NOT item.is_stale
           AND (item.held_windows && blocked OR NOT is_full AND NOT item.held_windows && touched) THEN
            IF NOT item.held_windows <@ blocked THEN
                blocked := blocked || item.held_windows;
            END IF;
            is_waiting := true;
            CONTINUE;
        END IF;
        price := nullif(item.request -> 'price', 'null');
        key := (item.request ->> 'key')::uuid;
        IF item.request ->> 'turn' IS NOT NULL THEN
            SELECT coalesce(key, t.api_key_id), t.epoch INTO key, turn_epoch
            FROM agents_turn t WHERE t.id = (item.request ->> 'turn')::uuid;
            IF item.n IS NOT NULL AND turn_epoch <> (item.request ->> 'epoch')::int THEN
                -- Another claim owns the turn by now, and what it has granted or waits for.
                results := results || jsonb_build_object(
                    'n', item.n, 'status', 'refused', 'reason', 'lost', 'budget', NULL, 'resets_at', NULL);
                CONTINUE;
            END IF;
        END IF;
        IF item.held_status = 'granted' THEN
            touched := touched || item.held_windows;
            UPDATE agents_budgetwindow v
            SET reserved = greatest(0, v.reserved - CASE v.unit WHEN 'usd' THEN item.held_usd ELSE item.held_tokens END)
            WHERE v.id = ANY(item.held_windows);
        END IF;
        SELECT least(ceil((item.request ->> 'estimated_tokens')::bigint * o.ratio * 1.1),
                     (item.request ->> 'bytes')::bigint + ceil(o.extra_tokens * 1.1))::bigint
        INTO input_bound FROM agents_tokenratio o WHERE o.route = item.request ->> 'route';
        input_bound := coalesce(input_bound, (item.request ->> 'bytes')::bigint);
        IF item.request ->> 'window' IS NOT NULL THEN
            -- No model reads more than its window, whatever its provider has reported once.
            input_bound := least(input_bound, greatest((item.request ->> 'window')::bigint,
                                                       (item.request ->> 'estimated_tokens')::bigint));
        END IF;
        most := (item.request ->> 'output_tokens')::bigint;
        floor_tokens := least(most, (item.request ->> 'least_output_tokens')::bigint);
        output_bound := most;
        window_ids := '{}'; tight := '{}'; drawn := '[]';
        reason := NULL; failing := NULL; fails_until := NULL; ends_first := NULL;

        FOR b IN
            SELECT g.*, CASE WHEN g.override_until > at THEN g.override_amount ELSE g.amount END AS now_amount,
                   CASE WHEN g.subject = 'each_user' THEN (item.request ->> 'user')::int ELSE 0 END AS counted
            -- Each part by an index: there may be a budget for each of many thousand users.
            FROM (
                SELECT s.* FROM agents_budget s
                WHERE s.subject IN ('everybody', 'each_user')
                  -- What is no user's is that of 0.
                  AND (s.subject = 'everybody' OR (item.request ->> 'user')::int <> 0 AND NOT EXISTS (
                      SELECT FROM agents_budget o
                      WHERE o.user_id = (item.request ->> 'user')::int AND o.unit = s.unit AND o.period = s.period))
                UNION ALL
                SELECT s.* FROM agents_budget s WHERE s.user_id = (item.request ->> 'user')::int
                UNION ALL
                SELECT s.* FROM agents_budget s WHERE s.agent_id = (item.request ->> 'agent')::uuid
                UNION ALL
                SELECT s.* FROM agents_budget s WHERE s.api_key_id = key
                UNION ALL
                SELECT s.* FROM accounts_user_groups m JOIN agents_budget s ON s.group_id = m.group_id
                WHERE m.user_id = (item.request ->> 'user')::int
            ) g
            ORDER BY g.id
        LOOP
            IF b.unit = 'usd' THEN
                IF price IS NULL THEN
                    reason := 'price_unknown'; failing := b.id;
                    EXIT;
                END IF;
                fixed := input_bound * (price ->> 'input')::numeric / 1000000 + (price ->> 'request')::numeric;
                rate := (price ->> 'output')::numeric / 1000000;
            ELSE
                fixed := input_bound;
                rate := 1;
            END IF;
            -- What costs nothing draws on nothing.
            CONTINUE WHEN fixed + rate * most = 0;
            SELECT v.* INTO w FROM agents_budgetwindow v
            WHERE v.budget_id = b.id AND v.counted_user = b.counted
              AND v.starts_at = date_trunc(b.period, at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
            IF NOT FOUND THEN
                ends := (date_trunc(b.period, at AT TIME ZONE 'UTC') + ('1 ' || b.period)::interval) AT TIME ZONE 'UTC';
                INSERT INTO agents_budgetwindow AS v (budget_id, counted_user, unit, starts_at, ends_at)
                VALUES (b.id, b.counted, b.unit, date_trunc(b.period, at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', ends)
                RETURNING v.* INTO w;
            END IF;
            window_ids := window_ids || w.id;
            ends_first := least(ends_first, w.ends_at);
            IF fixed + rate * floor_tokens > b.now_amount THEN
                -- Not even of an unused one: that it begins anew does not help.
                reason := 'too_large'; failing := b.id; fails_until := NULL;
                EXIT;
            END IF;
            IF fixed + rate * floor_tokens > b.now_amount - w.spent THEN
                -- Not even if all that is reserved came back.
                reason := 'exceeded';
                IF fails_until IS NULL OR w.ends_at > fails_until THEN
                    failing := b.id; fails_until := w.ends_at;
                END IF;
                CONTINUE;
            END IF;
            remaining := b.now_amount - w.spent - w.reserved;
            IF fixed + rate * floor_tokens > remaining THEN
                tight := tight || w.id;
            ELSIF rate > 0 THEN
                output_bound := least(output_bound, floor((remaining - fixed) / rate)::bigint);
            END IF;
            IF item.n IS NOT NULL AND b.warn_percent > 0 AND NOT w.warned AND b.now_amount > 0
               AND w.spent * 100 >= b.now_amount * b.warn_percent THEN
                drawn := drawn || jsonb_build_object(
                    'window', w.id, 'budget', b.id, 'subject', b.subject, 'unit', b.unit, 'period', b.period,
                    'used_percent', least(100, floor(w.spent * 100 / b.now_amount)), 'resets_at', w.ends_at);
            END IF;
        END LOOP;

        IF reason IS NULL AND window_ids && blocked THEN
            -- Who waits in one of these windows came first.
            tight := ARRAY(SELECT unnest(tight) UNION SELECT k.id FROM unnest(window_ids) AS k(id) WHERE k.id = ANY(blocked));
        END IF;
        IF reason IS NULL AND tight <> '{}' THEN
            IF NOT (item.request ->> 'may_wait')::bool THEN
                reason := 'busy'; failing := NULL; fails_until := NULL;
            ELSE
                IF item.held_status = 'waiting' THEN
                    -- Nor does anybody pass it where it has waited before: two windows could go on taking turns.
                    tight := ARRAY(SELECT unnest(tight) UNION
                                   SELECT k.id FROM unnest(window_ids) AS k(id) WHERE k.id = ANY(item.held_windows));
                END IF;
                blocked := blocked || tight;
            END IF;
        END IF;
        IF item.held_status = 'waiting' AND (reason IS NOT NULL OR window_ids = '{}') THEN
            -- Those behind it move up.
            touched := touched || item.held_windows;
        END IF;

        IF reason IS NOT NULL OR window_ids = '{}' THEN
            IF item.n IS NULL THEN
                -- It asks again when it is awake, and hears why. Until then it is granted nothing, so that each pass
                -- wakes it: whoever reads of it first may be killed before it does so.
                UPDATE agents_budgetreservation r
                SET status = 'granted', windows = '{}',
                    expires_at = at + (item.request ->> 'lease_seconds')::float8 * interval '1 second'
                WHERE r.id = item.held_id;
                CONTINUE;
            END IF;
            DELETE FROM agents_budgetreservation r WHERE r.id = item.held_id;
            IF reason IS NOT NULL THEN
                results := results || jsonb_build_object(
                    'n', item.n, 'status', 'refused', 'reason', reason, 'budget', failing, 'resets_at', fails_until);
            ELSE
                results := results || jsonb_build_object('n', item.n, 'status', 'unlimited', 'output_tokens', most);
            END IF;
            CONTINUE;
        END IF;

        IF tight <> '{}' THEN
            new_status := 'waiting'; new_usd := 0; new_tokens := 0; output_bound := 0; window_ids := tight;
            is_waiting := true;
        ELSE
            new_status := CASE WHEN item.n IS NULL THEN 'granted' ELSE 'reserved' END;
            new_usd := CASE WHEN price IS NULL THEN 0 ELSE ceil(
                (input_bound * (price ->> 'input')::numeric / 1000000 + (price ->> 'request')::numeric
                 + output_bound * (price ->> 'output')::numeric / 1000000) * 100000000) / 100000000 END;
            new_tokens := input_bound + output_bound;
            UPDATE agents_budgetwindow v
            SET reserved = v.reserved + CASE v.unit WHEN 'usd' THEN new_usd ELSE new_tokens END,
                warned = v.warned OR v.id IN (SELECT (d ->> 'window')::bigint FROM jsonb_array_elements(drawn) AS d)
            WHERE v.id = ANY(window_ids);
        END IF;
        IF item.held_id IS NULL THEN
            INSERT INTO agents_budgetreservation (
                status, user_id, agent_id, api_key_id, agent_session_id, turn_id, step, epoch, utility_call_id, purpose,
                route, windows, request, usd, tokens, input_tokens, output_tokens, created_at, expires_at)
            VALUES (
                new_status, (item.request ->> 'user')::int, (item.request ->> 'agent')::uuid, key,
                (item.request ->> 'session')::uuid, (item.request ->> 'turn')::uuid,
                (item.request ->> 'step')::smallint, (item.request ->> 'epoch')::int,
                (item.request ->> 'utility_call')::bigint, item.request ->> 'purpose',
                left(item.request ->> 'route', 200), window_ids, item.request, new_usd, new_tokens, input_bound,
                output_bound, at,
                CASE WHEN new_status = 'waiting' THEN ends_first
                     ELSE at + (item.request ->> 'lease_seconds')::float8 * interval '1 second' END)
            RETURNING id INTO new_id;
        ELSE
            new_id := item.held_id;
            UPDATE agents_budgetreservation r
            SET status = new_status, windows = window_ids, request = item.request, usd = new_usd, tokens = new_tokens,
                input_tokens = input_bound, output_tokens = output_bound, api_key_id = key,
                epoch = (item.request ->> 'epoch')::int, route = left(item.request ->> 'route', 200),
                expires_at = CASE WHEN new_status = 'waiting' THEN ends_first
                    ELSE at + (item.request ->> 'lease_seconds')::float8 * interval '1 second' END
            WHERE r.id = new_id;
        END IF;
        IF item.n IS NOT NULL THEN
            IF new_status = 'waiting' AND item.held_id IS NULL THEN
                PERFORM pg_notify('bandstand_budgets', 'waiting');
            END IF;
            results := results || jsonb_build_object(
                'n', item.n, 'status', new_status, 'id', new_id, 'output_tokens', output_bound, 'resets_at', ends_first,
                'warnings', CASE WHEN new_status = 'waiting' THEN '[]'::jsonb ELSE drawn END);
        END IF;
    END LOOP;

    SELECT coalesce(jsonb_agg(jsonb_build_array(t.agent_session_id, t.id) ORDER BY r.id), '[]') INTO wakes
    FROM agents_budgetreservation r JOIN agents_turn t ON t.id = r.turn_id
    WHERE r.status = 'granted' AND t.status = 'waiting' AND t.wait_reason = 'budget';
    RETURN jsonb_build_object(
        'results', results, 'wake', wakes, 'waiting', is_waiting, 'overdrawn', overdrawn);
END $$;
"""
SETTLE_AND_RESERVE_BACK = "DROP FUNCTION agents_settle_and_reserve(jsonb, bigint[], bool);"
