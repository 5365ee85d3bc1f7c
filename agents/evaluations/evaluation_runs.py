"""Runs of releases against test sets: begin, stop, repeat. `agents.evaluations.evaluation_work` does the rest."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.domain.evaluations import Lane, RunState
from agents.models import EvaluationResult, EvaluationRun, Release, TestSet
from agents.permissions.role_permissions import CHANGE_TEST_SET
from foundation.errors import Conflict, InvalidInput, NotFound

MAX_REASON = 400


@transaction.atomic
def begin_run(
    actor: Actor,
    *,
    test_set_id: UUID,
    candidate: Release,
    baseline: Release,
    paid_by: int,
    deployment_id: UUID | None = None,
    max_cost_usd: Decimal | None = None,
) -> EvaluationRun:
    """Begin a run of two releases against a test set, which draws on the budgets of the user `paid_by` and stops at
    `max_cost_usd`; None: at what the set says. Raises `Forbidden`, `NotFound`, and `InvalidInput` for releases of
    another agent or a set without entries."""
    require_permission(actor, CHANGE_TEST_SET)
    test_set = TestSet.objects.select_for_update(no_key=True).filter(pk=test_set_id).first()
    if test_set is None:
        raise NotFound("There is no such test set here.")
    if {candidate.agent_id, baseline.agent_id} != {test_set.agent_id}:
        raise InvalidInput("Both releases are to be of the agent of the test set.", pointer="/release")
    cases = list(test_set.cases.order_by("position").values_list("pk", flat=True))
    if not cases:
        raise InvalidInput("This test set has no entry.", pointer="/test_set")
    run = EvaluationRun.objects.create(
        agent_id=test_set.agent_id,
        test_set=test_set,
        baseline=baseline,
        candidate=candidate,
        deployment_id=deployment_id,
        max_cost_usd=test_set.max_cost_usd if max_cost_usd is None else max_cost_usd,
        paid_by_id=paid_by,
        created_by_id=actor.user_id,
    )
    EvaluationResult.objects.bulk_create(
        [EvaluationResult(run=run, case_id=case, lane=lane) for case in cases for lane in Lane]
    )
    detail = {"candidate": candidate.number, "baseline": baseline.number, "entries": len(cases)}
    record_audit(actor, "evaluation.begun", target=test_set, detail=detail | {"run": str(run.pk)})
    return run


@transaction.atomic
def stop_run(actor: Actor, *, run_id: UUID, reason: str = "Stopped by hand.") -> EvaluationRun:
    """Stop a run; what was done stays, and turns that are open are cancelled. Raises `Forbidden`, `NotFound`, and
    `Conflict` for one that has ended."""
    require_permission(actor, CHANGE_TEST_SET)
    run = EvaluationRun.objects.select_for_update(no_key=True, of=("self",)).filter(pk=run_id).first()
    if run is None:
        raise NotFound("There is no such run here.")
    if not EvaluationRun.objects.filter(pk=run_id, state=RunState.RUNNING).update(
        state=RunState.STOPPED, reason=reason[:MAX_REASON], ended_at=Now()
    ):
        raise Conflict("This run has ended.")
    record_audit(actor, "evaluation.stopped", target=run.test_set, detail={"run": str(run.pk)})
    run.refresh_from_db()
    return run


def repeat_run(actor: Actor, *, run_id: UUID) -> EvaluationRun:
    """Begin a run of the same releases against the same test set as it is now, which `actor` pays. Raises
    `Forbidden`, `NotFound`, `InvalidInput` for a set without entries, and `Conflict` for a run of a deployment, which
    its own page repeats."""
    run = EvaluationRun.objects.select_related("candidate", "baseline").filter(pk=run_id).first()
    if run is None:
        raise NotFound("There is no such run here.")
    if run.deployment_id is not None:
        raise Conflict("This run belongs to a deployment: run it again there.")
    return begin_run(
        actor,
        test_set_id=run.test_set_id,
        candidate=run.candidate,
        baseline=run.baseline,
        paid_by=actor.user_id or run.paid_by_id,
        max_cost_usd=run.max_cost_usd,
    )
