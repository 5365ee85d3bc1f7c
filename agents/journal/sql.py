"""The hand-written SQL of the hot path, and why each statement is one statement.

The ORM costs three to five times the processor time here, and needs several round trips where one statement gives the
same transaction. Three rules hold everywhere below:

1. **The fence is on the row that is locked.** A runner's statement begins with an UPDATE of the session that names
   turn and epoch. When it waits for the lock, PostgreSQL re-reads that row; a condition on another table would be
   evaluated on the snapshot from before the wait, and a dead runner could write.
2. **Sequence numbers come out of that same UPDATE.** Nobody computes one beforehand.
3. **Every later part of a statement reads FROM the fence**, so zero rows there write nothing at all.

NOTIFY is sent at commit and only says where to look; a lost one costs at most a poll of one second.
"""

from collections.abc import Mapping
from typing import Any

from agents.domain.states import Priority
from agents.journal.json_sql import MOMENT, approval_json, message_json, session_json
from agents.models import IN_PRODUCTION_SQL

EVENTS_CHANNEL = "bandstand_events"
TURNS_CHANNEL = "bandstand_turns"

# --- accept -----------------------------------------------------------------------------------------------------------
# Its first message names a session that is listed and has no title.
_IS_NAMED = "s.next_ordinal = 1 AND s.title = '' AND s.listed AND %(title)s::text <> ''"
# Where the agent wants it, a session goes to the live release with its next turn. While a deployment is open there are
# two, and each session keeps its own.
_IS_MOVED = "a.moves_sessions AND a.deployment_id IS NULL AND s.purpose = '' AND s.release_id <> a.live_release_id"
_PINNED = f"CASE WHEN {_IS_MOVED} THEN a.live_release_id ELSE s.release_id END"
_UPDATED = session_json(
    "s",
    agent="a.slug",
    release=f"(SELECT r.number FROM agents_release r WHERE r.id = {_PINNED})",
    title=f"CASE WHEN {_IS_NAMED} THEN %(title)s::text ELSE s.title END",
    head="s.head_message_id",
)
_QUESTION = message_json(
    id="%(message)s::uuid",
    ordinal="s.next_ordinal",
    author="'user'",
    parts="%(parts)s::jsonb",
    turn="%(turn)s::uuid",
    parent="s.parent",
    partial="false",
    created_at="now()",
)

# `old` locks the session (NO KEY: a plain FOR UPDATE deadlocks with the key locks of child rows) and carries its state;
# `s` refuses by writing nothing: the caller then finds out why. Depth and `reject` are evaluated on the locked row. A
# key that a message without a turn has (a human controlled then) is refused too: keys are one namespace per session. An
# agent that is no longer in one of the user's groups takes no messages. `updated` is the session that is named by its
# first message or moved to another release, and null for nearly all messages.
ACCEPT = f"""
WITH old AS MATERIALIZED (
    SELECT s.id, s.agent_id, {_PINNED} AS release_id, s.next_seq, s.next_ordinal, s.open_turns, s.controller,
           CASE WHEN %(branch)s THEN %(parent)s::uuid ELSE s.head_message_id END AS parent,
           coalesce(%(when_busy)s, a.when_busy) AS when_busy,
           CASE WHEN {_IS_NAMED} OR {_IS_MOVED} THEN {_UPDATED} END AS updated
    FROM agents_agentsession s JOIN agents_agent a ON a.id = s.agent_id
    WHERE s.id = %(session)s AND s.user_id = %(user)s
      AND (NOT EXISTS (SELECT FROM agents_agent_groups g WHERE g.agent_id = s.agent_id)
           OR EXISTS (SELECT FROM agents_agent_groups g JOIN accounts_user_groups m ON m.group_id = g.group_id
                      WHERE g.agent_id = s.agent_id AND m.user_id = %(user)s))
    FOR NO KEY UPDATE OF s
), s AS (
    UPDATE agents_agentsession u
    SET next_seq = old.next_seq + 2 + (old.updated IS NOT NULL)::int, next_ordinal = old.next_ordinal + 1,
        open_turns = old.open_turns + 1, head_message_id = %(message)s, updated_at = now(),
        title = coalesce(old.updated ->> 'title', u.title), release_id = old.release_id
    FROM old
    WHERE u.id = old.id AND old.controller = 'agent' AND old.open_turns < %(depth)s
      AND (old.when_busy = 'enqueue' OR old.open_turns = 0)
      AND NOT EXISTS (SELECT FROM agents_message k WHERE k.agent_session_id = old.id AND k.idempotency_key = %(key)s)
    RETURNING old.id, old.agent_id, old.release_id, old.next_seq + (old.updated IS NOT NULL)::int AS next_seq,
              old.next_ordinal, old.parent, old.updated
), t AS (
    INSERT INTO agents_turn (id, agent_session_id, user_id, release_id, ordinal, status, priority, idempotency_key,
                             fingerprint, client_options, api_key_id, epoch, attempts_without_progress, deadline_at,
                             error_class, error_detail, compacted, wait_reason, resumes)
    SELECT %(turn)s, s.id, %(user)s, s.release_id, s.next_ordinal, 'queued', %(priority)s, %(key)s,
           %(fingerprint)s, %(client_options)s::jsonb, %(api_key)s::uuid, 0, 0,
           now() + %(deadline_seconds)s * interval '1 second', '', '', false, '', false
    FROM s
), m AS (
    INSERT INTO agents_message (id, agent_session_id, ordinal, author, parts, turn_id, parent_id, partial,
                                supplied_by_client, created_at)
    SELECT %(message)s, s.id, s.next_ordinal, 'user', %(parts)s, %(turn)s, s.parent, false, false, now() FROM s
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT s.id, s.next_seq, %(turn)s::uuid, 0, 'message.created', jsonb_build_object('message', {_QUESTION}) FROM s
    UNION ALL
    SELECT s.id, s.next_seq + 1, %(turn)s::uuid, 0, 'turn.queued', jsonb_build_object(
               'message', %(message)s::uuid, 'ordinal', s.next_ordinal, 'priority', %(priority_name)s::text)
    FROM s
    UNION ALL
    SELECT s.id, s.next_seq - 1, NULL, 0, 'session.updated', jsonb_build_object('session', s.updated)
    FROM s WHERE s.updated IS NOT NULL
)
SELECT s.next_seq + 1, s.next_ordinal, s.agent_id, pg_notify('{EVENTS_CHANNEL}', s.id || ' ' || (s.next_seq + 1)),
       pg_notify('{TURNS_CHANNEL}', '')
FROM s
"""

# --- claim ------------------------------------------------------------------------------------------------------------
# `waiting` walks the queue's index from user to user, so a user with ten thousand waiting turns costs the others one
# step of it. `ranked` offers each user's next turns, up to the running limit; the rank of a turn counts what its user
# already runs, which is what makes the order fair. Only the first open turn of a session can be claimed, and none while
# a person controls it; a session or a turn that another transaction has locked is skipped, not waited for. The intent
# of the first model call commits here too; it names no route, for which one is asked is decided by the state of the
# routes then. A turn that comes back from a wait resumes (`turn.started`, and its partial answer stays); every other
# later claim restarts it (`turn.restarted`).
# (With RECURSIVE every name here sees every other, so no part may be called like an alias that is locked.)
#
# A turn that is pinned to a withdrawn release runs on the live one of its agent, also one that had begun: from the
# commit that withdraws a release no claim runs it for a user. Builders go on with it in their own sessions. Nearly
# always the look-up is one probe of an empty table for each claimed turn, and the column keeps its value, so the row is
# updated in place as before.
#
# `CLAIM_BY_AGE` also lets a turn of the background count as an interactive one if it was asked before `aged`, an id of
# that time, so that others cannot pass it for ever; those that stand behind interactive ones of their user are looked
# up apart. That costs a fifth more, so each runner does it once a second.
#
# While little waits, every index of open turns looks empty to the planner and as good as any other, and a plan made
# then reads all that waits for each turn that waits. So each condition here fits one index only (see the turn's model);
# OFFSET 0 makes the look for an earlier turn a look-up instead of a join; CASE ties the state of a picked turn to its
# session, so that no scan of all turns looks short because few of them are queued: a key is the only way to it.
_CLAIMABLE = """
    FROM agents_turn t JOIN agents_agentsession s ON s.id = t.agent_session_id
    WHERE t.user_id = w.user_id AND t.status = 'queued' AND s.active_turn_id IS NULL AND s.controller = 'agent'
      AND t.deadline_at > now()
      AND NOT EXISTS (
          SELECT FROM agents_turn b
          WHERE b.agent_session_id = t.agent_session_id AND b.ordinal < t.ordinal AND b.finished_at IS NULL
          OFFSET 0)
"""
_ROOM = "LIMIT greatest(0, least(%(limit)s, %(running_per_user)s - running.n))"
_BY_PRIORITY = f"SELECT t.id, t.agent_session_id, t.priority {_CLAIMABLE} ORDER BY t.priority, t.id {_ROOM}"
_WITH_AGE = "SELECT t.id, t.agent_session_id, CASE WHEN t.id < %(aged)s::uuid THEN 0 ELSE t.priority END AS priority"
_BY_AGE = f"""
    SELECT o.id, o.agent_session_id, o.priority FROM (
        ({_WITH_AGE} {_CLAIMABLE} ORDER BY t.priority, t.id {_ROOM})
        UNION
        ({_WITH_AGE} {_CLAIMABLE} AND t.priority = {Priority.BACKGROUND.value} AND t.id < %(aged)s::uuid
         ORDER BY t.id {_ROOM})
    ) o
    ORDER BY o.priority, o.id {_ROOM}
"""


def _claim(candidates: str) -> str:
    """The statement of a claim; `candidates` are the next turns of the user `w`."""
    return f"""
WITH RECURSIVE waiting(user_id) AS (
    (SELECT user_id FROM agents_turn WHERE status = 'queued' ORDER BY user_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.user_id FROM agents_turn t WHERE t.status = 'queued' AND t.user_id > w.user_id
            ORDER BY t.user_id LIMIT 1)
    FROM waiting w WHERE w.user_id IS NOT NULL
), ranked AS MATERIALIZED (
    SELECT c.id AS turn_id, c.agent_session_id, c.priority,
           running.n + row_number() OVER (PARTITION BY w.user_id ORDER BY c.priority, c.id) AS user_rank
    FROM waiting w
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM agents_turn o WHERE o.user_id = w.user_id AND o.lease_expires_at IS NOT NULL
    ) running
    CROSS JOIN LATERAL ({candidates}) c
    WHERE w.user_id IS NOT NULL
), picked AS MATERIALIZED (
    SELECT t.id AS turn_id, t.resumes AS resumed, s.purpose, r.priority
    FROM ranked r
    JOIN agents_agentsession s ON s.id = r.agent_session_id
    JOIN agents_turn t ON t.id = r.turn_id
    WHERE CASE WHEN t.status = 'queued' THEN s.active_turn_id IS NULL AND s.controller = 'agent' ELSE false END
    ORDER BY r.priority, r.user_rank, r.turn_id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF s, t SKIP LOCKED
), claimed AS (
    UPDATE agents_turn t
    SET status = 'running', epoch = t.epoch + 1, runner_id = %(runner)s, started_at = coalesce(t.started_at, now()),
        lease_expires_at = clock_timestamp() + %(lease_seconds)s * interval '1 second', resumes = false,
        release_id = coalesce(
            (SELECT a.live_release_id FROM agents_withdrawnrelease d JOIN agents_agent a ON a.id = d.agent_id
             WHERE d.release_id = t.release_id AND p.purpose = ''), t.release_id)
    FROM picked p WHERE t.id = p.turn_id
    RETURNING t.id, t.agent_session_id, t.release_id, t.epoch, t.user_id, t.started_at, t.deadline_at,
              p.priority, p.resumed
), owned AS (
    UPDATE agents_agentsession s
    SET active_turn_id = t.id, active_epoch = t.epoch, next_seq = s.next_seq + 1
    FROM claimed t WHERE s.id = t.agent_session_id
    RETURNING s.id, s.next_seq - 1 AS seq, t.id AS turn_id, t.release_id, t.epoch, t.user_id, t.started_at,
              t.deadline_at, t.priority, t.resumed, s.purpose
), step AS (
    INSERT INTO agents_step (turn_id, number, kind, status, epoch, name, call_id, idempotent, request, details,
                             error_class)
    SELECT s.turn_id, 1, 'model', 'intent', s.epoch, '', '', true, '{{}}', '{{}}', ''
    FROM owned s WHERE s.epoch = 1
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT s.id, s.seq, s.turn_id, s.epoch,
           CASE WHEN s.epoch = 1 OR s.resumed THEN 'turn.started' ELSE 'turn.restarted' END,
           jsonb_build_object('epoch', s.epoch, 'started_at', {MOMENT.format("s.started_at")})
               || CASE WHEN s.epoch = 1 OR s.resumed THEN jsonb_build_object('resumed', s.resumed) ELSE '{{}}' END
    FROM owned s
)
SELECT s.turn_id, s.id, s.release_id, s.epoch, s.user_id, extract(epoch FROM s.deadline_at - now())::float8, s.resumed,
       s.priority, s.purpose,
       pg_notify('{EVENTS_CHANNEL}', s.id || ' ' || s.seq)
FROM owned s
"""


CLAIM = _claim(_BY_PRIORITY)
CLAIM_BY_AGE = _claim(_BY_AGE)

# --- the fenced writes of a runner ------------------------------------------------------------------------------------
# Rows of events, outcomes and intents come as JSON: a list for each of their columns costs the runner twice as much.
_EVENTS = """
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT s.id, s.next_seq - %(count)s + e.n - 1, %(turn)s, %(epoch)s, e.event ->> 'type', e.event -> 'data'
    FROM s, jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY AS e(event, n)
"""
_FENCE = """
    UPDATE agents_agentsession SET next_seq = next_seq + %(count)s
    WHERE id = %(session)s AND active_turn_id = %(turn)s AND active_epoch = %(epoch)s
    RETURNING id, next_seq
"""
_SETTLE = """
    UPDATE agents_step p
    SET status = r.step ->> 'status', result = r.step -> 'result', error_class = r.step ->> 'error_class',
        name = coalesce(left(r.step ->> 'name', 200), p.name), details = p.details || (r.step -> 'details'),
        finished_at = now(), input_tokens = (r.step #>> '{usage,input_tokens}')::int,
        output_tokens = (r.step #>> '{usage,output_tokens}')::int,
        cost_usd = (r.step #>> '{usage,cost_usd}')::numeric
    FROM s, jsonb_array_elements(%(outcomes)s::jsonb) AS r(step)
    WHERE p.turn_id = %(turn)s AND p.number = (r.step ->> 'number')::int AND p.status = 'intent'
"""
_INTENTS = """
    INSERT INTO agents_step (turn_id, number, kind, status, epoch, name, call_id, idempotent, request, details,
                             error_class)
    SELECT %(turn)s, (i.step ->> 'number')::int, i.step ->> 'kind', 'intent', %(epoch)s, left(i.step ->> 'name', 200),
           left(i.step ->> 'call_id', 200), (i.step ->> 'idempotent')::bool, i.step -> 'request',
           i.step -> 'details', ''
    FROM s, jsonb_array_elements(%(intents)s::jsonb) AS i(step)
"""
_NOTIFY = f"""SELECT s.next_seq - 1, pg_notify('{EVENTS_CHANNEL}', s.id || ' ' || (s.next_seq - 1)) FROM s"""

APPEND = f"WITH s AS ({_FENCE}), e AS ({_EVENTS}) {_NOTIFY}"

# One event for each of many turns, in one commit: `%(writes)s` lists {session, turn, epoch, type, data}. The fence of
# each stands on its own row. A session that another transaction has locked is skipped, so that no turn waits for the
# session of another and no two runners for each other; it is absent from the answer, like one that is lost.
APPEND_EACH = f"""
WITH w AS MATERIALIZED (
    SELECT (w.write ->> 'session')::uuid AS session, (w.write ->> 'turn')::uuid AS turn,
           (w.write ->> 'epoch')::int AS epoch, w.write ->> 'type' AS type, w.write -> 'data' AS data
    FROM jsonb_array_elements(%(writes)s::jsonb) AS w(write)
), owned AS MATERIALIZED (
    SELECT s.id, w.turn, w.epoch, w.type, w.data FROM w JOIN agents_agentsession s ON s.id = w.session
    WHERE s.active_turn_id = w.turn AND s.active_epoch = w.epoch
    FOR NO KEY UPDATE OF s SKIP LOCKED
), s AS (
    UPDATE agents_agentsession u SET next_seq = u.next_seq + 1 FROM owned o WHERE u.id = o.id
    RETURNING u.id, u.next_seq - 1 AS seq, o.turn, o.epoch, o.type, o.data
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT s.id, s.seq, s.turn, s.epoch, s.type, s.data FROM s
)
SELECT s.turn, s.epoch, pg_notify('{EVENTS_CHANNEL}', s.id || ' ' || s.seq) FROM s
"""

# Outcomes of steps, intents of the next ones and their events, in one commit: the journal never shows one without the
# other. A committed result is progress, so the count of attempts without progress starts again. (An attempt of a model
# that failed has none: a turn whose next attempt ends its runner each time would go on for ever.)
ADVANCE = f"""
WITH s AS ({_FENCE}), outcomes AS ({_SETTLE}), intents AS ({_INTENTS}), progress AS (
    UPDATE agents_turn t SET attempts_without_progress = 0
    FROM s WHERE t.id = %(turn)s AND t.attempts_without_progress > 0 AND %(progress)s
), e AS ({_EVENTS})
{_NOTIFY}
"""

# The same where calls of tools wait for a person: what is stored of each commits with its intent. The events of the
# approvals come last, with the ends that the database's clock says.
ADVANCE_WITH_APPROVALS = f"""
WITH s AS ({_FENCE}), outcomes AS ({_SETTLE}), intents AS ({_INTENTS}), progress AS (
    UPDATE agents_turn t SET attempts_without_progress = 0
    FROM s WHERE t.id = %(turn)s AND t.attempts_without_progress > 0 AND %(progress)s
), a AS (
    INSERT INTO agents_approval (id, turn_id, agent_session_id, agent_id, step, call_id, tool, arguments,
                                 arguments_hash, reasons, decider, state, requested_at, expires_at, note)
    SELECT (c.call ->> 'id')::uuid, %(turn)s, s.id,
           (SELECT o.agent_id FROM agents_agentsession o WHERE o.id = %(session)s), (c.call ->> 'step')::int,
           left(c.call ->> 'call_id', 200), c.call ->> 'tool', c.call ->> 'arguments',
           sha256(convert_to(c.call ->> 'arguments', 'UTF8')), c.call -> 'reasons', c.call ->> 'decider', 'pending',
           now(), now() + (c.call ->> 'hours')::int * interval '1 hour', ''
    FROM s, jsonb_array_elements(%(approvals)s::jsonb) AS c(call)
    RETURNING id, step, call_id, tool, arguments, reasons, decider, expires_at
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT s.id, s.next_seq - %(count)s + e.n - 1, %(turn)s::uuid, %(epoch)s::int, e.event ->> 'type', e.event -> 'data'
    FROM s, jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY AS e(event, n)
    UNION ALL
    SELECT s.id, s.next_seq - row_number() OVER (ORDER BY a.step DESC), %(turn)s::uuid, %(epoch)s::int,
           'approval.requested', {approval_json("a")}
    FROM s, a
)
{_NOTIFY}
"""

# Tools whose intent an earlier claim wrote are about to run under this one. Whoever finds its lease lost then knows it.
REOPEN = f"""
WITH s AS ({_FENCE})
UPDATE agents_step p SET epoch = %(epoch)s FROM s
WHERE p.turn_id = %(turn)s AND p.number = ANY(%(numbers)s) AND p.status = 'intent'
RETURNING p.number
"""

# Approved calls are about to run, once: who finds `used_at` cannot know that they did not. Only those run whose stored
# arguments are what was approved.
USE_APPROVALS = f"""
WITH s AS ({_FENCE}), used AS (
    UPDATE agents_approval a SET used_at = now() FROM s
    WHERE a.turn_id = %(turn)s AND a.step = ANY(%(numbers)s) AND a.state = 'approved' AND a.used_at IS NULL
      AND a.arguments_hash = sha256(convert_to(a.arguments, 'UTF8'))
    RETURNING a.step
), opened AS (
    UPDATE agents_step p SET epoch = %(epoch)s FROM used
    WHERE p.turn_id = %(turn)s AND p.number = used.step AND p.status = 'intent'
)
SELECT (SELECT array_agg(u.step) FROM used u) FROM s
"""
APPROVALS = """
SELECT step, state, tool, arguments, used_at IS NOT NULL, expires_at, state = 'pending' AND expires_at <= now(),
       decider, note
FROM agents_approval WHERE turn_id = %(turn)s AND step = ANY(%(numbers)s) ORDER BY step
"""

# What an owner lets pass without a person's approval, in this session or for its user.
PASSES = """
SELECT tool, min(id::text) FROM agents_approvalpass
WHERE agent_id = (SELECT s.agent_id FROM agents_agentsession s WHERE s.id = %(session)s) AND tool = ANY(%(tools)s)
  AND expires_at > now()
  AND (agent_session_id = %(session)s OR user_id = %(user)s)
GROUP BY tool
"""

# A turn releases its runner and waits; outcomes, intents and events commit with it, the last of them the wait's own.
# The fence is taken first: a turn that is to be cancelled by now does not park, and then nothing else may be written.
# So no row: the turn is lost; a row of null: it is to be cancelled. A wait that stops the clock moves the deadline as
# if it would last as long as it may; the code that ends it corrects that by the difference to its real end. (So no wait
# ends before it begins, whatever the caller says.) The open call of a model says which routes it waits for, and how
# often it has: such a wait closes no call of a model.
PARK = f"""
WITH f AS MATERIALIZED (
    SELECT id FROM agents_agentsession
    WHERE id = %(session)s AND active_turn_id = %(turn)s AND active_epoch = %(epoch)s
    FOR NO KEY UPDATE
), t AS (
    UPDATE agents_turn t
    SET status = %(status)s, lease_expires_at = NULL, wait_reason = %(wait_reason)s,
        available_at = greatest(%(resume_at)s, now()),
        deadline_at = t.deadline_at + CASE WHEN %(stops_the_clock)s THEN greatest(%(resume_at)s - now(), interval '0')
                                           ELSE interval '0' END,
        attempts_without_progress = CASE WHEN %(progress)s THEN 0 ELSE t.attempts_without_progress END
    FROM f WHERE t.id = %(turn)s AND t.status = 'running'
    RETURNING t.id
), s AS (
    UPDATE agents_agentsession u SET next_seq = u.next_seq + %(count)s, active_turn_id = NULL
    FROM f, t WHERE u.id = f.id
    RETURNING u.id, u.next_seq
), waiting AS (
    UPDATE agents_step p SET details = p.details || jsonb_build_object(
        'waits', coalesce((p.details ->> 'waits')::int, 0) + 1, 'waits_for', %(waits_for)s::jsonb)
    FROM s WHERE %(waits_for)s::jsonb IS NOT NULL AND p.turn_id = %(turn)s AND p.kind = 'model' AND p.status = 'intent'
), outcomes AS ({_SETTLE}), intents AS ({_INTENTS}), e AS ({_EVENTS})
SELECT s.next_seq - 1,
       CASE WHEN s.id IS NOT NULL THEN pg_notify('{EVENTS_CHANNEL}', s.id || ' ' || (s.next_seq - 1)) END
FROM f LEFT JOIN s ON true
"""

_ANSWER = message_json(
    id="%(message)s::uuid",
    ordinal="s.next_ordinal - 1",
    author="'agent'",
    parts="%(parts)s::jsonb",
    turn="%(turn)s::uuid",
    parent="%(question)s::uuid",
    partial="%(partial)s",
    created_at="now()",
)


# A decision that committed first stands: the row that was waited for is read anew.
_CANCEL_APPROVALS = """, cancelled AS (
    UPDATE agents_approval a SET state = 'cancelled', decided_at = now() FROM s
    WHERE a.turn_id = %(turn)s AND a.state = 'pending'
)"""


# The answer and the terminal state in one commit. A stop that came first wins over a failure ("cancelling" cannot
# become "failed"), so the end's event is named after the state that the row really took. `%(parts)s` null: there is no
# text.
def _finish(
    *, with_approvals: bool = False, columns: str = "", if_cancelled: str = "%(end_data)s::jsonb - 'error'"
) -> str:
    """The statement with more assignments to the turn's `columns`, and the event's data of a turn that was to fail and
    was cancelled. `with_approvals`: calls of it still wait for a person, which ends with it."""
    return f"""
WITH s AS (
    UPDATE agents_agentsession s
    SET next_seq = next_seq + %(count)s + 1 + (%(parts)s::jsonb IS NOT NULL)::int,
        next_ordinal = next_ordinal + (%(parts)s::jsonb IS NOT NULL)::int,
        open_turns = open_turns - 1, active_turn_id = NULL,
        head_message_id = CASE WHEN %(parts)s::jsonb IS NOT NULL AND head_message_id = %(question)s
                               THEN %(message)s ELSE head_message_id END
    WHERE id = %(session)s AND active_turn_id = %(turn)s AND active_epoch = %(epoch)s
    RETURNING id, next_seq, next_seq - 1 - (%(parts)s::jsonb IS NOT NULL)::int AS after_events, next_ordinal, open_turns
), outcomes AS ({_SETTLE}), t AS (
    UPDATE agents_turn t
    SET status = CASE WHEN t.status = 'cancelling' AND %(status)s = 'failed' THEN 'cancelled' ELSE %(status)s END,
        finished_at = now(), lease_expires_at = NULL,
        error_class = CASE WHEN t.status = 'cancelling' AND %(status)s = 'failed' THEN '' ELSE %(error_class)s END,
        error_detail = CASE WHEN t.status = 'cancelling' AND %(status)s = 'failed' THEN '' ELSE %(error_detail)s END,
        error_id = CASE WHEN t.status = 'cancelling' AND %(status)s = 'failed' THEN NULL ELSE %(error_id)s::uuid END,
        input_tokens = coalesce(t.input_tokens, 0) + %(input_tokens)s::int,
        output_tokens = coalesce(t.output_tokens, 0) + %(output_tokens)s::int,
        cost_usd = coalesce(t.cost_usd, 0) + %(cost_usd)s::numeric{columns}
    FROM s WHERE t.id = %(turn)s
    RETURNING t.id, t.status, t.finished_at
){_CANCEL_APPROVALS if with_approvals else ""}, m AS (
    INSERT INTO agents_message (id, agent_session_id, ordinal, author, parts, provider_extras, turn_id, parent_id,
                                partial, supplied_by_client, created_at)
    SELECT %(message)s, s.id, s.next_ordinal - 1, 'agent', %(parts)s, %(provider_extras)s::jsonb, %(turn)s,
           %(question)s, %(partial)s, false, now()
    FROM s WHERE %(parts)s::jsonb IS NOT NULL
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT s.id, s.after_events - %(count)s + e.n - 1, %(turn)s::uuid, %(epoch)s, e.event ->> 'type', e.event -> 'data'
    FROM s, jsonb_array_elements(%(events)s::jsonb) WITH ORDINALITY AS e(event, n)
    UNION ALL
    SELECT s.id, s.after_events, %(turn)s::uuid, %(epoch)s, 'message.completed',
           jsonb_build_object('message', {_ANSWER})
    FROM s WHERE %(parts)s::jsonb IS NOT NULL
    UNION ALL
    SELECT s.id, s.next_seq - 1, %(turn)s::uuid, %(epoch)s, 'turn.' || t.status,
           jsonb_build_object('finished_at', {MOMENT.format("t.finished_at")})
               || CASE WHEN t.status = %(status)s THEN %(end_data)s::jsonb ELSE {if_cancelled} END
    FROM s, t
)
SELECT t.status, s.open_turns, pg_notify('{EVENTS_CHANNEL}', s.id || ' ' || (s.next_seq - 1)) FROM s, t
"""


# For the few turns that end with a fallback, or whose answer may become one.
_MARKED: Mapping[str, Any] = {
    "columns": """,
        fallback = CASE WHEN t.status = 'cancelling' AND %(status)s = 'failed' THEN NULL ELSE %(fallback)s END,
        error_retry_at = CASE WHEN t.status = 'cancelling' AND %(status)s = 'failed' THEN NULL
                              ELSE %(error_retry_at)s::timestamptz END,
        prompt_hash = %(prompt_hash)s::bytea""",
    "if_cancelled": """(%(end_data)s::jsonb - 'error') || '{"fallback": null}'""",
}
FINISH = _finish()
FINISH_MARKED = _finish(**_MARKED)
# By whether the turn is marked so, and whether calls of it may still wait for a person.
FINISHES = {
    (False, False): FINISH,
    (True, False): FINISH_MARKED,
    (False, True): _finish(with_approvals=True),
    (True, True): _finish(with_approvals=True, **_MARKED),
}
# A person's newest complete answer to the same request of the same release, unless the person did not like it.
CACHED_ANSWER = f"""
SELECT m.parts::text, t.finished_at, t.id
FROM agents_turn t JOIN agents_message m ON m.turn_id = t.id AND m.author = 'agent'
WHERE t.user_id = %(user)s AND t.prompt_hash = %(prompt_hash)s AND t.release_id = %(release)s
  AND t.finished_at > now() - %(hours)s * interval '1 hour' AND {IN_PRODUCTION_SQL.format(row="t")}
  AND NOT EXISTS (SELECT FROM agents_feedback f WHERE f.message_id = m.id AND f.value < 0)
ORDER BY t.id DESC LIMIT 1
"""

# --- leases -----------------------------------------------------------------------------------------------------------
RENEW = """
UPDATE agents_turn SET lease_expires_at = clock_timestamp() + %(lease_seconds)s * interval '1 second'
WHERE id = ANY(%(turns)s) AND runner_id = %(runner)s AND status IN ('running', 'cancelling')
RETURNING id, epoch
"""
# Turns that are to be cancelled, and those that ended so while their runner worked: a person has taken over then.
CANCELLING = "SELECT id FROM agents_turn WHERE id = ANY(%(turns)s) AND status IN ('cancelling', 'cancelled')"

# --- context ----------------------------------------------------------------------------------------------------------
# No more of a history is read: the largest windows have a million tokens, of three to five bytes.
HISTORY_BYTES = 4 * 1024 * 1024

# The way back from a turn's message to the root, bounded: its cost does not grow with the conversation. A message that
# was queued behind a running turn hangs on that turn's question, so each question brings its answer along. Everything
# is carried through the recursion: looking it up again afterwards doubled the cost of a long conversation. `bytes`
# bounds what precedes the question: a client's messages may have megabytes each.
HISTORY = """
WITH RECURSIVE chain(id, author, parts, provider_extras, parent_id, turn_id, ordinal, depth, size) AS (
    SELECT m.id, m.author, m.parts, m.provider_extras, m.parent_id, m.turn_id, m.ordinal, 0, 0 FROM agents_message m
    WHERE m.turn_id = %(turn)s AND m.author = 'user'
    UNION ALL
    SELECT m.id, m.author, m.parts, m.provider_extras, m.parent_id, m.turn_id, m.ordinal, c.depth + 2,
           c.size + m.size_bytes
    FROM chain c JOIN agents_message m ON m.id = c.parent_id
    WHERE c.depth < 2 * %(messages)s AND c.size < %(bytes)s
), aside AS (
    SELECT c.turn_id, c.depth - 1 AS depth FROM chain c
    WHERE c.author = 'user' AND c.depth > 0
      AND NOT EXISTS (SELECT FROM chain x WHERE x.turn_id = c.turn_id AND x.author = 'agent')
)
SELECT h.id, h.author, h.parts::text,
       -- For the question only, and mostly null: the options of the client, with the message of its instructions.
       CASE WHEN h.depth = 0 THEN (
           SELECT jsonb_build_object('options', t.client_options, 'system', (
               SELECT m.parts FROM agents_message m WHERE m.id = (t.client_options ->> 'system')::uuid))::text
           FROM agents_turn t WHERE t.id = %(turn)s AND t.client_options IS NOT NULL) END,
       h.provider_extras::text, h.ordinal, h.parent_id IS NOT NULL
FROM (
    SELECT id, author, parts, provider_extras, ordinal, parent_id, depth FROM chain
    UNION ALL
    SELECT a.id, a.author, a.parts, a.provider_extras, a.ordinal, a.parent_id, q.depth
    FROM aside q JOIN agents_message a ON a.turn_id = q.turn_id AND a.author = 'agent'
) h
ORDER BY h.depth DESC
"""

SUMMARY = """
SELECT id, text, through_id, through_ordinal FROM agents_historysummary
WHERE agent_session_id = %(session)s AND through_id = ANY(%(messages)s::uuid[]) ORDER BY through_ordinal DESC LIMIT 1
"""
# Answers that were not made in a plain turn of their session: of a client, or copied from another session.
ANSWER_ORIGINS = """
SELECT m.id, m.supplied_by_client OR t.client_options IS NOT NULL
FROM agents_message m LEFT JOIN agents_turn t ON t.id = m.turn_id
WHERE m.id = ANY(%(messages)s::uuid[]) AND (m.turn_id IS NULL OR t.client_options IS NOT NULL)
"""
RELEASE = "SELECT configuration::text, agent_id FROM agents_release WHERE id = %(release)s"
STEPS = """
SELECT number, kind, status, name, call_id, idempotent, request::text, result::text, input_tokens, output_tokens,
       cost_usd, coalesce((details ->> 'estimated_output_tokens')::int, 0), error_class,
       coalesce((details ->> 'waits')::int, 0),
       status = 'intent' AND details #>> '{right,decision}' = 'ask' AND EXISTS (
           SELECT FROM agents_approval a WHERE a.turn_id = %(turn)s AND a.step = number AND a.used_at IS NULL),
       (details -> 'right')::text,
       (SELECT t.tool_stalls FROM agents_turn t WHERE t.id = %(turn)s)
FROM agents_step WHERE turn_id = %(turn)s ORDER BY number
"""

# --- the log ----------------------------------------------------------------------------------------------------------
_LOGGED = f"e.seq, e.turn_id::text, e.type, e.data::text, {MOMENT.format('e.at')}, e.replaces_from"
LOG = f"""
SELECT {_LOGGED} FROM agents_event e
WHERE e.agent_session_id = %(session)s AND e.seq > %(after)s ORDER BY e.seq LIMIT %(limit)s
"""
# The same for a reader that is far behind: no more bytes than it has room for, and one event at least.
LOG_PAGE = f"""
SELECT {_LOGGED} FROM agents_event e
WHERE e.agent_session_id = %(session)s AND e.seq > %(after)s
  AND e.seq <= agents_log_page_end(%(session)s, %(after)s, %(limit)s, %(bytes)s) ORDER BY e.seq
"""
# One read for all the readers of a process: each pair of session and seq gets its next events.
LOGS = f"""
SELECT w.n, e.* FROM unnest(%(sessions)s::uuid[], %(afters)s::bigint[]) WITH ORDINALITY AS w(session, after, n)
CROSS JOIN LATERAL (
    SELECT {_LOGGED} FROM agents_event e
    WHERE e.agent_session_id = w.session AND e.seq > w.after ORDER BY e.seq LIMIT %(limit)s
) e
ORDER BY w.n, e.seq
"""
LOG_PAGES = f"""
SELECT w.n, e.* FROM unnest(%(sessions)s::uuid[], %(afters)s::bigint[]) WITH ORDINALITY AS w(session, after, n)
CROSS JOIN LATERAL (
    SELECT {_LOGGED} FROM agents_event e
    WHERE e.agent_session_id = w.session AND e.seq > w.after
      AND e.seq <= agents_log_page_end(w.session, w.after, %(limit)s, %(bytes)s) ORDER BY e.seq
) e
ORDER BY w.n, e.seq
"""
