"""The performance monitor at work: what it recommends, how that reaches a runner, and what comes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from accounts.actor import Actor
from accounts.models import AuditEntry, User
from accounts.roles import Role
from agents.models import Runner
from agents.models.runners import finish_action, send_heartbeat, start_action
from foundation.clock import now
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound
from monitoring.models import ApplyMode, ProcessSample, Recommendation, RecommendationKind, RecommendationPolicy
from monitoring.performance.monitor import watch_performance
from monitoring.performance.recommendation_actions import (
    apply_recommendation,
    dismiss_recommendation,
    set_apply_mode,
)
from tests.support.people import person
from tests.support.performance import make_runner, sample

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
CLEANUP, RESTART = RecommendationKind.MEMORY_CLEANUP, RecommendationKind.AGENT_RESTART
REBALANCING = RecommendationKind.LOAD_REBALANCING


def operator() -> Actor:
    user = person("oskar", Role.OPERATOR)
    return Actor.user(user_id=user.pk, name="oskar")


def only(kind: RecommendationKind = CLEANUP) -> Recommendation:
    return Recommendation.objects.get(kind=kind)


def automatic(*kinds: RecommendationKind) -> None:
    for kind in kinds:
        set_apply_mode(SYSTEM, kind=kind, mode=ApplyMode.AUTOMATIC)


def full_runner(host: str = "host-1", memory: float = 78.0, **values: Any) -> Runner:
    runner = make_runner(host, **values)
    sample(runner, memory=memory)
    return runner


def later(minutes: float) -> None:
    """As if everything but the runners' heartbeats had happened so much earlier."""
    gap = timedelta(minutes=minutes)
    ProcessSample.objects.update(at=F("at") - gap)
    Recommendation.objects.update(
        created_at=F("created_at") - gap, decided_at=F("decided_at") - gap, finished_at=F("finished_at") - gap
    )
    Runner.objects.update(started_at=F("started_at") - gap)


def kill(runner: Runner) -> None:
    Runner.objects.filter(pk=runner.pk).update(heartbeat_at=now() - timedelta(hours=1))


def test_what_is_recommended_has_its_evidence_and_is_done_by_a_click() -> None:
    runner = full_runner()
    watch_performance()
    watch_performance()
    row = only()
    assert (row.status, row.subject, row.reason) == ("open", "host-1:1", "memory_high")
    assert row.evidence == [{"figure": "memory", "value": 78.0, "threshold": 70.0, "unit": "%"}]
    assert send_heartbeat(runner.pk, running=2).action is None, "nobody has applied it"

    apply_recommendation(operator(), recommendation_id=row.pk)
    action = send_heartbeat(runner.pk, running=2).action
    assert action is not None
    assert (action.id, action.name) == (row.pk, "free_memory")
    watch_performance()
    assert only().status == "applying"
    assert start_action(runner.pk, action.id)
    assert send_heartbeat(runner.pk, running=2).action is None
    watch_performance()
    assert only().status == "applying"
    finish_action(runner.pk, action.id, "780.0 MiB before, 500.0 MiB after.")
    watch_performance()
    row = only()
    assert (row.status, row.outcome) == ("applied", "780.0 MiB before, 500.0 MiB after.")
    assert (row.automatic, row.decided_by) == (False, User.objects.get(username="oskar"))
    assert row.figures_before["memory_percent"] == 78.0
    assert row.figures_after is None

    later(6)
    sample(runner, memory=50.0, passes=8)
    watch_performance()
    after = only().figures_after
    assert after is not None
    assert (after["memory_percent"], after["mean_seconds"]) == (50.0, 2.0)
    entry = AuditEntry.objects.get(action="recommendation.applied")
    assert (entry.actor, entry.detail["reason"]) == ("oskar", "memory_high")


def test_what_the_operator_has_set_to_automatic_is_done_at_once() -> None:
    full_runner(memory=90.0)
    other = full_runner("host-2", memory=30.0)
    automatic(CLEANUP, RESTART)
    watch_performance()
    assert [row.kind for row in Recommendation.objects.all()] == [RESTART], "who is restarted needs no cleanup"
    row = only(RESTART)
    assert (row.status, row.automatic, row.decided_by) == ("applying", True, None)
    assert Runner.objects.get(pk=row.subject_id).action == "restart"
    assert Runner.objects.get(pk=other.pk).action_id is None
    assert AuditEntry.objects.get(action="recommendation.applied").actor == "system:performance monitor"


def test_a_restart_is_done_when_the_runner_has_ended_and_its_successor_shows_the_effect() -> None:
    runner = full_runner(memory=90.0)
    full_runner("host-2", memory=30.0)
    watch_performance()
    row = apply_recommendation(operator(), recommendation_id=only(RESTART).pk)
    assert start_action(runner.pk, row.pk)
    Runner.objects.filter(pk=runner.pk).update(status=Runner.Status.STOPPED)
    finish_action(runner.pk, row.pk, "It has ended.")
    watch_performance()
    assert (only(RESTART).status, only(RESTART).outcome) == ("applied", "It has ended.")
    later(6)
    watch_performance()
    assert only(RESTART).figures_after is None, "nobody has come in its place"
    successor = make_runner("host-1", pid=2)
    sample(successor, memory=20.0, passes=8)
    watch_performance()
    after = only(RESTART).figures_after
    assert after is not None
    assert after["memory_percent"] == 20.0


@pytest.mark.parametrize("kind", [CLEANUP, RESTART])
@pytest.mark.parametrize("moment", ["before it begins", "in the middle", "before it says so"])
def test_a_runner_that_is_killed_leaves_nothing_open_and_nothing_is_done_twice(
    kind: RecommendationKind, moment: str
) -> None:
    runner = full_runner(memory=78.0 if kind is CLEANUP else 90.0)
    full_runner("host-2", memory=30.0)
    watch_performance()
    row = apply_recommendation(operator(), recommendation_id=only(kind).pk)
    if moment != "before it begins":
        assert start_action(runner.pk, row.pk)
        assert not start_action(runner.pk, row.pk)
    if moment == "before it says so":
        finish_action(runner.pk, row.pk, "Done.")
    kill(runner)
    successor = make_runner("host-1", pid=2)
    watch_performance()
    row = only(kind)
    said = moment == "before it says so"
    assert row.status == ("applied" if said or kind is RESTART else "failed")
    assert row.finished_at is not None
    assert row.outcome
    assert send_heartbeat(successor.pk, running=0).action is None
    watch_performance()
    assert Recommendation.objects.filter(kind=kind).count() == 1


def test_a_monitor_that_died_after_the_click_is_no_reason_to_do_it_twice() -> None:
    runner = full_runner()
    watch_performance()
    row = apply_recommendation(operator(), recommendation_id=only().pk)
    assert start_action(runner.pk, row.pk)
    finish_action(runner.pk, row.pk, "Done.")
    # Nobody looked for an hour.
    later(60)
    watch_performance()
    assert only().status == "applied"
    assert send_heartbeat(runner.pk, running=0).action is None


def test_a_runner_that_does_not_begin_is_not_waited_for_and_does_not_begin_later() -> None:
    runner = full_runner()
    watch_performance()
    row = apply_recommendation(operator(), recommendation_id=only().pk)
    later(3)
    watch_performance()
    assert (only().status, only().outcome) == ("failed", "The runner has not begun in two minutes.")
    assert not start_action(runner.pk, row.pk)
    assert send_heartbeat(runner.pk, running=0).action is None


def test_a_runner_that_never_says_what_came_of_an_action_can_be_restarted() -> None:
    runner, oskar = full_runner(), operator()
    watch_performance()
    row = apply_recommendation(oskar, recommendation_id=only().pk)
    assert start_action(runner.pk, row.pk)
    later(6)
    watch_performance()
    assert (only().status, only().outcome) == ("failed", "The runner began, and has not said what came of it.")
    sample(runner, memory=90.0)
    watch_performance()
    restart = apply_recommendation(oskar, recommendation_id=only(RESTART).pk)
    action = send_heartbeat(runner.pk, running=0).action
    assert action is not None
    assert (action.id, action.name) == (restart.pk, "restart")
    finish_action(runner.pk, row.pk, "Late.")
    assert Runner.objects.get(pk=runner.pk).action_finished_at is None


def test_a_slow_runner_gets_fewer_turns_says_so_and_gets_all_again() -> None:
    runner = make_runner()
    sample(runner, seconds=9.0)
    other = make_runner("host-2")
    sample(other)
    automatic(REBALANCING)
    watch_performance()
    row = only(REBALANCING)
    assert (row.status, row.reason, row.action["claim_limit"]) == ("applying", "slower", 4)
    assert send_heartbeat(runner.pk, running=2).claim_limit == 4
    later(1)
    sample(runner, passes=1, seconds=9.0, turns=80, figures={"claim_limit": 4, "seconds_total": 720.0})
    watch_performance()
    assert (only(REBALANCING).status, only(REBALANCING).outcome) == ("applied", "It has at most 4 turns at a time.")
    ProcessSample.objects.all().delete()
    sample(runner)
    sample(other)
    watch_performance()
    assert send_heartbeat(runner.pk, running=2).claim_limit == 4, "not before a while has passed"
    row = only(REBALANCING)
    row.action["changed_at"] = (now() - timedelta(minutes=6)).isoformat()
    row.save()
    watch_performance()
    assert send_heartbeat(runner.pk, running=2).claim_limit is None
    assert only(REBALANCING).reverted_at is not None
    assert AuditEntry.objects.filter(action="recommendation.reverted").count() == 1


def test_the_limit_of_a_runner_that_is_gone_is_over() -> None:
    runner = make_runner()
    make_runner("host-2")
    Recommendation.objects.create(
        kind=REBALANCING,
        status="applied",
        runner_id=runner.pk,
        subject="host-1:1",
        decided_at=now(),
        finished_at=now(),
        action={"claim_limit": 4, "changed_at": now().isoformat()},
    )
    watch_performance()
    assert only(REBALANCING).reverted_at is None
    kill(runner)
    watch_performance()
    assert only(REBALANCING).reverted_at is not None


def limited_runner() -> Runner:
    """A runner that claims less since a recommendation was applied, and has not said so yet."""
    runner = make_runner()
    sample(runner, seconds=9.0)
    sample(make_runner("host-2"))
    automatic(REBALANCING)
    watch_performance()
    assert send_heartbeat(runner.pk, running=2).claim_limit == 4
    return runner


def test_a_limit_whose_runner_has_not_said_so_in_time_is_taken_back() -> None:
    runner = limited_runner()
    later(3)
    watch_performance()
    assert only(REBALANCING).status == "failed"
    assert send_heartbeat(runner.pk, running=2).claim_limit is None, "nobody would ever raise it"


def test_a_runner_that_was_silent_for_a_while_does_not_keep_its_limit_for_ever() -> None:
    runner = limited_runner()
    later(1)
    sample(runner, passes=1, seconds=9.0, turns=80, figures={"claim_limit": 4, "seconds_total": 720.0})
    watch_performance()
    assert only(REBALANCING).status == "applied"
    kill(runner)
    watch_performance()
    assert only(REBALANCING).reverted_at is not None
    assert send_heartbeat(runner.pk, running=2).claim_limit is None, "it was not dead after all"


def test_a_runner_that_was_silent_while_its_limit_was_new_gets_all_turns_again() -> None:
    runner = limited_runner()
    kill(runner)
    watch_performance()
    assert only(REBALANCING).status == "failed"
    assert send_heartbeat(runner.pk, running=2).claim_limit is None, "it was not dead after all"


def test_only_who_may_applies_and_dismisses_and_only_what_is_open() -> None:
    full_runner()
    watch_performance()
    row = only()
    viewer = Actor.user(user_id=person("vera", Role.VIEWER).pk, name="vera")
    for verb in (apply_recommendation, dismiss_recommendation):
        with pytest.raises(Forbidden):
            verb(viewer, recommendation_id=row.pk)
        with pytest.raises(NotFound):
            verb(SYSTEM, recommendation_id=UUID(int=1))
    dismiss_recommendation(operator(), recommendation_id=row.pk)
    assert only().status == "dismissed"
    for verb in (apply_recommendation, dismiss_recommendation):
        with pytest.raises(Conflict):
            verb(SYSTEM, recommendation_id=row.pk)
    watch_performance()
    assert Recommendation.objects.count() == 1, "a no holds"
    assert AuditEntry.objects.filter(action="recommendation.dismissed").count() == 1


def test_one_runner_restarts_at_a_time_and_one_that_is_gone_does_nothing() -> None:
    full_runner(memory=90.0)
    full_runner("host-2", memory=90.0)
    third = full_runner("host-3", memory=78.0)
    watch_performance()
    first, second = Recommendation.objects.filter(kind=RESTART)
    apply_recommendation(SYSTEM, recommendation_id=first.pk)
    with pytest.raises(Conflict, match="One at a time"):
        apply_recommendation(SYSTEM, recommendation_id=second.pk)
    kill(third)
    with pytest.raises(Conflict, match="gone"):
        apply_recommendation(SYSTEM, recommendation_id=Recommendation.objects.get(kind=CLEANUP, subject="host-3:1").pk)
    watch_performance()
    gone = Recommendation.objects.get(kind=CLEANUP, subject="host-3:1")
    assert (gone.status, gone.outcome) == ("obsolete", "The runner is gone, or takes no more turns.")


def test_who_applies_what_is_set_by_owners_and_audited() -> None:
    with pytest.raises(Forbidden):
        set_apply_mode(operator(), kind=CLEANUP, mode=ApplyMode.AUTOMATIC)
    owner = Actor.user(user_id=person("olga", Role.OWNER).pk, name="olga")
    set_apply_mode(owner, kind=CLEANUP, mode=ApplyMode.SUGGEST)
    assert not AuditEntry.objects.filter(action="recommendation_policy.changed").exists(), "it was so before"
    set_apply_mode(owner, kind=CLEANUP, mode=ApplyMode.OFF)
    assert RecommendationPolicy.objects.get(kind=CLEANUP).mode == "off"
    assert AuditEntry.objects.get(action="recommendation_policy.changed").detail == {"was": "suggest", "mode": "off"}
    with pytest.raises(InvalidInput):
        set_apply_mode(owner, kind=RecommendationKind.CONTEXT_OPTIMIZATION, mode=ApplyMode.AUTOMATIC)
    full_runner()
    watch_performance()
    assert not Recommendation.objects.exists()
