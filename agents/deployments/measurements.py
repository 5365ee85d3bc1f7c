"""What the users of both arms of a deployment met, as the verdict wants it; and what slow and dear mean there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from agents.domain.deployment_verdict import ArmFigures, ArmMeasurements, DeploymentMetric, MinuteFigures
from agents.domain.deployments import BUCKETS, DeploymentPlan, DeploymentState, candidate_percent
from agents.domain.failures import SILENT_CLASSES
from agents.domain.handoffs import HandoffSource
from agents.journal.queries import fetch
from agents.models import Deployment
from foundation.clock import now
from foundation.ids import lowest_id

# The baseline's turns from which slow and dear are derived: the newest of a week, and not of fewer than those.
_REFERENCE_TURNS: Final = 2_000
_REFERENCE_DAYS: Final = timedelta(days=7)
_LEAST_TURNS: Final = 50
# A turn is slow, or dear, when it is so by a tenth more than the percentile: where all turns cost the same, a cent more
# for everybody is no reason to go back.
_MARGIN: Final = 1.1
# What one look reads at most: the newest sessions of a step, and of them those of a sample of the users, as large as
# possible for about so many sessions on either side, a user's first ones and their first turns. More tells little more,
# and all of a busy step would take seconds, each time.
_MOST_SESSIONS: Final = 20_000
_ARM_SESSIONS: Final = 1_000
_USER_SESSIONS: Final = 20
_SESSION_TURNS: Final = 50
# An operator who looks in is not the candidate's doing.
_CALLS_FOR_PEOPLE: Final = [source.value for source in HandoffSource if source is not HandoffSource.OPERATOR]

# When the user saw the first word, as in the rollups: a call that was repeated, or has waited, does not say when it was
# sent, and its first token came at its end at the latest.
_FIRST_WORD: Final = """
    SELECT min(CASE WHEN p.epoch < t.epoch OR p.details -> 'waits' IS NOT NULL THEN p.finished_at
                    ELSE p.started_at + make_interval(secs => (p.details ->> 'first_token_seconds')::float8
                                                      + coalesce((p.details ->> 'pause_seconds')::float8, 0)) END)
               AS first_word_at
    FROM agents_step p
    WHERE p.turn_id = t.id AND p.kind = 'model' AND p.details ->> 'first_token_seconds' IS NOT NULL
"""

_REFERENCE: Final = f"""
SELECT count(*), percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds), count(seconds),
       percentile_cont(0.9) WITHIN GROUP (ORDER BY cost_usd), count(cost_usd)
FROM (
    SELECT greatest(0, date_part('epoch', w.first_word_at - t.queued_at)) AS seconds, t.cost_usd::float8 AS cost_usd
    FROM (
        SELECT t.* FROM agents_turn t JOIN agents_agentsession s ON s.id = t.agent_session_id
        WHERE t.release_id = %(release)s AND t.id >= %(since)s AND t.finished_at IS NOT NULL AND s.purpose = ''
        ORDER BY t.id DESC LIMIT %(turns)s
    ) t
    CROSS JOIN LATERAL ({_FIRST_WORD}) w
) facts
"""  # noqa: S608 - put together from constants; values are parameters

_METRICS: Final = tuple(DeploymentMetric)
_FACTS: Final[Mapping[DeploymentMetric, str]] = {
    DeploymentMetric.FAILED: "t.status IN ('failed', 'expired') AND t.error_class <> ALL(%(silent)s)",
    # A turn that was over by then had its first word before: its steps need not be read. One that had none until it
    # ended, or has none yet, is slow: once that is so it stays so.
    DeploymentMetric.SLOW: f"""CASE WHEN date_part('epoch', t.seen_at - t.queued_at) >= %(slow)s::float8
        THEN date_part('epoch', coalesce(({_FIRST_WORD}), t.seen_at) - t.queued_at) >= %(slow)s::float8
        ELSE false END""",
    DeploymentMetric.DEAR: "coalesce(t.cost_usd > %(dear)s::float8::numeric, false)",
    DeploymentMetric.HANDED_OFF: """EXISTS (
        SELECT FROM agents_handoff h
        WHERE h.agent_session_id = t.agent_session_id AND h.requested_by = ANY(%(people)s)
          AND h.requested_at >= t.queued_at AND h.requested_at < coalesce(t.next_queued_at, 'infinity'))""",
    DeploymentMetric.RATED_DOWN: "EXISTS (SELECT FROM agents_feedback f WHERE f.turn_id = t.id AND f.value < 0)",
}


def _each(text: str) -> str:
    return ", ".join(text.format(metric=metric.value) for metric in _METRICS)


# `agents.domain.deployments.user_bucket`: the first eight bytes of the digest, which are signed here, as an unsigned
# number (2^64 is 1616 more than a multiple of 10,000).
_DIGEST: Final = """
    ('x' || encode(substr(sha256(uuid_send(%(salt)s) || convert_to(user_id::text, 'UTF8')), 1, 8), 'hex'))
    ::bit(64)::bigint
"""
_BUCKET: Final = f"mod(mod(digest, {BUCKETS}) + CASE WHEN digest < 0 THEN {BUCKETS + 1616} ELSE 0 END, {BUCKETS})"
# One row: the figures of each arm, those of each minute, and by arm, one of how many users is in the sample. What has
# ended counts, and what waits for its first word for longer than is slow: a release whose models do not answer would
# otherwise be one without traffic. Only sessions of people that were opened on one of both releases since the step
# began, and only of users who have them on the one that their hash says: who has copied or moved sessions on the other
# was not divided by it. The sample is by a hash of its own, so it leaves arms as they are, and each smaller one is a
# part of the larger.
_MEASURE: Final = f"""
WITH opened AS MATERIALIZED (
    SELECT s.id, s.user_id, s.release_id = %(candidate)s AS is_candidate
    FROM agents_agentsession s
    WHERE s.agent_id = %(agent)s AND s.id >= %(first_id)s AND s.created_at >= %(since)s AND s.purpose = ''
      AND s.release_id IN (%(candidate)s, %(baseline)s)
    ORDER BY s.id DESC LIMIT %(sessions)s
), people AS MATERIALIZED (
    SELECT user_id, bool_or(is_candidate) AS is_candidate, least(count(*), %(user_sessions)s) AS sessions
    FROM opened GROUP BY user_id HAVING bool_or(is_candidate) = bool_and(is_candidate)
), samples AS MATERIALIZED (
    SELECT is_candidate, (2 ^ greatest(0, ceil(log(2, sum(sessions) / %(arm_sessions)s))))::bigint AS one_of
    FROM people GROUP BY is_candidate
), sample AS MATERIALIZED (
    SELECT user_id, is_candidate, {_DIGEST} AS digest FROM people p JOIN samples USING (is_candidate)
    WHERE hashint8extended(user_id, %(seed)s) & (one_of - 1) = 0
), chosen AS MATERIALIZED (
    SELECT user_id, is_candidate FROM sample WHERE ({_BUCKET} < %(buckets)s) = is_candidate
), sessions AS MATERIALIZED (
    SELECT s.* FROM (
        SELECT o.*, row_number() OVER (PARTITION BY user_id ORDER BY o.id) AS number
        FROM opened o JOIN chosen USING (user_id, is_candidate)
    ) s WHERE s.number <= %(user_sessions)s
), turns AS MATERIALIZED (
    SELECT s.user_id, s.is_candidate, t.*
    FROM sessions s CROSS JOIN LATERAL (
        SELECT t.id, t.agent_session_id, t.release_id, t.queued_at, t.finished_at, t.status, t.error_class, t.cost_usd,
               t.epoch, lead(t.queued_at) OVER (ORDER BY t.ordinal) AS next_queued_at,
               coalesce(t.finished_at, CASE WHEN t.status IN ('queued', 'retry_wait')
                                            THEN t.queued_at + %(slow)s * interval '1 second' END) AS seen_at
        FROM agents_turn t WHERE t.agent_session_id = s.id ORDER BY t.ordinal LIMIT %(session_turns)s
    ) t
    WHERE t.release_id = CASE WHEN s.is_candidate THEN %(candidate)s ELSE %(baseline)s END
), facts AS MATERIALIZED (
    SELECT t.user_id, t.is_candidate, t.seen_at, {", ".join(f"{fact} AS {m.value}" for m, fact in _FACTS.items())},
           row_number() OVER (PARTITION BY t.user_id ORDER BY t.seen_at, t.id) = 1 AS is_first
    FROM turns t WHERE t.seen_at <= now()
), users AS (
    SELECT user_id, is_candidate, count(*) AS turns, {_each("count(*) FILTER (WHERE {metric}) AS {metric}")}
    FROM facts GROUP BY user_id, is_candidate
), arms AS (
    SELECT is_candidate, jsonb_build_object('users', count(*), 'turns', sum(turns),
               'bad_users', jsonb_build_object({_each("'{metric}', count(*) FILTER (WHERE {metric} > 0)")}),
               'bad_turns', jsonb_build_object({_each("'{metric}', sum({metric})")})) AS figures
    FROM users GROUP BY is_candidate
), minutes AS (
    SELECT date_bin('1 minute', seen_at, %(since)s) AS at, jsonb_build_object(
               'stable_turns', count(*) FILTER (WHERE NOT is_candidate),
               'stable_bad', jsonb_build_object(
                   {_each("'{metric}', count(*) FILTER (WHERE {metric} AND NOT is_candidate)")}),
               'candidate_first', count(*) FILTER (WHERE is_candidate AND is_first),
               'candidate_first_bad', jsonb_build_object(
                   {_each("'{metric}', count(*) FILTER (WHERE {metric} AND is_candidate AND is_first)")})) AS figures
    FROM facts GROUP BY 1
)
SELECT (SELECT figures FROM arms WHERE is_candidate)::text, (SELECT figures FROM arms WHERE NOT is_candidate)::text,
       (SELECT coalesce(jsonb_agg(figures ORDER BY at), '[]') FROM minutes)::text,
       coalesce((SELECT one_of FROM samples WHERE is_candidate), 1),
       coalesce((SELECT one_of FROM samples WHERE NOT is_candidate), 1)
"""  # noqa: S608 - put together from constants; values are parameters


def measure_reference(release_id: UUID) -> dict[str, float | None]:
    """What is slow (seconds to the first word) and dear (US dollars) for a deployment that has `release_id` as its
    baseline; None where too few of its turns tell."""
    since = lowest_id(now() - _REFERENCE_DAYS)
    params = {"release": release_id, "since": since, "turns": _REFERENCE_TURNS}
    [(_, seconds, timed, cost, priced)] = fetch(_REFERENCE, params)
    return {
        "slow_seconds": seconds * _MARGIN if timed >= _LEAST_TURNS else None,
        "dear_usd": cost * _MARGIN if priced >= _LEAST_TURNS else None,
    }


def measure(deployment: Deployment, *, at: datetime) -> ArmMeasurements:
    """The figures of the present step of a deployment, which divides the users, up to now; `at` is the database's time.
    One statement. With much traffic they are those of a sample of the users of each arm, and the share and the traffic
    that is needed are those of the sample, too."""
    plan = DeploymentPlan.parse(deployment.plan)
    state = DeploymentState(deployment.state)
    percent = candidate_percent(state, plan, deployment.step)
    [(candidate, stable, minutes, one_of, stable_one_of)] = fetch(_MEASURE, _params(deployment, percent))
    ends_after = plan.watch_seconds if state is not DeploymentState.CANARY else plan.steps[deployment.step].seconds
    weights = percent / one_of, (100 - percent) / stable_one_of
    return ArmMeasurements(
        share=weights[0] / sum(weights),
        phases=plan.phases,
        seconds_left=ends_after - (at - deployment.step_started_at).total_seconds(),
        candidate=_arm(candidate),
        stable=_arm(stable),
        minutes=[
            MinuteFigures(
                row["stable_turns"], _counts(row["stable_bad"]),
                row["candidate_first"], _counts(row["candidate_first_bad"]),
            )
            for row in orjson.loads(minutes)
        ],
        minimum_turns=-(-plan.minimum_turns // one_of),
        minimum_users=-(-plan.minimum_users // one_of),
    )  # fmt: skip


def _params(deployment: Deployment, percent: int) -> dict[str, Any]:
    return {
        "agent": deployment.agent_id,
        "candidate": deployment.candidate_id,
        "baseline": deployment.baseline_id,
        "since": deployment.step_started_at,
        "first_id": lowest_id(deployment.step_started_at),
        "sessions": _MOST_SESSIONS,
        "arm_sessions": _ARM_SESSIONS,
        "user_sessions": _USER_SESSIONS,
        "session_turns": _SESSION_TURNS,
        "salt": deployment.pk,
        "seed": int.from_bytes(deployment.pk.bytes[-8:], signed=True),
        "buckets": percent * BUCKETS // 100,
        "silent": list(SILENT_CLASSES),
        "people": _CALLS_FOR_PEOPLE,
        "slow": deployment.reference.get("slow_seconds"),
        "dear": deployment.reference.get("dear_usd"),
    }


def _arm(stored: str | None) -> ArmFigures:
    if stored is None:
        return ArmFigures()
    row = orjson.loads(stored)
    return ArmFigures(row["users"], row["turns"], _counts(row["bad_users"]), _counts(row["bad_turns"]))


def _counts(row: Mapping[str, Any]) -> dict[DeploymentMetric, int]:
    return {metric: int(row[metric.value]) for metric in _METRICS}
