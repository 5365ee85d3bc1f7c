"""Two people, or two processes, who move one deployment at the same time."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest
from django.db import connection

from accounts.actor import Actor
from accounts.models import AuditEntry
from agents.deployments.controller import control_deployments
from agents.deployments.deployment_changes import begin_deployment, promote_deployment
from agents.domain.deployments import DeploymentPlan, DeploymentState, PlanStep
from agents.models import Deployment
from foundation.errors import BandstandError
from tests.support.candidates import add_release
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")
SYSTEM = Actor.system("tests")
S = DeploymentState
PLAN = DeploymentPlan(steps=(PlanStep(5, 60), PlanStep(50, 60)), watch_seconds=60)


def _in_canary() -> Deployment:
    demo = agent()
    deployment = begin_deployment(SYSTEM, agent_id=demo.pk, release_number=add_release(demo).number, plan=PLAN)
    while deployment.state != S.CANARY:
        deployment = promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    return deployment


def test_of_two_who_press_at_once_one_has_an_effect() -> None:
    deployment = _in_canary()
    barrier, outcomes = Barrier(2), []

    def press() -> None:
        barrier.wait()
        try:
            promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
            outcomes.append("moved")
        except BandstandError as error:
            outcomes.append(type(error).__name__)
        finally:
            connection.close()

    before = AuditEntry.objects.count()
    threads = [Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deployment.refresh_from_db()
    assert sorted(outcomes) == ["PreconditionFailed", "moved"]
    assert (deployment.state, deployment.step) == (S.CANARY, 1)
    assert AuditEntry.objects.count() == before + 1


def test_of_two_runners_that_judge_at_once_one_moves_a_deployment() -> None:
    deployment = _in_canary()
    while deployment.state != S.LIVE:
        deployment = promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    barrier, moved = Barrier(2), []

    def look() -> None:
        barrier.wait()
        try:
            moved.append(control_deployments())
        finally:
            connection.close()

    threads = [Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deployment.refresh_from_db()
    assert (deployment.state, sum(moved)) == (S.WATCHING, 1)
