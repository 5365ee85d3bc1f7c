"""Deployments with their verdicts, a test set with entries, and a finished run of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.models import User
from agents.deployments.deployment_changes import begin_deployment, go_back, promote_deployment
from agents.domain.deployment_verdict import ArmFigures, ArmMeasurements, DeploymentMetric, judge
from agents.domain.deployments import DeploymentPlan, DeploymentState, PlanStep
from agents.domain.evaluations import Lane, ResultStatus, RunState
from agents.evaluations.evaluation_runs import begin_run
from agents.models import (
    Agent,
    Deployment,
    DeploymentVerdict,
    EvaluationResult,
    EvaluationRun,
    Release,
    TestCase,
    TestSet,
    WithdrawnRelease,
)
from agents.releases import create_agent, publish
from foundation.clock import now

ACTOR = Actor.system("seed")
PLAN = DeploymentPlan(steps=(PlanStep(5, 600), PlanStep(25, 1800)), watch_seconds=600)
POINTS = 40


def main() -> dict[str, Any]:
    """`{shipping, canary, withdrawn, test_set, test_case, evaluation}`: an agent, one of its deployments that is under
    way, one that was withdrawn; a set, its first entry, and a run of it."""
    details = {"slug": "shipping", "name": "Shipping", "description": "Says where parcels are."}
    agent = create_agent(ACTOR, details=details, model_chain=["offline:"])
    first = publish(ACTOR, agent_id=agent.pk, expected_version=1, note="As it was.")
    bad = _release(first, 2, "Shorter answers.")
    good = _release(first, 3, "Friendlier.")
    withdrawn = _deploy(agent, bad, bad_share=0.3)
    verdict = withdrawn.verdicts.latest("at")
    go_back(ACTOR, deployment_id=withdrawn.pk, reason=verdict.sentence, by_itself=True)
    WithdrawnRelease.objects.update(moved_at=Now())
    canary = _deploy(agent, good, bad_share=0.02)
    run = _evaluate(agent, first, bad)
    return {
        "shipping": str(agent.pk),
        "canary": str(canary.pk),
        "withdrawn": str(withdrawn.pk),
        "test_set": str(run.test_set_id),
        "test_case": str(TestCase.objects.filter(test_set=run.test_set).earliest("position").pk),
        "evaluation": str(run.pk),
    }


def _release(first: Release, number: int, note: str) -> Release:
    configuration = first.configuration | {"instructions": note}
    return Release.objects.create(agent=first.agent, number=number, note=note, configuration=configuration)


def _deploy(agent: Agent, release: Release, *, bad_share: float) -> Deployment:
    """A deployment in canary, with verdicts of the last ten minutes."""
    deployment = begin_deployment(ACTOR, agent_id=agent.pk, release_number=release.number, plan=PLAN, note="")
    while deployment.state != DeploymentState.CANARY:
        deployment = promote_deployment(ACTOR, deployment_id=deployment.pk, expected_version=deployment.version)
    begun = now() - timedelta(seconds=15 * POINTS)
    rows = []
    for number in range(1, POINTS + 1):
        users, others = number, 19 * number
        arms = {
            "candidate": ArmFigures(
                users, 2 * users, {DeploymentMetric.FAILED: round(bad_share * users), DeploymentMetric.DEAR: 1}
            ),
            "stable": ArmFigures(
                others, 2 * others, {DeploymentMetric.FAILED: round(0.02 * others), DeploymentMetric.DEAR: others // 10}
            ),
        }
        verdict = judge(ArmMeasurements(0.05, 3, 600 - 15 * number, arms["candidate"], arms["stable"]))
        figures = {
            name: {"users": arm.users, "turns": arm.turns, "bad_users": {m.value: n for m, n in arm.bad_users.items()}}
            for name, arm in arms.items()
        }
        rows.append(
            DeploymentVerdict(
                deployment=deployment, at=begun + timedelta(seconds=15 * number), state=deployment.state, step=0,
                decision=verdict.decision, metric=verdict.metric or "", sentence=verdict.sentence, figures=figures,
            )
        )  # fmt: skip
    DeploymentVerdict.objects.bulk_create(rows)
    stored = {"decision": rows[-1].decision, "sentence": rows[-1].sentence, "metric": rows[-1].metric}
    reference = {"slow_seconds": 2.4, "dear_usd": 0.012}
    Deployment.objects.filter(pk=deployment.pk).update(
        verdict=stored | {"at": now().isoformat()}, reference=reference, step_started_at=begun
    )
    deployment.refresh_from_db()
    return deployment


def _evaluate(agent: Agent, baseline: Release, candidate: Release) -> EvaluationRun:
    tests = TestSet.objects.create(agent=agent, name="Where is my parcel", rubric="It names a day.")
    questions = ("Where is parcel 17?", "When will it come?", "Can I pick it up?")
    for position, question in enumerate(questions, 1):
        TestCase.objects.create(
            test_set=tests, position=position, question=_text(question), answer=_text("It comes on Monday."),
            history=[{"author": "user", "parts": _text("Hello")}, {"author": "agent", "parts": _text("Hi!")}],
            recording={"calls": [{"name": "track", "arguments": '{"parcel": 17}', "content": "Monday"}]},
            checks=[{"kind": "contains", "value": "Monday"}],
        )  # fmt: skip
    payer = User.objects.filter(is_active=True).earliest("pk")
    run = begin_run(ACTOR, test_set_id=tests.pk, candidate=candidate, baseline=baseline, paid_by=payer.pk)
    for result in EvaluationResult.objects.filter(run=run).select_related("case"):
        is_bad = result.lane == Lane.CANDIDATE and result.case.position == 2
        EvaluationResult.objects.filter(pk=result.pk).update(
            status=ResultStatus.DONE, answer=_text("Soon." if is_bad else "It comes on Monday."), differs=is_bad,
            passed=not is_bad, seconds=1.2, cost_usd=Decimal("0.002"),
            checks=[{"check": "contains “Monday”", "passed": not is_bad}],
        )  # fmt: skip
    report = {
        "passed": False, "worse": 1, "noise": 0.0, "differs_beyond_noise": False,
        "lanes": {"candidate": {"diverged": 0}},
        "sentence": "Failed: 1 of 3 entries is worse on release 2 than on release 1. 1 answers differ from the "
        "recorded ones; 0 do so when release 1 answers again.",
    }  # fmt: skip
    EvaluationRun.objects.filter(pk=run.pk).update(
        state=RunState.DONE, ended_at=now(), report=report, cost_usd=Decimal("0.012")
    )
    run.refresh_from_db()
    return run


def _text(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]
