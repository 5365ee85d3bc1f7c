"""Deployments, test sets and evaluations in the console."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.actor import Actor
from accounts.roles import Role
from agents.deployments.controller import control_deployments
from agents.deployments.deployment_changes import begin_deployment, promote_deployment
from agents.domain.deployment_verdict import CandidateVerdict, DeploymentDecision, DeploymentMetric
from agents.domain.deployments import DeploymentPlan, DeploymentState, PlanStep
from agents.domain.evaluations import Lane, ResultStatus, RunState
from agents.evaluations.evaluation_runs import begin_run
from agents.models import Agent, Deployment, EvaluationResult, EvaluationRun, TestCase, TestSet, Turn
from foundation.clock import now
from tests.support.candidates import add_release
from tests.support.consoles import client_of
from tests.support.conversations import answer, claimed, conversation
from tests.support.people import agent, person, write_draft

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")
S = DeploymentState
PLAN = DeploymentPlan(steps=(PlanStep(5, 60), PlanStep(50, 60)), watch_seconds=60)


def begin(state: DeploymentState = S.STAGING) -> Deployment:
    demo = Agent.objects.filter(slug="demo").first() or agent()
    deployment = begin_deployment(SYSTEM, agent_id=demo.pk, release_number=add_release(demo).number, plan=PLAN)
    while deployment.state != state:
        deployment = promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    return deployment


def page(client: Client, view: str, *args: Any, **data: Any) -> str:
    """The page after following where it leads; with `data`, what a press of its button gives."""
    address = reverse(f"admin:agents_{view}", args=args)
    answered = client.post(address, {"confirm": "yes", **data}, follow=True) if data else client.get(address)
    assert answered.status_code == 200, answered.status_code
    return answered.content.decode()


def test_an_owner_deploys_the_draft_from_the_page_of_its_agent() -> None:
    demo, client = agent(), client_of("ada", Role.OWNER)
    write_draft(instructions="Be brief.", version=2)
    assert reverse("admin:agents_deployment_begin", args=[demo.pk]) in page(client, "agent_change", demo.pk)
    assert "Deploy Demo" in page(client, "deployment_begin", demo.pk)
    values = {
        "release": "", "steps": "10 % 5, 50% 10", "watch_minutes": 3, "minimum_turns": 5, "minimum_users": 2,
        "test_set": "", "note": "shorter", "draft_version": 2,
    }  # fmt: skip
    assert "It is in staging" in page(client, "deployment_begin", demo.pk, **values)
    deployment = Deployment.objects.get()
    assert deployment.plan == DeploymentPlan((PlanStep(10, 300), PlanStep(50, 600)), 180, 5, 2).dump()
    assert deployment.candidate.note == "shorter"
    assert "A deployment is under way" in page(client, "agent_change", demo.pk)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"steps": "half"}, "Each step is a percentage and minutes"),
        ({"steps": "50 % 1, 5 % 1"}, "Each step has a larger share"),
        ({"draft_version": 7}, "Somebody"),
        ({"watch_minutes": -1}, "greater than or equal to 0"),
    ],
)
def test_a_wrong_form_says_what_is_wrong(values: dict[str, Any], error: str) -> None:
    demo, client = agent(), client_of("ada", Role.OWNER)
    good = {"steps": "5 % 10", "watch_minutes": 1, "minimum_turns": 5, "minimum_users": 2, "draft_version": 1}
    assert error in page(client, "deployment_begin", demo.pk, **{**good, **values})
    assert not Deployment.objects.exists()


def test_it_is_steered_from_its_page() -> None:
    deployment = begin()
    client = client_of("ada", Role.OWNER)
    shown = page(client, "deployment_change", deployment.pk)
    assert "Begin validation" in shown
    assert "Talk to it" in shown
    for expected in (S.VALIDATING, S.CANARY, S.CANARY, S.LIVE):
        deployment.refresh_from_db()
        assert "It has moved on" in page(client, "deployment_promote", deployment.pk, version=deployment.version)
        deployment.refresh_from_db()
        assert deployment.state == expected
    page(client, "deployment_hold", deployment.pk, version=deployment.version)
    deployment.refresh_from_db()
    assert deployment.held_at is not None
    assert "Let it go on" in page(client, "deployment_change", deployment.pk)
    page(client, "deployment_resume", deployment.pk, version=deployment.version)
    assert "Release 1 answers." in page(client, "deployment_back", deployment.pk, version=0, reason="Rude.")
    shown = page(client, "deployment_change", deployment.pk)
    assert "rolled back" in shown
    assert "Rude." in shown
    assert "Go back" not in shown


def test_who_was_slower_reads_so() -> None:
    deployment = begin(S.CANARY)
    client = client_of("ada", Role.OWNER)
    old = deployment.version
    promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=old)
    assert "Somebody has moved this deployment" in page(client, "deployment_promote", deployment.pk, version=old)


@pytest.mark.parametrize(("role", "may_see"), [(Role.VIEWER, True), (Role.OPERATOR, True), (Role.USER, False)])
def test_others_see_it_and_do_not_steer_it(role: Role, may_see: bool) -> None:
    deployment = begin(S.CANARY)
    client = client_of("olga", role)
    answered = client.get(reverse("admin:agents_deployment_change", args=[deployment.pk]))
    assert (answered.status_code == 200) is may_see
    if may_see:
        assert "Go back" not in answered.content.decode()
    for name in ("promote", "hold", "resume", "back", "test"):
        address = reverse(f"admin:agents_deployment_{name}", args=[deployment.pk])
        assert client.post(address, {"confirm": "yes", "version": 0, "reason": "x"}).status_code in (302, 403, 404)
    deployment.refresh_from_db()
    assert (deployment.state, deployment.held_at) == (S.CANARY, None)


def test_a_verdict_is_a_sentence_and_a_chart() -> None:
    deployment = begin(S.CANARY)
    control_deployments(
        judge=lambda _: CandidateVerdict(
            DeploymentDecision.HOLD, "Too little traffic to tell.", DeploymentMetric.FAILED
        )
    )
    client = client_of("ada", Role.VIEWER)
    shown = page(client, "deployment_change", deployment.pk)
    assert "Too little traffic to tell." in shown
    assert "Users who met a failed answer" in shown
    assert "Too little traffic to tell." in page(client, "deployment_changelist")


# --- test sets --------------------------------------------------------------------------------------------------------


def recorded_turn() -> Turn:
    ada = conversation("ada")
    ada.ask("What is 6*7?")
    answer(claimed(), "It is 42.")
    return ada.turn()


def test_a_builder_makes_a_test_set_of_turns_and_says_what_is_expected() -> None:
    turn = recorded_turn()
    client = client_of("bea", Role.BUILDER)
    turns = reverse("admin:agents_turn_changelist")
    chosen = {"action": "add_to_test_set", "_selected_action": [str(turn.pk)]}
    assert "Add 1 turns to a test set" in client.post(turns, chosen).content.decode()
    shown = client.post(turns, {**chosen, "confirm": "yes", "test_set": "", "new_name": "Sums"}, follow=True)
    assert "1 entries were added." in shown.content.decode()
    tests, case = TestSet.objects.get(), TestCase.objects.get()
    assert (tests.name, case.question[0]["text"], case.user) == ("Sums", "What is 6*7?", turn.user)
    again = client.post(turns, {**chosen, "confirm": "yes", "test_set": str(tests.pk), "new_name": ""}, follow=True)
    assert "1 were not: It is an entry already." in again.content.decode()
    assert "What is 6*7?" in page(client, "testset_change", tests.pk)
    saved = client.post(
        reverse("admin:agents_testcase_change", args=[case.pk]),
        {"kind_1": "contains", "value_1": "42", "kind_2": "tool_called", "value_2": "{", "rubric": "Right."},
    )
    assert "JSON is expected." in saved.content.decode()
    client.post(
        reverse("admin:agents_testcase_change", args=[case.pk]),
        {"kind_1": "contains", "value_1": "42", "kind_2": "no_writing_tool", "rubric": "Right."},
    )
    case.refresh_from_db()
    assert case.checks == [{"kind": "contains", "value": "42"}, {"kind": "no_writing_tool"}]
    assert case.rubric == "Right."
    tests.refresh_from_db()
    client.post(
        reverse("admin:agents_testset_change", args=[tests.pk]),
        {"name": "Sums", "kind_1": "max_seconds", "value_1": "2,5", "judges": "offline:", "max_cost_usd": "0.5",
         "version": tests.version},
    )  # fmt: skip
    tests.refresh_from_db()
    assert tests.checks == [{"kind": "max_seconds", "value": 2.5}]
    assert (tests.judge_chain, tests.max_cost_usd) == (["offline:"], Decimal("0.5"))
    assert "Entry 1 is removed" in page(client, "testcase_remove", case.pk, x=1)
    assert "is deleted" in page(client, "testset_delete_set", tests.pk, x=1)


def test_a_new_set_is_made_by_hand_and_a_name_is_taken_once() -> None:
    demo, client = agent(), client_of("bea", Role.BUILDER)
    values = {"agent": str(demo.pk), "name": "Sums", "max_cost_usd": "1"}
    assert "It has no entry yet" in page(client, "testset_add", **values)
    assert "has a test set of this name" in page(client, "testset_add", **values)


def test_words_are_for_those_who_may_read_them() -> None:
    turn = recorded_turn()
    client = client_of("bea", Role.BUILDER)
    client.post(
        reverse("admin:agents_turn_changelist"),
        {"action": "add_to_test_set", "_selected_action": [str(turn.pk)], "confirm": "yes", "new_name": "Sums"},
    )
    tests, case = TestSet.objects.get(), TestCase.objects.get()
    user = client_of("uma", Role.USER)
    assert user.get(reverse("admin:agents_testset_change", args=[tests.pk])).status_code != 200
    viewer = client_of("vera", Role.VIEWER)
    viewer.post(reverse("admin:agents_testcase_change", args=[case.pk]), {"rubric": "x"})
    case.refresh_from_db()
    assert case.rubric == ""


def test_the_words_of_an_agent_for_some_are_for_these_only() -> None:
    """Whoever may read the entries of one agent reads those of no other by its id."""
    turn = recorded_turn()
    bea = client_of("bea", Role.BUILDER)
    bea.post(
        reverse("admin:agents_turn_changelist"),
        {"action": "add_to_test_set", "_selected_action": [str(turn.pk)], "confirm": "yes", "new_name": "Sums"},
    )
    case = TestCase.objects.get()
    other = agent("other")
    tests = TestSet.objects.create(agent=other, name="Else")
    TestCase.objects.create(test_set=tests, position=1, question=[])
    live = other.live_release
    assert live
    run = begin_run(SYSTEM, test_set_id=tests.pk, candidate=live, baseline=live, paid_by=person("bob").pk)
    case.test_set.agent.groups.set([Group.objects.create(name="secret")])
    assert "What is 6*7?" not in page(bea, "testset_change", case.test_set_id)
    for view, arguments, status in (
        ("testcase_change", [case.pk], 403),
        ("testcase_remove", [case.pk], 403),
        ("evaluationrun_entry", [run.pk, case.pk], 404),
    ):
        answered = bea.get(reverse(f"admin:agents_{view}", args=arguments))
        assert answered.status_code == status, view
        assert "What is 6*7?" not in answered.content.decode()


# --- evaluations ------------------------------------------------------------------------------------------------------


def test_a_run_is_begun_stopped_and_read_side_by_side() -> None:
    turn = recorded_turn()
    demo = Agent.objects.get()
    candidate = add_release(demo)
    client = client_of("bea", Role.BUILDER)
    client.post(
        reverse("admin:agents_turn_changelist"),
        {"action": "add_to_test_set", "_selected_action": [str(turn.pk)], "confirm": "yes", "new_name": "Sums"},
    )
    tests = TestSet.objects.get()
    shown = page(client, "testset_run", tests.pk, release=candidate.number)
    run = EvaluationRun.objects.get()
    assert (run.candidate, run.paid_by.username) == (candidate, "bea")
    assert "0 of 2" in shown
    texts = {Lane.BASELINE: "It is 42.", Lane.CANDIDATE: "It is forty-two <b>."}
    for lane, text in texts.items():
        EvaluationResult.objects.filter(lane=lane).update(
            status=ResultStatus.DONE, answer=[{"type": "text", "text": text}], differs=lane is Lane.CANDIDATE,
            passed=lane is Lane.BASELINE, seconds=1.5, cost_usd=Decimal("0.01"),
            checks=[{"check": "contains “42”", "passed": lane is Lane.BASELINE}],
        )  # fmt: skip
    shown = page(client, "evaluationrun_change", run.pk)
    assert "fails" in shown
    entry = page(client, "evaluationrun_entry", run.pk, TestCase.objects.get().pk)
    assert "<del>42</del>" in entry
    assert "<ins>forty" in entry
    assert "&lt;" in entry
    page(client, "evaluationrun_stop", run.pk, x=1)
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.STOPPED, "Stopped by hand.")
    page(client, "evaluationrun_repeat", run.pk, x=1)
    assert EvaluationRun.objects.count() == 2
    assert "Sums" in page(client, "evaluationrun_changelist")


def test_a_finished_run_says_what_is_noise() -> None:
    turn = recorded_turn()
    demo = Agent.objects.get()
    tests = TestSet.objects.create(agent=demo, name="Sums")
    TestCase.objects.create(test_set=tests, position=1, question=[], source_turn_id=turn.pk)
    candidate = add_release(demo)
    run = begin_run(SYSTEM, test_set_id=tests.pk, candidate=candidate, baseline=candidate, paid_by=person("bob").pk)
    report = {
        "passed": True, "sentence": "Passed.", "noise": 0.05, "differs_beyond_noise": False, "worse": 0,
        "lanes": {"candidate": {"diverged": 0}},
    }  # fmt: skip
    EvaluationRun.objects.filter(pk=run.pk).update(state=RunState.DONE, ended_at=now(), report=report)
    shown = page(client_of("bea", Role.BUILDER), "evaluationrun_change", run.pk)
    assert "Passed." in shown
    assert "5.0 %" in shown
    assert "no more than noise" in shown
