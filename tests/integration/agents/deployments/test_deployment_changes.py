"""The moves of deployments: what is legal, what each writes, and that each has one effect."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.deployments.deployment_changes import (
    begin_deployment,
    go_back,
    hold_deployment,
    promote_deployment,
    resume_deployment,
)
from agents.domain.deployments import (
    DEPLOYMENT_MOVES,
    ENDED_DEPLOYMENTS,
    DeploymentPlan,
    DeploymentState,
    PlanStep,
    gets_candidate,
    user_bucket,
)
from agents.models import Agent, Deployment, WithdrawnRelease
from agents.releases import archive_agent, publish, roll_back
from agents.releases.release_choice import release_for
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from tests.support.candidates import add_release, open_deployment
from tests.support.people import agent, person, write_draft

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")
S = DeploymentState
PLAN = DeploymentPlan(steps=(PlanStep(5, 60), PlanStep(50, 60)), watch_seconds=60)


def _begin(demo: Agent, actor: Actor = SYSTEM) -> Deployment:
    candidate = add_release(demo, instructions="Be brief.")
    return begin_deployment(actor, agent_id=demo.pk, release_number=candidate.number, plan=PLAN)


def _promote(deployment: Deployment, to: DeploymentState) -> Deployment:
    while deployment.state != to:
        deployment = promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    return deployment


def test_a_draft_goes_all_the_way() -> None:
    demo, builder = agent(), user_actor(person("bob", Role.BUILDER))
    first = demo.live_release
    write_draft(instructions="Be brief.", version=2)
    deployment = begin_deployment(builder, agent_id=demo.pk, expected_version=2, plan=PLAN, note="shorter")
    demo.refresh_from_db()
    assert (deployment.state, demo.deployment, demo.live_release) == (S.STAGING, deployment, first)
    assert (deployment.candidate.number, deployment.candidate.note, deployment.baseline) == (2, "shorter", first)
    states = []
    while deployment.state not in ENDED_DEPLOYMENTS:
        deployment = promote_deployment(builder, deployment_id=deployment.pk, expected_version=deployment.version)
        demo.refresh_from_db()
        states.append((deployment.state, deployment.step, demo.live_release.number if demo.live_release else 0))
    assert states == [
        (S.VALIDATING, 0, 1),
        (S.CANARY, 0, 1),
        (S.CANARY, 1, 1),
        (S.LIVE, 1, 2),
        (S.WATCHING, 1, 2),
        (S.DONE, 1, 2),
    ]
    assert demo.deployment is None
    assert deployment.ended_at is not None
    actions = AuditEntry.objects.filter(target_type="deployment").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["deployment.begun", *["deployment.promoted"] * 6]


def test_users_are_divided_while_it_is_under_way_and_none_changes_arms() -> None:
    demo = agent()
    deployment = _begin(demo)
    users = [str(number) for number in range(400)]

    def candidates() -> set[str]:
        fresh = Agent.objects.get(pk=demo.pk)
        return {user for user in users if release_for(fresh, user) == deployment.candidate}

    assert candidates() == set()
    deployment = _promote(deployment, S.CANARY)
    few = candidates()
    deployment = promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
    half = candidates()
    deployment = _promote(deployment, S.WATCHING)
    nearly_all = candidates()
    assert few < half < nearly_all
    assert (len(few), len(half), len(nearly_all)) == pytest.approx((20, 200, 380), abs=45)
    _promote(deployment, S.DONE)
    assert candidates() == set(users)


def test_another_deployment_divides_users_anew() -> None:
    one, two = uuid4(), uuid4()
    users = [str(number) for number in range(2000)]
    both = sum(gets_candidate(one, user, 50) and gets_candidate(two, user, 50) for user in users)
    assert both == pytest.approx(500, abs=100)
    assert {user_bucket(one, user) for user in users} != {user_bucket(two, user) for user in users}


@pytest.mark.parametrize("state", sorted(set(S) - ENDED_DEPLOYMENTS - {S.DRAFT}))
def test_going_back_from_every_state_makes_the_baseline_live_again(state: DeploymentState) -> None:
    demo = agent()
    first = demo.live_release
    deployment = _promote(_begin(demo), state)
    has_met_users = state in (S.CANARY, S.LIVE, S.WATCHING)
    deployment = go_back(SYSTEM, deployment_id=deployment.pk, reason="It is rude.")
    demo.refresh_from_db()
    assert (demo.live_release, demo.deployment) == (first, None)
    assert (deployment.state, deployment.reason) == (S.ROLLED_BACK if has_met_users else S.CANCELLED, "It is rude.")
    assert WithdrawnRelease.objects.filter(release=deployment.candidate).exists() is has_met_users
    with pytest.raises(Conflict):
        go_back(SYSTEM, deployment_id=deployment.pk, reason="Again.")
    with pytest.raises(Conflict):
        promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)


def test_a_withdrawn_release_may_come_again_when_its_sessions_have_moved() -> None:
    demo = agent()
    deployment = _promote(_begin(demo), S.CANARY)
    go_back(SYSTEM, deployment_id=deployment.pk, reason="It is rude.")
    again: dict[str, Any] = {"agent_id": demo.pk, "release_number": deployment.candidate.number}
    with pytest.raises(Conflict, match="still being moved"):
        begin_deployment(SYSTEM, **again)
    WithdrawnRelease.objects.update(moved_at=Now())
    begin_deployment(SYSTEM, **again)
    assert not WithdrawnRelease.objects.exists()


@pytest.mark.parametrize(("before", "after"), list(product(sorted(S), repeat=2)))
def test_the_database_has_the_same_table_of_moves(before: DeploymentState, after: DeploymentState) -> None:
    demo = agent()
    deployment = open_deployment(demo, add_release(demo))
    rows = Deployment.objects.filter(pk=deployment.pk)
    path = [S.STAGING, S.VALIDATING, S.CANARY, S.LIVE, S.WATCHING, S.DONE]
    if before in path:
        for state in path[1 : path.index(before) + 1]:
            rows.update(state=state, ended_at=Now() if state is S.DONE else None)
    elif before is S.DRAFT:
        rows.delete()
        deployment = open_deployment(demo, deployment.candidate, S.DRAFT)
        rows = Deployment.objects.filter(pk=deployment.pk)
    else:
        rows.update(state=before, ended_at=Now())
    is_legal = after in DEPLOYMENT_MOVES[before] or (before == after and before not in ENDED_DEPLOYMENTS)
    try:
        with transaction.atomic():
            rows.update(state=after, ended_at=Now() if after in ENDED_DEPLOYMENTS else None, version=9)
    except IntegrityError:
        assert not is_legal
    else:
        assert is_legal


def test_the_database_keeps_agent_and_releases() -> None:
    demo = agent()
    deployment = open_deployment(demo, add_release(demo))
    with pytest.raises(IntegrityError, match="keeps its agent"), transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(candidate=add_release(demo))


def test_nothing_is_published_past_a_deployment() -> None:
    demo = agent()
    deployment = _begin(demo)
    for verb in (
        lambda: publish(SYSTEM, agent_id=demo.pk, expected_version=1),
        lambda: roll_back(SYSTEM, agent_id=demo.pk, number=2),
        lambda: archive_agent(SYSTEM, agent_id=demo.pk),
        lambda: begin_deployment(SYSTEM, agent_id=demo.pk),
    ):
        with pytest.raises(Conflict, match="under way"):
            verb()
    go_back(SYSTEM, deployment_id=deployment.pk, reason="Not now.")
    assert publish(SYSTEM, agent_id=demo.pk, expected_version=1).number == 3


def test_what_cannot_begin() -> None:
    demo = agent()
    number = add_release(demo).number
    for values, pointer in (
        ({"release_number": 1}, "/release"),
        ({"release_number": 99}, "/release"),
        ({"release_number": number, "test_set_id": uuid4()}, "/test_set"),
    ):
        with pytest.raises(InvalidInput) as refused:
            begin_deployment(SYSTEM, agent_id=demo.pk, **values)
        assert refused.value.pointer == pointer
    with pytest.raises(PreconditionFailed):
        begin_deployment(SYSTEM, agent_id=demo.pk, expected_version=7)
    with pytest.raises(NotFound):
        begin_deployment(SYSTEM, agent_id=uuid4())
    assert not Deployment.objects.exists()


@pytest.mark.parametrize(
    ("plan", "pointer"),
    [
        ({"steps": []}, "/plan/steps"),
        ({"steps": "5"}, "/plan/steps"),
        ({"steps": [{"percent": 5}]}, "/plan/steps/0"),
        ({"steps": [{"percent": 0, "seconds": 1}]}, "/plan/steps/0/percent"),
        ({"steps": [{"percent": 96, "seconds": 1}]}, "/plan/steps/0/percent"),
        ({"steps": [{"percent": 50, "seconds": 1}, {"percent": 50, "seconds": 1}]}, "/plan/steps/1/percent"),
        ({"steps": [{"percent": 5, "seconds": -1}]}, "/plan/steps/0/seconds"),
        ({"watch_seconds": True}, "/plan/watch_seconds"),
        ({"minutes": 5}, "/plan"),
    ],
)
def test_a_bad_plan_is_refused_with_its_place(plan: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        DeploymentPlan.parse(plan)
    assert refused.value.pointer == pointer


def test_who_may_not_publish_moves_nothing() -> None:
    demo = agent()
    deployment = _promote(_begin(demo), S.CANARY)
    operator = user_actor(person("olga", Role.OPERATOR))
    key: dict[str, Any] = {"deployment_id": deployment.pk}
    verbs: tuple[Callable[[], object], ...] = (
        lambda: begin_deployment(operator, agent_id=demo.pk),
        lambda: promote_deployment(operator, **key, expected_version=deployment.version),
        lambda: hold_deployment(operator, **key),
        lambda: resume_deployment(operator, **key),
        lambda: go_back(operator, **key, reason="No."),
    )
    for verb in verbs:
        with pytest.raises(Forbidden):
            verb()
    for reason in ("", " ", "x" * 401):
        with pytest.raises(InvalidInput):
            go_back(SYSTEM, **key, reason=reason)


def test_holding_is_idempotent_and_recorded_once() -> None:
    deployment = _promote(_begin(agent()), S.CANARY)
    for verb in (hold_deployment, hold_deployment, resume_deployment, resume_deployment):
        verb(SYSTEM, deployment_id=deployment.pk)
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))[-2:]
    assert actions == ["deployment.held", "deployment.resumed"]
    # Somebody who read it before learns of it.
    with pytest.raises(PreconditionFailed):
        promote_deployment(SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version)
