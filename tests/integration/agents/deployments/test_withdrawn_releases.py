"""From the commit that withdraws a release no claim runs it for a user, and its sessions are moved after."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from agents.deployments.session_moves import move_sessions
from agents.domain.deployments import DeploymentState
from agents.domain.session_purposes import SessionPurpose
from agents.models import Agent, AgentSession, Deployment, Release, Turn, WithdrawnRelease
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from tests.support.candidates import add_release, open_deployment, pin, withdraw
from tests.support.conversations import (
    OTHER_RUNNER,
    Conversation,
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    nothing_yet,
    park,
    replayed,
    side_by_side,
    wake,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


class Withdrawal:
    """An agent whose candidate is in canary, and can be withdrawn."""

    def __init__(self) -> None:
        self.ada = conversation()
        agent = Agent.objects.select_related("live_release").get(slug="demo")
        assert agent.live_release
        self.stable: Release = agent.live_release
        self.candidate = add_release(agent)
        self.deployment: Deployment = open_deployment(agent, self.candidate, DeploymentState.CANARY)

    def begin(self, name: str, purpose: SessionPurpose = SessionPurpose.PRODUCTION) -> Conversation:
        """A session on the candidate."""
        one = conversation(name)
        AgentSession.objects.filter(pk=one.session_id).update(release=self.candidate, purpose=purpose)
        return one

    def go_back(self) -> None:
        withdraw(self.deployment)


@pytest.fixture
def case() -> Withdrawal:
    return Withdrawal()


def pins(*sessions: Conversation) -> set[int]:
    """The numbers of the releases that these are pinned to."""
    return {one.row.release.number for one in sessions}


# --- claims ---


@pytest.mark.parametrize("by_age", [False, True])
def test_one_claim_resolves_what_is_pinned_to_a_withdrawn_release_and_nothing_else(
    case: Withdrawal, by_age: bool
) -> None:
    case.ada.ask()
    bob = case.begin("bob")
    bob.ask()
    assert claimed_pins(by_age) == {"ada": case.stable, "bob": case.candidate}, "not before it is withdrawn"
    requeue()
    first, second = case.begin("cyd"), case.begin("dan")
    first.ask()
    second.ask()
    case.go_back()
    assert claimed_pins(by_age) == dict.fromkeys(("ada", "bob", "cyd", "dan"), case.stable)
    assert set(Turn.objects.values_list("release", flat=True)) == {case.stable.pk}
    assert Turn.objects.get(agent_session=bob.session_id).epoch == 2, "also one that had run on the candidate"
    assert bob.log() == ["message.created", "turn.queued", "turn.started", "turn.restarted"]
    assert [first.turn().epoch, second.turn().epoch] == [1, 1]


def claimed_pins(by_age: bool) -> dict[str, Release]:
    """By their users, the releases of the turns that one claim gets."""
    found = claim(10, by_age=by_age)
    assert {one.release_id for one in found} == set(
        Turn.objects.filter(pk__in=[one.turn_id for one in found]).values_list("release", flat=True)
    )
    releases = Release.objects.in_bulk({one.release_id for one in found})
    users = dict(Turn.objects.values_list("id", "user__username"))
    return {users[one.turn_id]: releases[one.release_id] for one in found}


def requeue() -> None:
    """As if the runner of all running turns had died."""
    Turn.objects.filter(status="running").update(status="queued", lease_expires_at=None)
    AgentSession.objects.update(active_turn_id=None)


def test_a_turn_that_runs_ends_on_the_candidate_and_the_next_one_is_on_stable(case: Withdrawal) -> None:
    bob = case.begin("bob")
    bob.asks(2)
    work = claimed()
    case.go_back()
    answer(work)
    following = claimed(runner=OTHER_RUNNER)
    assert (work.release_id, following.release_id) == (case.candidate.pk, case.stable.pk)
    assert [turn.release for turn in bob.turns()] == [case.candidate, case.stable]


def test_a_turn_that_waited_goes_on_with_stable_and_keeps_what_it_has_said(case: Withdrawal) -> None:
    bob = case.begin("bob")
    bob.ask()
    park(claimed())
    case.go_back()
    assert wake(bob.turn())
    work = claimed()
    assert (work.release_id, work.resumed, work.epoch) == (case.stable.pk, True, 2)


@pytest.mark.parametrize("purpose", sorted(set(SessionPurpose) - {SessionPurpose.PRODUCTION}))
def test_builders_keep_a_withdrawn_release_in_their_own_sessions(case: Withdrawal, purpose: SessionPurpose) -> None:
    bob = case.begin("bob", purpose)
    bob.ask()
    case.go_back()
    work = claimed()
    assert (work.release_id, work.purpose) == (case.candidate.pk, purpose)
    assert move_sessions() == 0
    assert pins(bob) == {2}


def test_a_claim_names_the_purpose_of_its_session(case: Withdrawal) -> None:
    case.ada.ask()
    assert claimed().purpose == SessionPurpose.PRODUCTION


def test_a_release_that_is_brought_again_is_resolved_no_more(case: Withdrawal) -> None:
    bob = case.begin("bob")
    bob.ask()
    case.go_back()
    WithdrawnRelease.objects.all().delete()
    assert claimed().release_id == case.candidate.pk


def test_a_withdrawal_that_is_not_committed_is_none_and_no_claim_waits_for_it(case: Withdrawal) -> None:
    bob = case.begin("bob")
    bob.ask()
    with transaction.atomic():
        case.go_back()
        [[work]] = side_by_side(claim)  # type: ignore[misc]
    assert work.release_id == case.candidate.pk


# --- the pins of sessions ---


def test_sessions_are_moved_in_batches_and_those_who_follow_them_learn_it(case: Withdrawal) -> None:
    moved = [case.begin(f"user{number}") for number in range(7)]
    before = moved[0].snapshot()
    assert move_sessions(batch=3) == 0, "nothing is withdrawn"
    case.go_back()
    assert move_sessions(batch=3) == 7
    assert pins(case.ada, *moved) == {1}
    assert [one.log() for one in moved] == [["session.updated"]] * 7
    assert case.ada.log() == []
    after = moved[0].snapshot()
    assert after["session"]["release"] == 1
    assert replayed(moved[0], before) == after
    assert replayed(moved[0], nothing_yet(before["session"])) == after
    assert move_sessions(batch=3) == 0


def test_a_move_among_the_events_of_a_running_turn_tears_no_sequence(case: Withdrawal) -> None:
    bob = case.begin("bob")
    bob.ask()
    work = claimed()
    case.go_back()
    assert move_sessions() == 1
    answer(work)
    assert bob.log() == [
        "message.created", "turn.queued", "turn.started", "session.updated", "message.completed", "turn.completed",
    ]  # fmt: skip


def test_a_process_that_dies_amid_a_move_leaves_whole_batches_and_the_next_does_the_rest(case: Withdrawal) -> None:
    moved = [case.begin(f"user{number}") for number in range(7)]
    case.go_back()
    last = max(one.session_id for one in moved)
    with transaction.atomic():
        with connection.cursor() as cursor:
            # The third batch waits at its events, for a key that somebody else is about to write.
            cursor.execute(
                "INSERT INTO agents_event (agent_session_id, seq, epoch, type, data) VALUES (%s, 1, 0, 'x', '{}')",
                [last],
            )
            dying = Stalled(lambda: move_sessions(batch=3))
            dying.until_it_waits()
            cursor.execute(
                "SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' "
                "AND pg_backend_pid() = ANY (pg_blocking_pids(a.pid))"
            )
            assert cursor.fetchall() == [(True,)]
        assert isinstance(dying.ended(), Exception)
        transaction.set_rollback(True)
    assert AgentSession.objects.filter(release=case.candidate).count() == 1
    assert move_sessions(batch=3) == 1, "its lock has ended with it"
    assert [one.log() for one in moved] == [["session.updated"]] * 7
    assert pins(*moved) == {1}


def test_a_session_that_somebody_writes_is_moved_the_next_time(case: Withdrawal) -> None:
    locked, free = case.begin("bob"), case.begin("cyd")
    case.go_back()
    with transaction.atomic():
        AgentSession.objects.select_for_update(no_key=True).get(pk=locked.session_id)
        assert side_by_side(lambda: move_sessions(latecomer_seconds=0)) == [1]
    assert pins(free) == {1}
    assert WithdrawnRelease.objects.get().moved_at is None
    move_sessions()
    assert pins(locked) == {1}


def test_one_process_moves_at_a_time(case: Withdrawal) -> None:
    case.begin("bob")
    case.go_back()
    with try_advisory_lock(AdvisoryLock.MOVE_SESSIONS):
        assert side_by_side(move_sessions) == [0]
    assert side_by_side(*[move_sessions] * 4).count(1) == 1


def test_a_release_counts_as_moved_only_when_no_older_transaction_can_add_a_session(case: Withdrawal) -> None:
    case.go_back()
    assert move_sessions() == 0
    assert WithdrawnRelease.objects.get().moved_at is None
    late = case.begin("bob")
    move_sessions()
    assert pins(late) == {1}
    move_sessions(latecomer_seconds=0)
    assert WithdrawnRelease.objects.get().moved_at is not None


def test_turns_that_have_ended_keep_the_release_that_made_them(case: Withdrawal) -> None:
    bob = case.begin("bob")
    bob.ask()
    answer(claimed())
    pin(bob.row, case.candidate)
    case.go_back()
    assert move_sessions() == 1
    assert bob.turn().release == case.candidate
