"""Claims: who may work on what, in which order, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from agents.domain.states import Priority, WaitReason
from agents.journal import claims
from agents.journal.claims import Claim, cancelling_turns, renew
from agents.journal.listen_connection import open_listen_connection
from agents.journal.locked_writes import lock_session
from agents.models import AgentSession, Release, Step, Turn
from agents.sessions import cancel_turn
from foundation.ids import new_id
from tests.support.conversations import (
    OTHER_RUNNER,
    RUNNER,
    Conversation,
    answer,
    claim,
    claimed,
    conversation,
    lease_is_over,
    park,
    say,
    side_by_side,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


def names(found: list[Claim]) -> list[str]:
    """Whose turns they are, and which."""
    users = dict(Turn.objects.values_list("id", "agent_session__user__username"))
    return [f"{users[one.turn_id]}" for one in found]


def user(name: str, *, sessions: int, **options: Any) -> list[Conversation]:
    """A person with one queued turn in each of so many sessions."""
    made = [conversation(name) for _ in range(sessions)]
    for one in made:
        one.ask(**options)
    return made


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


# --- what a claim does ---


def test_a_claim_makes_the_turn_its_runner_s() -> None:
    ada = conversation()
    accepted = ada.ask()
    before = database_now()
    work = claimed()
    turn, session = ada.turn(), ada.row
    assert work == Claim(
        accepted.turn_id,  # type: ignore[arg-type]
        ada.session_id,
        session.release_id,
        epoch=1,
        user_id=session.user_id,
        remaining_seconds=work.remaining_seconds,
    )
    assert 3590 < work.remaining_seconds <= 3600
    assert (turn.status, turn.epoch, turn.runner_id, turn.available_at) == ("running", 1, RUNNER, None)
    assert turn.lease_expires_at
    assert turn.started_at
    assert before + timedelta(seconds=15) <= turn.lease_expires_at <= database_now() + timedelta(seconds=15)
    assert (session.active_turn_id, session.active_epoch, session.open_turns) == (turn.pk, 1, 1)
    assert ada.log() == ["message.created", "turn.queued", "turn.started"]
    assert ada.events()[-1].data["epoch"] == 1


def test_the_intent_of_the_first_model_call_commits_with_the_claim() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    step = Step.objects.get()
    assert (step.turn_id, step.number, step.kind, step.status, step.epoch) == (work.turn_id, 1, "model", "intent", 1)
    assert (step.name, step.idempotent, step.details) == ("", True, {})


def test_a_second_claim_has_the_next_epoch_and_no_second_intent() -> None:
    ada = conversation()
    ada.ask()
    first = claimed()
    started_at = ada.turn().started_at
    Turn.objects.update(status="queued", lease_expires_at=None)
    AgentSession.objects.update(active_turn_id=None)
    second = claimed(runner=OTHER_RUNNER)
    assert (first.epoch, second.epoch) == (1, 2)
    assert ada.turn().started_at == started_at, "the turn's time began with its first claim"
    assert ada.log()[2:] == ["turn.started", "turn.restarted"]
    assert Step.objects.count() == 1


def test_a_session_s_turns_are_claimed_one_after_the_other() -> None:
    ada = conversation()
    first, second, third = (accepted.turn_id for accepted in ada.asks(3))
    work = claimed()
    assert work.turn_id == first
    assert claim(10) == []
    answer(work)
    work = claimed()
    assert work.turn_id == second
    cancel_turn(ada.actor, turn_id=work.turn_id)
    assert claim(10) == [], "a turn that is being stopped still owns the session"
    answer(work)
    assert claimed().turn_id == third


@pytest.mark.parametrize("reason", [None, WaitReason.APPROVAL])
def test_a_turn_that_waits_keeps_its_place(reason: WaitReason | None) -> None:
    ada = conversation()
    ada.asks(2)
    park(claimed(), reason)
    assert claim(10) == []


def test_a_turn_past_its_deadline_is_left_to_the_reaper() -> None:
    ada = conversation()
    ada.ask()
    Turn.objects.update(deadline_at=datetime(2000, 1, 1, tzinfo=UTC))
    assert claim() == []


def test_nothing_to_do_is_nothing() -> None:
    assert claim(10) == []
    conversation()
    assert claim(10) == []


def test_no_more_are_claimed_than_asked_for() -> None:
    user("ada", sessions=3)
    user("bob", sessions=3)
    assert len(claim(2, running_per_user=10)) == 2
    assert len(claim(10, running_per_user=10)) == 4


# --- order ---


def test_interactive_turns_come_before_background_ones() -> None:
    user("ada", sessions=2, priority=Priority.BACKGROUND)
    user("bob", sessions=2)
    assert sorted(names(claim(2, running_per_user=10))) == ["bob", "bob"]
    assert sorted(names(claim(2, running_per_user=10))) == ["ada", "ada"]


def test_background_turns_that_waited_long_go_by_their_age(monkeypatch: pytest.MonkeyPatch) -> None:
    user("ada", sessions=2, priority=Priority.BACKGROUND)
    user("bob", sessions=2)
    # They stand behind interactive ones of the same person, too.
    user("cyd", sessions=1, priority=Priority.BACKGROUND)
    user("cyd", sessions=3)
    monkeypatch.setattr(claims, "BACKGROUND_PATIENCE", timedelta(seconds=-1))
    assert sorted(names(claim(3, running_per_user=1, by_age=True))) == ["ada", "bob", "cyd"]
    running = Turn.objects.filter(status="running")
    assert set(running.values_list("user__username", "priority")) == {("ada", 10), ("bob", 0), ("cyd", 10)}


def test_a_claim_says_how_urgent_its_turn_is(monkeypatch: pytest.MonkeyPatch) -> None:
    user("ada", sessions=2, priority=Priority.BACKGROUND)
    user("bob", sessions=1)
    assert {one.priority for one in claim(2, running_per_user=1)} == {Priority.INTERACTIVE, Priority.BACKGROUND}
    monkeypatch.setattr(claims, "BACKGROUND_PATIENCE", timedelta(seconds=-1))
    assert [one.priority for one in claim(1, running_per_user=2, by_age=True)] == [Priority.INTERACTIVE]


def test_the_oldest_of_a_user_s_turns_comes_first() -> None:
    made = user("ada", sessions=3)
    order = [claimed_one.session_id for _ in range(3) for claimed_one in claim(1, running_per_user=10)]
    assert order == [one.session_id for one in made]


def test_users_take_turns_however_many_turns_one_has() -> None:
    user("ada", sessions=4)
    user("bob", sessions=1)
    user("cyd", sessions=2)
    order = [names(claim(1, running_per_user=10))[0] for _ in range(7)]
    assert order[:3] == ["ada", "bob", "cyd"]
    assert order[3:] == ["ada", "cyd", "ada", "ada"]


def test_what_a_user_runs_already_counts_against_the_next_turn() -> None:
    user("ada", sessions=3)
    assert names(claim(2, running_per_user=10)) == ["ada", "ada"]
    user("bob", sessions=2)
    assert names(claim(2, running_per_user=10)) == ["bob", "bob"]
    assert names(claim(2, running_per_user=10)) == ["ada"]


def test_a_batch_is_fair_too() -> None:
    user("ada", sessions=6)
    user("bob", sessions=2)
    assert sorted(names(claim(4, running_per_user=10))) == ["ada", "ada", "bob", "bob"]


def test_a_user_runs_no_more_than_the_limit() -> None:
    sessions = user("ada", sessions=5)
    user("bob", sessions=1)
    found = claim(10, running_per_user=2)
    assert sorted(names(found)) == ["ada", "ada", "bob"]
    assert claim(10, running_per_user=2) == []
    answer(next(one for one in found if one.session_id == sessions[0].session_id))
    assert names(claim(10, running_per_user=2)) == ["ada"]


# --- several runners ---


def test_runners_that_claim_at_the_same_moment_share_the_work() -> None:
    for name in ("ada", "bob", "cyd", "dan"):
        user(name, sessions=2)
    outcomes = side_by_side(*[lambda n=n: claim(2, runner=UUID(int=n)) for n in range(1, 7)])
    won = [(one.turn_id, one.epoch) for outcome in outcomes for one in outcome]  # type: ignore[union-attr]
    assert len(won) == len(set(won)), "no turn twice"
    while more := claim(10, running_per_user=10):
        won += [(one.turn_id, one.epoch) for one in more]
    assert sorted(won) == sorted(Turn.objects.values_list("id", "epoch"))
    assert set(Turn.objects.values_list("epoch", flat=True)) == {1}
    assert Step.objects.count() == 8


def test_one_turn_and_many_runners_make_one_claim() -> None:
    ada = conversation()
    ada.ask()
    outcomes = side_by_side(*[lambda n=n: claim(1, runner=UUID(int=n)) for n in range(1, 9)])
    assert sum(len(outcome) for outcome in outcomes) == 1  # type: ignore[arg-type, misc]
    assert ada.log() == ["message.created", "turn.queued", "turn.started"]


def test_a_session_that_somebody_writes_is_skipped_not_waited_for() -> None:
    [locked, free] = user("ada", sessions=2)
    with transaction.atomic():
        lock_session(locked.session_id)
        [outcome] = side_by_side(lambda: claim(10))
    assert [one.session_id for one in outcome] == [free.session_id]  # type: ignore[union-attr]
    assert claimed().session_id == locked.session_id


def test_a_claim_works_on_a_connection_outside_the_pool() -> None:
    ada = conversation()
    ada.ask()
    with open_listen_connection() as direct:
        [work] = claims.claim(runner_id=RUNNER, limit=1, running_per_user=3, lease_seconds=15, on=direct)
        assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15, on=direct) == {work.turn_id: 1}
        assert cancelling_turns([work.turn_id], on=direct) == []
    with pytest.raises(psycopg.OperationalError):
        cancelling_turns([work.turn_id], on=direct)


# --- leases ---


def test_a_renewal_extends_the_leases_that_are_still_one_s_own() -> None:
    [first, second] = user("ada", sessions=2)
    mine, other = claimed_pair()
    lease_is_over(mine.turn_id)
    renewed = renew(runner_id=RUNNER, turns=[mine.turn_id, other.turn_id, new_id()], lease_seconds=60)
    assert renewed == {mine.turn_id: 1}
    lease = Turn.objects.get(pk=mine.turn_id).lease_expires_at
    assert lease
    assert lease > database_now() + timedelta(seconds=55)
    assert {first.session_id, second.session_id} == {mine.session_id, other.session_id}


def claimed_pair() -> tuple[Claim, Claim]:
    [mine] = claim(1)
    return mine, claimed(runner=OTHER_RUNNER)


def test_nothing_that_has_ended_or_waits_is_renewed() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    cancel_turn(ada.actor, turn_id=work.turn_id)
    assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15) == {work.turn_id: 1}, "it still works"
    answer(work)
    assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15) == {}


def test_a_renewal_tells_which_epoch_is_running() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    Turn.objects.update(status="queued", lease_expires_at=None)
    AgentSession.objects.update(active_turn_id=None)
    assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15) == {}
    claimed()
    assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15) == {work.turn_id: 2}


def test_a_renewal_does_not_wait_for_the_session_s_lock() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    with transaction.atomic():
        lock_session(ada.session_id)
        [renewed] = side_by_side(lambda: renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15))
    assert renewed == {work.turn_id: 1}


def test_a_runner_learns_which_of_its_turns_are_to_stop() -> None:
    [ada, _] = user("ada", sessions=2)
    found = claim(2)
    assert cancelling_turns([one.turn_id for one in found]) == []
    cancel_turn(ada.actor, turn_id=ada.turn().pk)
    assert cancelling_turns([one.turn_id for one in found]) == [ada.turn().pk]
    assert cancelling_turns([]) == []


def test_the_work_of_a_turn_is_that_of_its_session_s_release() -> None:
    ada = conversation()
    ada.ask()
    agent = ada.row.agent
    newer = Release.objects.create(agent=agent, number=2, configuration={"schema": 1, "model_chain": ["openai:newer"]})
    type(agent).objects.update(live_release=newer)
    work = claimed()
    assert work.release_id == ada.row.release_id != newer.pk
    say(work, "still here")
