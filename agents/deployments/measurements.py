"""What the users of both arms of a deployment met, as the verdict wants it; and what slow and dear mean there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from agents.domain.deployment_verdict import ArmFigures, Measurements, Metric, MinuteFigures
from agents.domain.deployments import DeploymentPlan, DeploymentState, candidate_percent
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
# The newest sessions of a step: more tell no more, and reading all of a busy week would take seconds each time.
_MOST_SESSIONS: Final = 20_000
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

_METRICS: Final = tuple(Metric)
_FACTS: Final[Mapping[Metric, str]] = {
    Metric.FAILED: "t.status IN ('failed', 'expired') AND t.error_class <> ALL(%(silent)s)",
    Metric.SLOW: "coalesce(date_part('epoch', w.first_word_at - t.queued_at) > %(slow)s::float8, false)",
    Metric.DEAR: "coalesce(t.cost_usd > %(dear)s::float8::numeric, false)",
    Metric.HANDED_OFF: """EXISTS (
        SELECT FROM agents_handoff h
        WHERE h.agent_session_id = t.agent_session_id AND h.requested_by = ANY(%(people)s)
          AND h.requested_at >= t.queued_at AND h.requested_at < coalesce(t.next_queued_at, 'infinity'))""",
    Metric.RATED_DOWN: "EXISTS (SELECT FROM agents_feedback f WHERE f.turn_id = t.id AND f.value < 0)",
}


def _each(text: str) -> str:
    return ", ".join(text.format(metric=metric.value) for metric in _METRICS)


# One row: the figures of each arm, and those of each minute. Only sessions of people that were opened on one of both
# releases since the step began; a user who has some on both is nobody's.
_MEASURE: Final = f"""
WITH sessions AS MATERIALIZED (
    SELECT s.id, s.user_id, s.release_id = %(candidate)s AS is_candidate
    FROM agents_agentsession s
    WHERE s.agent_id = %(agent)s AND s.id >= %(first_id)s AND s.created_at >= %(since)s AND s.purpose = ''
      AND s.release_id IN (%(candidate)s, %(baseline)s)
    ORDER BY s.id DESC LIMIT %(sessions)s
), turns AS MATERIALIZED (
    SELECT s.user_id, s.is_candidate, t.id, t.agent_session_id, t.queued_at, t.finished_at, t.status, t.error_class,
           t.cost_usd, t.epoch, lead(t.queued_at) OVER (PARTITION BY t.agent_session_id ORDER BY t.ordinal)
               AS next_queued_at
    FROM sessions s JOIN agents_turn t ON t.agent_session_id = s.id
    WHERE t.release_id = CASE WHEN s.is_candidate THEN %(candidate)s ELSE %(baseline)s END
), facts AS MATERIALIZED (
    SELECT t.user_id, t.is_candidate, t.finished_at, {", ".join(f"{fact} AS {m.value}" for m, fact in _FACTS.items())},
           row_number() OVER (PARTITION BY t.user_id ORDER BY t.finished_at, t.id) = 1 AS is_first
    FROM turns t CROSS JOIN LATERAL ({_FIRST_WORD}) w
    WHERE t.finished_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM sessions a WHERE a.user_id = t.user_id AND a.is_candidate <> t.is_candidate)
), users AS (
    SELECT user_id, is_candidate, count(*) AS turns, {_each("count(*) FILTER (WHERE {metric}) AS {metric}")}
    FROM facts GROUP BY user_id, is_candidate
), arms AS (
    SELECT is_candidate, jsonb_build_object('users', count(*), 'turns', sum(turns),
               'bad_users', jsonb_build_object({_each("'{metric}', count(*) FILTER (WHERE {metric} > 0)")}),
               'bad_turns', jsonb_build_object({_each("'{metric}', sum({metric})")})) AS figures
    FROM users GROUP BY is_candidate
), minutes AS (
    SELECT date_bin('1 minute', finished_at, %(since)s) AS at, jsonb_build_object(
               'stable_turns', count(*) FILTER (WHERE NOT is_candidate),
               'stable_bad', jsonb_build_object(
                   {_each("'{metric}', count(*) FILTER (WHERE {metric} AND NOT is_candidate)")}),
               'candidate_first', count(*) FILTER (WHERE is_candidate AND is_first),
               'candidate_first_bad', jsonb_build_object(
                   {_each("'{metric}', count(*) FILTER (WHERE {metric} AND is_candidate AND is_first)")})) AS figures
    FROM facts GROUP BY 1
)
SELECT (SELECT figures FROM arms WHERE is_candidate)::text, (SELECT figures FROM arms WHERE NOT is_candidate)::text,
       (SELECT coalesce(jsonb_agg(figures ORDER BY at), '[]') FROM minutes)::text
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


def measure(deployment: Deployment, *, at: datetime) -> Measurements:
    """The figures of the present step of a deployment, which divides the users, up to now; `at` is the database's time.
    One statement."""
    plan = DeploymentPlan.parse(deployment.plan)
    state = DeploymentState(deployment.state)
    params = {
        "agent": deployment.agent_id,
        "candidate": deployment.candidate_id,
        "baseline": deployment.baseline_id,
        "since": deployment.step_started_at,
        "first_id": lowest_id(deployment.step_started_at),
        "sessions": _MOST_SESSIONS,
        "silent": list(SILENT_CLASSES),
        "people": _CALLS_FOR_PEOPLE,
        "slow": deployment.reference.get("slow_seconds"),
        "dear": deployment.reference.get("dear_usd"),
    }
    [(candidate, stable, minutes)] = fetch(_MEASURE, params)
    ends_after = plan.watch_seconds if state is not DeploymentState.CANARY else plan.steps[deployment.step].seconds
    return Measurements(
        share=candidate_percent(state, plan, deployment.step) / 100,
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
        minimum_turns=plan.minimum_turns,
        minimum_users=plan.minimum_users,
    )  # fmt: skip


def _arm(stored: str | None) -> ArmFigures:
    if stored is None:
        return ArmFigures()
    row = orjson.loads(stored)
    return ArmFigures(row["users"], row["turns"], _counts(row["bad_users"]), _counts(row["bad_turns"]))


def _counts(row: Mapping[str, Any]) -> dict[Metric, int]:
    return {metric: int(row[metric.value]) for metric in _METRICS}
