"""What keeps a candidate from its users: failed readiness checks, and a test set that it has not passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accounts.actor import Actor
from agents.domain.evaluations import RunState
from agents.models import Deployment, EvaluationRun
from agents.releases.publication_gate import MAX_REASON, GateProblem, NotReady, judge_publication, may_override
from foundation.errors import Conflict, Forbidden, InvalidInput


def find_problems(deployment: Deployment) -> Sequence[GateProblem]:
    """What speaks against the candidate, of the readiness checks that concern its agent and of its test set."""
    readiness = judge_publication(deployment.agent, deployment.candidate.configuration)
    return [*readiness.problems, *_find_test_problems(deployment)]


def newest_evaluation(deployment: Deployment) -> EvaluationRun | None:
    """The run of its test set that counts."""
    return deployment.evaluations.order_by("-created_at", "-pk").first()


def require_validated(actor: Actor, deployment: Deployment, *, reason: str = "") -> dict[str, Any]:
    """Raise `NotReady` for a candidate with problems, unless somebody who may override them gives a `reason`;
    `Forbidden` for a reason of somebody who may not, `InvalidInput` for a long one, and `Conflict` while its test set
    still runs. Returns what the audit trail is to keep."""
    run = newest_evaluation(deployment)
    if run is not None and run.state == RunState.RUNNING:
        raise Conflict("Its test set is still running.")
    problems = find_problems(deployment)
    if not problems:
        return {}
    names = [problem.name for problem in problems]
    reason = reason.strip()
    if not reason:
        raise NotReady(f"It is not ready: {', '.join(names)}. An owner can go on with a reason.")
    if not may_override(actor):
        raise Forbidden("Only an owner can go on in spite of failed checks.")
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"A reason has at most {MAX_REASON} characters.", pointer="/reason")
    return {"failed_checks": names, "reason": reason}


def _find_test_problems(deployment: Deployment) -> list[GateProblem]:
    if deployment.test_set_id is None:
        return []
    run = newest_evaluation(deployment)
    name = "test set"
    if run is None:
        return [GateProblem(name, "Its test set has not run.", "Run it.")]
    if run.state != RunState.DONE:
        return [GateProblem(name, f"Its test set has not run to its end: {run.reason}", "Run it again.")]
    if not run.report.get("passed"):
        return [GateProblem(name, run.report.get("sentence", "It has failed."), "Look at what fails in the report.")]
    return []
