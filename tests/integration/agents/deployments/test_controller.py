"""What happens to deployments by themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from structlog.testing import capture_logs

from accounts.actor import Actor
from accounts.models import AuditEntry
from agents.deployments.controller import control_deployments, delete_old_verdicts
from agents.deployments.deployment_changes import (
    begin_deployment,
    go_back,
    hold_deployment,
    promote_deployment,
    resume_deployment,
)
from agents.deployments.health_checks import evaluate_deployments, find_deployments
from agents.domain.deployment_verdict import ArmMeasurements, CandidateVerdict, DeploymentDecision, DeploymentMetric
from agents.domain.deployments import DeploymentPlan, DeploymentState, PlanStep
from agents.domain.evaluations import RunState
from agents.models import Deployment, DeploymentVerdict, EvaluationRun, TestCase, TestSet
from foundation.clock import now
from health_checks.run import Measurements as CheckMeasurements
from tests.support.candidates import add_release
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")
S = DeploymentState
EVENTS = ("deployment.promoted", "deployment.withdrawn")
PLAN = DeploymentPlan(steps=(PlanStep(5, 60), PlanStep(50, 60)), watch_seconds=60)


def says(
    decision: DeploymentDecision, metric: DeploymentMetric | None = None
) -> Callable[[ArmMeasurements], CandidateVerdict]:
    """A judge that decides the same each time."""
    return lambda _: CandidateVerdict(decision, f"It is {decision}.", metric, {DeploymentMetric.FAILED: 3.0})


def begin(state: DeploymentState = S.CANARY) -> Deployment:
    demo = agent()
    deployment = begin_deployment(SYSTEM, agent_id=demo.pk, release_number=add_release(demo).number, plan=PLAN)
    while deployment.state != state:
        deployment = promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    return deployment


def look(
    deployment: Deployment, decision: DeploymentDecision, metric: DeploymentMetric | None = None
) -> tuple[str, int]:
    control_deployments(judge=says(decision, metric))
    deployment.refresh_from_db()
    return deployment.state, deployment.step


def later(deployment: Deployment) -> None:
    """As if 15 seconds had passed since the last verdict."""
    deployment.refresh_from_db()
    if "at" in deployment.verdict:
        verdict = deployment.verdict | {"at": (now() - timedelta(seconds=16)).isoformat()}
        Deployment.objects.filter(pk=deployment.pk).update(verdict=verdict)


def test_a_good_one_goes_through_by_itself() -> None:
    deployment = begin(S.VALIDATING)
    states = [look(deployment, DeploymentDecision.PROMOTE) for _ in range(5)]
    assert states == [(S.CANARY, 0), (S.CANARY, 1), (S.LIVE, 1), (S.WATCHING, 1), (S.DONE, 1)]
    agent_now = deployment.agent
    agent_now.refresh_from_db()
    assert (agent_now.live_release, agent_now.deployment) == (deployment.candidate, None)
    assert look(deployment, DeploymentDecision.WITHDRAW) == (S.DONE, 1)


def test_the_log_says_what_moved_by_itself() -> None:
    deployment = begin()
    with capture_logs() as lines:
        look(deployment, DeploymentDecision.PROMOTE)
        look(deployment, DeploymentDecision.WITHDRAW, DeploymentMetric.FAILED)
    events = [(line["event"], line["log_level"], line["release"]) for line in lines if line["event"] in EVENTS]
    assert events == [("deployment.promoted", "info", 2), ("deployment.withdrawn", "warning", 2)]


def test_a_bad_one_is_withdrawn_with_the_sentence_as_its_reason() -> None:
    deployment = begin()
    assert look(deployment, DeploymentDecision.WITHDRAW, DeploymentMetric.FAILED) == (S.ROLLED_BACK, 0)
    assert deployment.reason == "It is withdraw."
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.actor, entry.detail["by_itself"]) == (
        "deployment.rolled_back",
        "system:deployments",
        True,
    )
    [finding] = evaluate_deployments(find_deployments(CheckMeasurements(now())))
    assert "release 2: It is withdraw." in finding.message


def test_it_is_judged_each_fifteen_seconds_and_each_verdict_is_a_point_of_the_charts() -> None:
    deployment = begin()
    assert look(deployment, DeploymentDecision.CONTINUE) == (S.CANARY, 0)
    assert look(deployment, DeploymentDecision.WITHDRAW) == (S.CANARY, 0)  # too soon
    later(deployment)
    assert look(deployment, DeploymentDecision.HOLD, DeploymentMetric.DEAR) == (S.CANARY, 0)
    points = DeploymentVerdict.objects.order_by("at").values_list("decision", "metric")
    assert list(points) == [("continue", ""), ("hold", "dear")]
    assert deployment.verdict["sentence"] == "It is hold."
    assert deployment.verdict["evidence"] == {"failed": 3.0}
    [finding] = evaluate_deployments(find_deployments(CheckMeasurements(now())))
    assert finding.message.endswith("It is hold.")


def test_one_that_dies_between_verdict_and_move_leaves_all_to_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = begin()

    class Killed(BaseException):
        """As a process that is no more: nothing of ours handles it."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("agents.deployments.controller.go_back", die)
        with pytest.raises(Killed):
            control_deployments(judge=says(DeploymentDecision.WITHDRAW, DeploymentMetric.FAILED))
    deployment.refresh_from_db()
    assert (deployment.state, deployment.verdict["decision"]) == (S.CANARY, "withdraw")
    later(deployment)
    assert look(deployment, DeploymentDecision.WITHDRAW, DeploymentMetric.FAILED) == (S.ROLLED_BACK, 0)
    assert AuditEntry.objects.filter(action="deployment.rolled_back").count() == 1


def test_one_that_cannot_be_judged_is_held_and_does_not_block_others() -> None:
    broken = begin()
    Deployment.objects.filter(pk=broken.pk).update(plan={"steps": "none"})
    other = agent("other")
    second = begin_deployment(SYSTEM, agent_id=other.pk, release_number=add_release(other).number, plan=PLAN)
    while second.state != S.CANARY:
        second = promote_deployment(SYSTEM, deployment_id=second.pk, expected_version=second.version)
    assert look(second, DeploymentDecision.PROMOTE) == (S.CANARY, 1)
    broken.refresh_from_db()
    assert (broken.state, broken.verdict["decision"]) == (S.CANARY, "hold")
    findings = evaluate_deployments(find_deployments(CheckMeasurements(now())))
    assert any("could not be judged" in finding.message for finding in findings)
    # Not again within 15 seconds.
    before = broken.verdict["at"]
    control_deployments(judge=says(DeploymentDecision.CONTINUE))
    broken.refresh_from_db()
    assert broken.verdict["at"] == before


def test_a_move_of_somebody_else_while_it_is_judged_wins() -> None:
    deployment = begin()

    def judge(_: ArmMeasurements) -> CandidateVerdict:
        promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
        return CandidateVerdict(DeploymentDecision.WITHDRAW, "Of the step before.")

    assert control_deployments(judge=judge) == 0
    deployment.refresh_from_db()
    assert (deployment.state, deployment.step, deployment.verdict) == (S.CANARY, 1, {})
    assert not DeploymentVerdict.objects.exists()


def test_one_on_hold_is_still_withdrawn_but_does_not_go_on() -> None:
    deployment = begin()
    hold_deployment(SYSTEM, deployment_id=deployment.pk)
    assert look(deployment, DeploymentDecision.PROMOTE) == (S.CANARY, 0)
    later(deployment)
    resume_deployment(SYSTEM, deployment_id=deployment.pk)
    assert look(deployment, DeploymentDecision.PROMOTE) == (S.CANARY, 1)
    hold_deployment(SYSTEM, deployment_id=deployment.pk)
    assert look(deployment, DeploymentDecision.WITHDRAW) == (S.ROLLED_BACK, 1)


def test_without_a_turn_nothing_is_promoted() -> None:
    deployment = begin()
    Deployment.objects.filter(pk=deployment.pk).update(step_started_at=now() - timedelta(hours=1))
    control_deployments()
    deployment.refresh_from_db()
    assert (deployment.state, deployment.step, deployment.verdict["decision"]) == (S.CANARY, 0, "hold")
    assert deployment.verdict["sentence"] == "Too little traffic to tell: 0 of 50 turns on the candidate."


def test_validation_waits_for_the_test_set_and_a_failing_one_holds() -> None:
    demo, builder = agent(), person("bob")
    tests = TestSet.objects.create(agent=demo, name="smoke")
    TestCase.objects.create(test_set=tests, position=1, question=[])
    candidate = add_release(demo)
    deployment = begin_deployment(SYSTEM, agent_id=demo.pk, release_number=candidate.number, plan=PLAN)
    Deployment.objects.filter(pk=deployment.pk).update(test_set=tests, created_by=builder)
    deployment.refresh_from_db()
    promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    run = EvaluationRun.objects.get()
    assert (run.paid_by, run.deployment) == (builder, deployment)
    assert look(deployment, DeploymentDecision.PROMOTE) == (S.VALIDATING, 0)
    report = {"passed": False, "sentence": "1 of 1 entries fails."}
    EvaluationRun.objects.update(state=RunState.DONE, ended_at=Now(), report=report)
    later(deployment)
    assert look(deployment, DeploymentDecision.PROMOTE) == (S.VALIDATING, 0)
    assert deployment.verdict["sentence"] == "Not ready. test set: 1 of 1 entries fails."
    EvaluationRun.objects.update(report={"passed": True})
    later(deployment)
    assert look(deployment, DeploymentDecision.PROMOTE) == (S.CANARY, 0)


def test_going_back_stops_its_test_set() -> None:
    demo, builder = agent(), person("bob")
    tests = TestSet.objects.create(agent=demo, name="smoke")
    TestCase.objects.create(test_set=tests, position=1, question=[])
    deployment = begin_deployment(SYSTEM, agent_id=demo.pk, release_number=add_release(demo).number, plan=PLAN)
    Deployment.objects.filter(pk=deployment.pk).update(test_set=tests, created_by=builder)
    deployment.refresh_from_db()
    promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    go_back(SYSTEM, deployment_id=deployment.pk, reason="Not now.")
    run = EvaluationRun.objects.get()
    assert (run.state, run.reason) == (RunState.STOPPED, "Its deployment has ended.")


def test_old_verdicts_go_and_the_reason_stays() -> None:
    deployment = begin()
    look(deployment, DeploymentDecision.CONTINUE)
    later(deployment)
    look(deployment, DeploymentDecision.WITHDRAW)
    assert delete_old_verdicts() == 0
    assert DeploymentVerdict.objects.count() == 2
    other = agent("other")
    assert other.live_release
    ended_at = now() - timedelta(days=91)
    old = Deployment.objects.create(
        agent=other, candidate=add_release(other), baseline=other.live_release, state=S.DONE, plan={}, ended_at=ended_at
    )
    DeploymentVerdict.objects.create(deployment=old, state=S.WATCHING, step=0, decision="promote", sentence="Good.")
    assert delete_old_verdicts() == 1
    assert DeploymentVerdict.objects.filter(deployment=deployment).count() == 2
    assert (Deployment.objects.count(), bool(deployment.reason)) == (2, True)
