"""What counts for which arm of a deployment, and what is slow and dear."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from math import ceil, log2
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.actor import Actor
from accounts.models import User
from agents.deployments import measurements
from agents.deployments.deployment_changes import begin_deployment, promote_deployment
from agents.deployments.measurements import measure, measure_reference
from agents.domain.deployment_verdict import ArmFigures, DeploymentMetric
from agents.domain.deployments import DeploymentPlan, DeploymentState, PlanStep, candidate_percent, gets_candidate
from agents.models import AgentSession, Deployment, Feedback, Handoff, Message, Release, Turn
from foundation.clock import now
from foundation.ids import derive_id, new_id
from tests.support.candidates import add_release
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")
S = DeploymentState
PLAN = DeploymentPlan(steps=(PlanStep(25, 60),), watch_seconds=600, minimum_turns=7, minimum_users=3)


@pytest.fixture
def deployment() -> Deployment:
    demo = agent()
    made = begin_deployment(SYSTEM, agent_id=demo.pk, release_number=add_release(demo).number, plan=PLAN)
    while made.state != S.CANARY:
        made = promote_deployment(SYSTEM, deployment_id=made.pk, expected_version=made.version)
    Deployment.objects.filter(pk=made.pk).update(
        step_started_at=now() - timedelta(minutes=5), reference={"slow_seconds": 2.0, "dear_usd": 0.01}
    )
    made.refresh_from_db()
    return made


def talk(
    user: User, release: Release, *, opened: datetime, purpose: str = "", first_word: float | None = 0.5, **turn: Any
) -> Turn:
    """A session that was opened then, with a turn of three seconds that ended a few seconds later."""
    session = AgentSession.objects.create(
        id=derive_id(opened, new_id()), user=user, agent=release.agent, release=release, purpose=purpose
    )
    AgentSession.objects.filter(pk=session.pk).update(created_at=opened)
    details = {} if first_word is None else {"first_token_seconds": first_word}
    steps = [PastStep(0.0, 3.0, details=details)]
    return past_turn(session, ended_at=opened + timedelta(seconds=5), seconds=3.0, steps=steps, **turn)


def users(deployment: Deployment, *, of_candidate: bool) -> Iterator[User]:
    """New users whom the hash gives one of both arms."""
    for number in count():
        user = person(f"{'candidate' if of_candidate else 'stable'}{number}")
        percent = candidate_percent(DeploymentState(deployment.state), PLAN, deployment.step)
        if gets_candidate(deployment.pk, str(user.pk), percent) is of_candidate:
            yield user


def arms(deployment: Deployment) -> tuple[ArmFigures, ArmFigures]:
    found = measure(deployment, at=now())
    return found.candidate, found.stable


def since(deployment: Deployment, seconds: float) -> datetime:
    return deployment.step_started_at + timedelta(seconds=seconds)


def test_each_metric_is_what_it_says(deployment: Deployment) -> None:
    ada = next(users(deployment, of_candidate=True))
    release = deployment.candidate
    at = since(deployment, 10)
    talk(ada, release, opened=at)
    talk(ada, release, opened=at, status="failed", error_class="transient", first_word=None)
    talk(ada, release, opened=at, status="expired", error_class="deadline", first_word=None)
    talk(ada, release, opened=at, status="failed", error_class="set_aside", first_word=None)  # an operator wanted it
    talk(ada, release, opened=at, status="cancelled", first_word=None)
    talk(ada, release, opened=at, first_word=2.5)
    talk(ada, release, opened=at, cost_usd=Decimal("0.011"))
    talk(ada, release, opened=at, cost_usd=Decimal("0.01"))
    talk(ada, release, opened=at, cost_usd=None)
    rated = talk(ada, release, opened=at)
    message = Message.objects.create(agent_session=rated.agent_session, ordinal=99, author="agent", turn=rated)
    Feedback.objects.create(agent_session=rated.agent_session, message=message, turn=rated, user=ada, value=-1)
    called = talk(ada, release, opened=at)
    looked_at = talk(ada, release, opened=at)
    for turn, source in ((called, "tool"), (looked_at, "operator")):
        Handoff.objects.create(
            agent_session=turn.agent_session, requested_by=source, requested_at=turn.queued_at + timedelta(seconds=1)
        )
    candidate, stable = arms(deployment)
    assert stable == ArmFigures()
    assert (candidate.users, candidate.turns) == (1, 12)
    assert candidate.bad_turns == {
        DeploymentMetric.FAILED: 2,
        # And the four that ended after three seconds without a word.
        DeploymentMetric.SLOW: 5,
        DeploymentMetric.DEAR: 1,
        DeploymentMetric.HANDED_OFF: 1,
        DeploymentMetric.RATED_DOWN: 1,
    }
    assert set(candidate.bad_users.values()) == {1}


def test_a_turn_that_waits_for_its_first_word_is_slow_before_it_ends(deployment: Deployment) -> None:
    """A release whose models do not answer, so that its turns wait for them, is not one without traffic."""
    ada = next(users(deployment, of_candidate=True))
    for status in ("queued", "retry_wait", "waiting", "running"):
        turn = talk(ada, deployment.candidate, opened=since(deployment, 10), first_word=None)
        Turn.objects.filter(pk=turn.pk).delete()
        open_turn(turn, status)
    assert arms(deployment)[0].bad_turns[DeploymentMetric.SLOW] == 2
    assert arms(deployment)[0].turns == 2
    deployment.reference = {"slow_seconds": 3_600.0, "dear_usd": None}
    assert arms(deployment)[0].turns == 0
    deployment.reference = {"slow_seconds": None, "dear_usd": None}
    assert arms(deployment)[0].turns == 0


def open_turn(turn: Turn, status: str) -> None:
    """The same turn, not ended yet."""
    turn.status, turn.finished_at = status, None
    if status in ("waiting", "retry_wait"):
        turn.available_at = now()
        turn.wait_reason = "budget" if status == "waiting" else ""
    if status == "running":
        turn.lease_expires_at = now()
    turn.save(force_insert=True)


def test_a_handoff_is_that_of_the_turn_before_it(deployment: Deployment) -> None:
    ada = next(users(deployment, of_candidate=True))
    first = talk(ada, deployment.candidate, opened=since(deployment, 10))
    session = first.agent_session
    past_turn(session, ended_at=since(deployment, 100), seconds=3.0)
    Handoff.objects.create(agent_session=session, requested_by="user", requested_at=since(deployment, 50))
    assert arms(deployment)[0].bad_turns[DeploymentMetric.HANDED_OFF] == 1
    minutes = measure(deployment, at=now()).minutes
    assert [minute.candidate_first_bad[DeploymentMetric.HANDED_OFF] for minute in minutes] == [1, 0]


def test_only_sessions_of_people_that_were_opened_in_this_step(deployment: Deployment) -> None:
    ada, bob = next(users(deployment, of_candidate=True)), next(users(deployment, of_candidate=False))
    at = since(deployment, 10)
    talk(ada, deployment.candidate, opened=at)
    talk(bob, deployment.baseline, opened=at)
    talk(ada, deployment.candidate, opened=since(deployment, -10))
    for purpose in ("staging", "trial", "evaluation"):
        talk(ada, deployment.candidate, opened=at, purpose=purpose)
    other = agent("other")
    assert other.live_release
    talk(ada, other.live_release, opened=at)
    talk(bob, add_release(deployment.agent), opened=at)
    running = talk(bob, deployment.baseline, opened=at)
    Turn.objects.filter(pk=running.pk).delete()
    candidate, stable = arms(deployment)
    assert (candidate.users, candidate.turns, stable.users, stable.turns) == (1, 1, 1, 1)


def test_who_is_in_both_arms_counts_in_neither(deployment: Deployment) -> None:
    ada, bob = next(users(deployment, of_candidate=True)), next(users(deployment, of_candidate=False))
    at = since(deployment, 10)
    talk(ada, deployment.candidate, opened=at)
    talk(ada, deployment.baseline, opened=at)
    talk(bob, deployment.baseline, opened=at)
    candidate, stable = arms(deployment)
    assert (candidate.users, stable.users) == (0, 1)


def test_a_turn_that_ran_on_another_release_counts_for_none(deployment: Deployment) -> None:
    turn = talk(next(users(deployment, of_candidate=True)), deployment.candidate, opened=since(deployment, 10))
    Turn.objects.filter(pk=turn.pk).update(remembered=True)
    session = turn.agent_session
    AgentSession.objects.filter(pk=session.pk).update(release=deployment.baseline)
    assert [arm.turns for arm in arms(deployment)] == [0, 0]


def test_minutes_have_the_baselines_turns_and_the_first_ones_of_the_candidates_users(deployment: Deployment) -> None:
    candidates = users(deployment, of_candidate=True)
    ada, eve, bob = next(candidates), next(candidates), next(users(deployment, of_candidate=False))
    failed: dict[str, Any] = {"status": "failed", "error_class": "transient"}
    talk(ada, deployment.candidate, opened=since(deployment, 10), **failed)
    talk(ada, deployment.candidate, opened=since(deployment, 20), **failed)
    talk(eve, deployment.candidate, opened=since(deployment, 70))
    talk(bob, deployment.baseline, opened=since(deployment, 75), **failed)
    talk(bob, deployment.baseline, opened=since(deployment, 80))
    first, second = measure(deployment, at=now()).minutes
    assert (first.stable_turns, first.candidate_first, first.candidate_first_bad[DeploymentMetric.FAILED]) == (0, 1, 1)
    assert (second.stable_turns, second.stable_bad[DeploymentMetric.FAILED]) == (2, 1)
    assert (second.candidate_first, second.candidate_first_bad[DeploymentMetric.FAILED]) == (1, 0)


def test_the_plan_says_share_time_and_traffic(deployment: Deployment) -> None:
    at = deployment.step_started_at + timedelta(seconds=20)
    measured = measure(deployment, at=at)
    assert (measured.share, measured.phases, measured.seconds_left) == (0.25, 2, 40)
    assert (measured.minimum_turns, measured.minimum_users) == (7, 3)
    deployment.state = S.WATCHING
    measured = measure(deployment, at=at)
    assert (measured.share, measured.seconds_left) == (0.95, 580)


def test_slow_and_dear_are_a_tenth_above_what_is_usual_of_the_baseline() -> None:
    demo, ada = agent(), person("ada")
    assert demo.live_release
    at = now() - timedelta(hours=1)
    for number in range(1, 100):
        talk(ada, demo.live_release, opened=at, first_word=number / 10, cost_usd=Decimal(number))
    for purpose in ("staging", "evaluation"):
        talk(ada, demo.live_release, opened=at, purpose=purpose, first_word=900, cost_usd=Decimal(9000))
    reference = measure_reference(demo.live_release.pk)
    assert reference["slow_seconds"] == pytest.approx(9.41 * 1.1)
    assert reference["dear_usd"] == pytest.approx(89.2 * 1.1)


def test_too_few_turns_say_nothing_of_slow_and_dear(deployment: Deployment) -> None:
    candidates = users(deployment, of_candidate=True)
    for user in [person("ada")] * 49:
        talk(user, deployment.baseline, opened=since(deployment, 10), first_word=None, cost_usd=None)
    assert measure_reference(deployment.baseline_id) == {"slow_seconds": None, "dear_usd": None}
    deployment.reference = measure_reference(deployment.baseline_id)
    talk(next(candidates), deployment.candidate, opened=since(deployment, 10), first_word=99, cost_usd=Decimal(99))
    talk(next(candidates), deployment.candidate, opened=since(deployment, 10), first_word=99, cost_usd=Decimal(99))
    bad = arms(deployment)[0].bad_turns
    assert (bad[DeploymentMetric.SLOW], bad[DeploymentMetric.DEAR]) == (0, 0)


def test_who_was_not_divided_by_the_hash_counts_for_neither(deployment: Deployment) -> None:
    """As of somebody who has copied, or moved, a session of the other release."""
    at = since(deployment, 10)
    talk(next(users(deployment, of_candidate=False)), deployment.candidate, opened=at)
    talk(next(users(deployment, of_candidate=True)), deployment.baseline, opened=at)
    assert arms(deployment) == (ArmFigures(), ArmFigures())


def test_the_database_divides_users_as_the_choice_of_a_release_does(deployment: Deployment) -> None:
    everybody = User.objects.bulk_create(User(username=f"u{n}", email=f"u{n}@example.com") for n in range(200))
    for user in everybody:
        is_candidate = gets_candidate(deployment.pk, str(user.pk), 25)
        release = deployment.candidate if is_candidate else deployment.baseline
        talk(user, release, opened=since(deployment, 10))
    assert sum(arm.users for arm in arms(deployment)) == 200
    talk(everybody[0], add_release(deployment.agent), opened=since(deployment, 10))
    assert sum(arm.users for arm in arms(deployment)) == 200


def test_with_much_traffic_a_sample_of_users_stands_for_all(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "_ARM_SESSIONS", 10)
    everybody = User.objects.bulk_create(User(username=f"u{n}", email=f"u{n}@example.com") for n in range(200))
    for user in everybody:
        is_candidate = gets_candidate(deployment.pk, str(user.pk), 25)
        talk(user, deployment.candidate if is_candidate else deployment.baseline, opened=since(deployment, 10))
    measured = measure(deployment, at=now())
    candidates = sum(gets_candidate(deployment.pk, str(user.pk), 25) for user in everybody)
    one_of = (2 ** ceil(log2(candidates / 10)), 2 ** ceil(log2((200 - candidates) / 10)))
    assert measured.share == pytest.approx((25 / one_of[0]) / (25 / one_of[0] + 75 / one_of[1]))
    assert 0 < measured.candidate.users < candidates
    assert 0 < measured.stable.users < 40
    assert (measured.minimum_turns, measured.minimum_users) == (ceil(7 / one_of[0]), ceil(3 / one_of[0]))


def test_a_user_with_very_many_turns_is_read_in_part(deployment: Deployment) -> None:
    ada = next(users(deployment, of_candidate=True))
    for _ in range(25):
        talk(ada, deployment.candidate, opened=since(deployment, 10))
    turn = talk(ada, deployment.candidate, opened=since(deployment, 9))
    for number in range(60):
        past_turn(turn.agent_session, ended_at=since(deployment, 10 + number))
    assert arms(deployment)[0].turns == 19 + 50


def test_one_statement_reads_it(deployment: Deployment, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        measure(deployment, at=now())
