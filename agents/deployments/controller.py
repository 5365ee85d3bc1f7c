"""What happens to deployments by themselves: each 15 seconds they are judged, withdrawn, or go on.

Every runner looks, and the one that has the lock works. A move is one transaction with a condition on the version that
was judged, so a process that dies between the verdict and the move, or acts late, moves nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction

from accounts.actor import Actor
from agents.deployments.deployment_changes import MAX_REASON, go_back, promote_deployment
from agents.deployments.measurements import measure
from agents.deployments.promotion_checks import find_problems, newest_evaluation
from agents.domain import deployment_verdict
from agents.domain.deployment_verdict import ArmFigures, ArmMeasurements, CandidateVerdict, DeploymentDecision
from agents.domain.deployments import DeploymentState
from agents.domain.evaluations import RunState
from agents.journal.queries import fetch
from agents.models import Deployment, DeploymentVerdict
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import Conflict, PreconditionFailed

log = structlog.get_logger(__name__)

S = DeploymentState
INTERVAL_SECONDS: Final = 15
ACTOR: Final = Actor.system("deployments")
_BY_ITSELF: Final = (S.VALIDATING, S.CANARY, S.LIVE, S.WATCHING)
# A verdict that is younger than the interval is not repeated. One that is live goes on at once.
_DUE: Final = """
SELECT id, clock_timestamp() FROM agents_deployment
WHERE state = ANY(%(states)s)
  AND (state = %(live)s OR NOT verdict ? 'at'
       OR (verdict ->> 'at')::timestamptz <= clock_timestamp() - %(seconds)s * interval '1 second')
ORDER BY id
"""
_DUE_PARAMS: Final = {
    "states": [state.value for state in _BY_ITSELF],
    "live": S.LIVE.value,
    "seconds": INTERVAL_SECONDS,
}

Judge = Callable[[ArmMeasurements], CandidateVerdict]


def control_deployments(*, judge: Judge = deployment_verdict.judge) -> int:
    """Judge what is due and act on it; returns how many deployments were moved. Nothing while another process does."""
    with try_advisory_lock(AdvisoryLock.JUDGE_DEPLOYMENTS) as acquired:
        return sum(_try_one(key, at, judge) for key, at in fetch(_DUE, _DUE_PARAMS)) if acquired else 0


def _try_one(deployment_id: UUID, at: datetime, judge: Judge) -> bool:
    rows = Deployment.objects.select_related("agent", "candidate", "baseline")
    deployment = rows.filter(pk=deployment_id, state__in=_BY_ITSELF).first()
    if deployment is None:
        return False
    try:
        return _control(deployment, at, judge)
    except DATABASE_FAULTS:
        raise
    except (PreconditionFailed, Conflict) as error:
        # Somebody was faster.
        log.info("deployment.not_moved", deployment=str(deployment_id), error=error.detail)
    except Exception:
        # One that cannot be judged must not block the others; it stays where it is, and says so.
        log.exception("deployment.not_judged", deployment=str(deployment_id))
        _store(
            deployment,
            CandidateVerdict(DeploymentDecision.HOLD, "It could not be judged: the log of the runners says why."),
            None,
        )
    return False


def _control(deployment: Deployment, at: datetime, judge: Judge) -> bool:
    state = DeploymentState(deployment.state)
    if state is S.LIVE:
        promote_deployment(ACTOR, deployment_id=deployment.pk, expected_version=deployment.version)
        return True
    if state is S.VALIDATING:
        verdict, measurements = _judge_validation(deployment), None
    else:
        measurements = measure(deployment, at=at)
        verdict = judge(measurements)
    if not _store(deployment, verdict, measurements):
        return False
    if verdict.decision is DeploymentDecision.WITHDRAW:
        go_back(
            ACTOR,
            deployment_id=deployment.pk,
            expected_version=deployment.version,
            reason=verdict.sentence[:MAX_REASON],
            by_itself=True,
        )
        log.warning("deployment.withdrawn", **_names(deployment), metric=verdict.metric, reason=verdict.sentence)
        return True
    if verdict.decision is DeploymentDecision.PROMOTE and deployment.held_at is None:
        moved = promote_deployment(ACTOR, deployment_id=deployment.pk, expected_version=deployment.version)
        log.info("deployment.promoted", **_names(deployment), state=moved.state, step=moved.step)
        return True
    return False


def _names(deployment: Deployment) -> dict[str, Any]:
    return {
        "deployment": str(deployment.pk),
        "agent": deployment.agent.slug,
        "release": deployment.candidate.number,
    }


def _judge_validation(deployment: Deployment) -> CandidateVerdict:
    """Whether the candidate may meet users, by its checks and its test set."""
    run = newest_evaluation(deployment)
    if run is not None and run.state == RunState.RUNNING:
        return CandidateVerdict(DeploymentDecision.CONTINUE, "Its test set is running.")
    problems = find_problems(deployment)
    if problems:
        what = "; ".join(f"{problem.name}: {problem.message}" for problem in problems)
        return CandidateVerdict(DeploymentDecision.HOLD, f"Not ready. {what}")
    return CandidateVerdict(DeploymentDecision.PROMOTE, "Its checks have passed.")


def _store(deployment: Deployment, verdict: CandidateVerdict, measurements: ArmMeasurements | None) -> bool:
    """Keep the verdict, as a point of the charts, too, where both arms were measured. Returns False when somebody has
    moved the deployment since it was read."""
    metric = verdict.metric or ""
    stored: dict[str, Any] = {
        "decision": verdict.decision,
        "sentence": verdict.sentence,
        "metric": metric,
        "evidence": {name.value: round(value, 4) for name, value in verdict.evidence.items()},
    }
    with transaction.atomic():
        [(at,)] = fetch("SELECT clock_timestamp()", {})
        same = Deployment.objects.filter(pk=deployment.pk, version=deployment.version, state=deployment.state)
        if not same.update(verdict={**stored, "at": at.isoformat()}):
            return False
        if measurements is not None:
            DeploymentVerdict.objects.create(
                deployment=deployment,
                at=at,
                state=deployment.state,
                step=deployment.step,
                decision=verdict.decision,
                metric=metric,
                sentence=verdict.sentence,
                figures={"candidate": _dump(measurements.candidate), "stable": _dump(measurements.stable)},
            )
    return True


def _dump(arm: ArmFigures) -> dict[str, Any]:
    return {
        "users": arm.users,
        "turns": arm.turns,
        "bad_users": {metric.value: number for metric, number in arm.bad_users.items()},
        "bad_turns": {metric.value: number for metric, number in arm.bad_turns.items()},
    }


def delete_old_verdicts() -> int:
    """Delete the verdicts of deployments that ended more than 90 days ago; returns how many. A job."""
    [(deleted,)] = fetch(
        """
        WITH gone AS (
            DELETE FROM agents_deploymentverdict v USING agents_deployment d
            WHERE d.id = v.deployment_id AND d.ended_at < now() - interval '90 days' RETURNING 1
        ) SELECT count(*) FROM gone
        """,
        {},
    )
    return int(deleted)
