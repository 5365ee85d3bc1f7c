"""What operators do to the turns of others: nothing is lost, nothing is answered twice, and the trail says who."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.serialization import retry_suggested
from agents.domain.states import MAX_ATTEMPTS_WITHOUT_PROGRESS
from agents.journal import fenced_writes
from agents.journal.fenced_writes import FinishedTurn, LostTurn
from agents.journal.locked_writes import lock_session
from agents.models import AgentSession, Turn
from agents.runner.reaper import reap
from agents.sessions import (
    DoesNotApply,
    SessionQueueFull,
    cancel_any_turn,
    fail_turn,
    requeue_turn,
    retry_turn,
)
from foundation.errors import Forbidden, InvalidInput, NotFound
from foundation.ids import new_id
from tests.support.conversations import (
    Conversation,
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    done,
    fail,
    lease_is_over,
    replayed,
    say,
    side_by_side,
    tool_intent,
)
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

ON_TURNS: list[Callable[..., Turn]] = [cancel_any_turn, retry_turn, requeue_turn, fail_turn]


@pytest.fixture
def olga() -> Actor:
    return user_actor(person("olga", Role.OPERATOR))


def asked(count: int = 1) -> Conversation:
    ada = conversation()
    ada.asks(count)
    return ada


def trail() -> list[tuple[str, str, Any]]:
    return [
        (entry.actor, entry.action, entry.detail) for entry in AuditEntry.objects.filter(actor="olga").order_by("id")
    ]


# --- who may ---


@pytest.mark.parametrize("verb", ON_TURNS)
@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER, Role.BUILDER])
def test_who_is_no_operator_is_refused_even_on_turns_of_their_own(verb: Any, role: Role) -> None:
    actor = user_actor(person("ada", role))
    ada = conversation("ada")
    ada.ask()
    with pytest.raises(Forbidden):
        verb(actor, turn_id=ada.turn().pk)
    assert (ada.statuses(), AuditEntry.objects.filter(actor="ada").count()) == (["queued"], 0)


@pytest.mark.parametrize("verb", ON_TURNS)
def test_a_turn_that_is_not_there_is_not_found(verb: Any, olga: Actor) -> None:
    with pytest.raises(NotFound):
        verb(olga, turn_id=new_id())


# --- cancel ---


def test_an_operator_stops_a_turn_of_somebody_and_the_trail_says_so(olga: Actor) -> None:
    ada = asked(2)
    work = claimed()
    first, second = ada.turns()
    assert cancel_any_turn(olga, turn_id=first.pk).status == "cancelling"
    assert cancel_any_turn(olga, turn_id=first.pk).status == "cancelling"
    assert cancel_any_turn(olga, turn_id=second.pk).status == "cancelled"
    fenced_writes.finish(work, _cancelled(work))
    assert cancel_any_turn(olga, turn_id=first.pk).status == "cancelled"
    assert [(action, detail["was"]) for _, action, detail in trail()] == [
        ("turn.cancelled", "running"),
        ("turn.cancelled", "queued"),
    ]


def _cancelled(work: Any) -> Any:
    from agents.domain.states import TurnStatus
    from tests.support.conversations import ending

    return ending(work, TurnStatus.CANCELLED)


# --- retry ---


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
def test_a_retry_asks_the_same_question_in_a_branch_beside_the_first(olga: Actor, end: str) -> None:
    ada = conversation()
    ada.ask("Before")
    answer(claimed(), "Yes")
    ada.ask("What now?")
    broken = ada.turns()[1]
    if end == "cancelled":
        cancel_any_turn(olga, turn_id=broken.pk)
    elif end == "failed":
        fail(claimed(), text="Hal")
    else:
        Turn.objects.filter(pk=broken.pk).update(deadline_at="2000-01-01T00:00:00Z")
        reap()
    earlier = ada.snapshot()
    again = retry_turn(olga, turn_id=broken.pk)
    assert (again.status, again.agent_session_id, again.user_id) == ("queued", ada.session_id, ada.actor.user_id)
    old, new = [
        message for message in ada.messages() if message.author == "user" and message.turn_id != ada.turns()[0].pk
    ]
    assert (new.parts, new.parent_id, new.turn_id) == (old.parts, old.parent_id, again.pk)
    assert ada.row.head_message_id == new.pk
    assert ada.log()[-2:] == ["message.created", "turn.queued"]
    answer(claimed(), "This.")
    assert ada.statuses() == ["completed", end, "completed"]
    assert replayed(ada, earlier) == ada.snapshot()
    assert trail()[-1] == ("olga", "turn.retried", {"was": end, "new_turn": str(again.pk)})


def test_a_users_own_key_is_never_taken_for_a_retry(olga: Actor) -> None:
    ada = asked()
    fail(claimed())
    broken = ada.turn().pk
    own = ada.ask("Something else", key=f"retry-{broken}")
    answer(claimed())
    again = retry_turn(olga, turn_id=broken)
    assert again.pk != own.turn_id
    with pytest.raises(InvalidInput):
        ada.ask("Something else", key=again.idempotency_key)


def test_a_turn_is_retried_once_and_who_comes_second_is_told(olga: Actor) -> None:
    ada = asked()
    fail(claimed())
    broken = ada.turn().pk
    made = side_by_side(*[lambda: retry_turn(olga, turn_id=broken)] * 4)
    assert sorted(type(one).__name__ for one in made) == ["DoesNotApply"] * 3 + ["Turn"]
    with pytest.raises(DoesNotApply, match="asked again before"):
        retry_turn(olga, turn_id=broken)
    assert ada.statuses() == ["failed", "queued"]
    assert len(trail()) == 1


def test_what_the_client_asked_for_goes_along_with_a_retry(olga: Actor) -> None:
    ada = asked()
    Turn.objects.update(client_options={"tools": []})
    fail(claimed())
    assert retry_turn(olga, turn_id=ada.turn().pk).client_options == {"tools": []}


@pytest.mark.parametrize("state", ["queued", "running", "completed"])
def test_what_is_open_or_was_answered_is_not_retried(olga: Actor, state: str) -> None:
    ada = asked()
    if state != "queued":
        work = claimed()
        if state == "completed":
            answer(work)
    with pytest.raises(DoesNotApply):
        retry_turn(olga, turn_id=ada.turn().pk)
    assert (ada.statuses(), trail()) == ([state], [])


def test_a_retry_waits_for_no_room_and_disturbs_no_person_who_answers(olga: Actor, settings: Any) -> None:
    ada = asked()
    fail(claimed())
    broken = ada.turn().pk
    AgentSession.objects.update(controller="human")
    with pytest.raises(DoesNotApply):
        retry_turn(olga, turn_id=broken)
    AgentSession.objects.update(controller="agent")
    ada.asks(settings.BANDSTAND.queue_depth)
    with pytest.raises(SessionQueueFull):
        retry_turn(olga, turn_id=broken)


# --- requeue ---


def test_a_requeued_turn_is_lost_for_its_runner_and_answered_once_by_the_next(olga: Actor) -> None:
    ada = asked()
    earlier = ada.snapshot()
    old = claimed()
    say(old, "Hal")
    turn = requeue_turn(olga, turn_id=old.turn_id)
    assert (turn.status, turn.attempts_without_progress, turn.lease_expires_at) == ("queued", 1, None)
    for late in (lambda: say(old, "lo"), lambda: answer(old), lambda: fenced_writes.advance(old, outcomes=[done(1)])):
        with pytest.raises(LostTurn):
            late()
    new = claimed()
    assert new.epoch == 2
    with pytest.raises(LostTurn):
        answer(old, "From the grave")
    answer(new, "Hello")
    assert ada.said() == [("user", "Question 1"), ("agent", "Hello")]
    assert ada.log()[4:] == ["turn.queued", "turn.restarted", "message.completed", "turn.completed"]
    assert replayed(ada, earlier) == ada.snapshot()
    [(_, action, detail)] = trail()
    assert (action, detail["was"], detail["epoch"]) == ("turn.requeued", "running", 1)


def test_a_turn_that_hangs_each_time_ends_by_itself_however_it_is_taken_away(olga: Actor) -> None:
    ada = asked()
    for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS):
        requeue_turn(olga, turn_id=claimed().turn_id)
    lease_is_over(claimed().turn_id)
    reap()
    assert (ada.turn().status, ada.turn().error_class) == ("failed", "worker_crashed")


def test_a_step_of_progress_after_a_requeue_gives_all_attempts_back(olga: Actor) -> None:
    ada = asked()
    requeue_turn(olga, turn_id=claimed().turn_id)
    fenced_writes.advance(claimed(), outcomes=[done(1)], intents=[tool_intent(2)])
    assert ada.turn().attempts_without_progress == 0


@pytest.mark.parametrize("state", ["queued", "cancelling", "completed"])
def test_only_what_runs_or_waits_is_requeued(olga: Actor, state: str) -> None:
    ada = asked()
    if state != "queued":
        work = claimed()
        _ = answer(work) if state == "completed" else cancel_any_turn(Actor.system("tests"), turn_id=work.turn_id)
    with pytest.raises(DoesNotApply):
        requeue_turn(olga, turn_id=ada.turn().pk)
    assert (ada.statuses(), trail()) == ([state], [])


def test_an_answer_and_a_requeue_at_once_leave_one_answer(olga: Actor) -> None:
    for number in range(8):
        ada = conversation(f"user{number}")
        ada.ask()
        work = claimed()
        ended, taken = side_by_side(
            lambda work=work: answer(work),  # type: ignore[misc]
            lambda work=work: requeue_turn(olga, turn_id=work.turn_id),  # type: ignore[misc]
        )
        if isinstance(ended, FinishedTurn):
            assert isinstance(taken, DoesNotApply)
        else:
            assert isinstance(ended, LostTurn)
            answer(claimed())
        assert ada.statuses() == ["completed"]
        assert [author for author, _ in ada.said()] == ["user", "agent"]
        assert ada.row.open_turns == 0
        ada.log()


# --- fail turn ---


@pytest.mark.parametrize("running", [False, True])
def test_a_turn_failed_by_an_operator_lets_its_session_go_on(olga: Actor, running: bool) -> None:
    ada = asked(2)
    earlier = ada.snapshot()
    work = claimed()
    say(work, "Hal")
    if not running:
        requeue_turn(Actor.system("tests"), turn_id=work.turn_id)
    ended = fail_turn(olga, turn_id=work.turn_id)
    assert (ended.status, ended.error_class) == ("failed", "set_aside")
    assert ended.error_id
    assert not retry_suggested("set_aside")
    with pytest.raises(LostTurn):
        answer(work)
    assert ada.said()[-1] == ("agent", "Hal")
    assert ada.messages()[-1].partial
    assert ada.events()[-1].data["error"]["error_id"] == str(ended.error_id)
    answer(claimed(), "Hello")
    assert ada.statuses() == ["failed", "completed"]
    assert ada.row.open_turns == 0
    assert replayed(ada, earlier) == ada.snapshot()
    assert [action for _, action, _ in trail()] == ["turn.failed_by_operator"]


def test_failing_a_turn_that_was_to_stop_cancels_it(olga: Actor) -> None:
    ada = asked()
    work = claimed()
    cancel_any_turn(Actor.system("tests"), turn_id=work.turn_id)
    assert fail_turn(olga, turn_id=work.turn_id).status == "cancelled"
    with pytest.raises(LostTurn):
        answer(work)
    assert (ada.row.open_turns, claim()) == (0, [])


def test_what_has_ended_is_not_failed(olga: Actor) -> None:
    ada = asked()
    answer(claimed())
    with pytest.raises(DoesNotApply):
        fail_turn(olga, turn_id=ada.turn().pk)
    assert trail() == []


def test_a_claim_and_setting_aside_at_once_leave_the_turn_failed(olga: Actor) -> None:
    for number in range(8):
        ada = conversation(f"user{number}")
        ada.ask()
        turn_id = ada.turn().pk
        won, _ = side_by_side(claim, lambda turn_id=turn_id: fail_turn(olga, turn_id=turn_id))  # type: ignore[misc]
        assert isinstance(won, list)
        for late in won:
            with pytest.raises(LostTurn):
                answer(late)
        assert (ada.statuses(), ada.row.open_turns, ada.row.active_turn_id) == (["failed"], 0, None)
        ada.log()


def test_an_act_that_waited_for_the_runners_commit_judges_what_it_left(olga: Actor) -> None:
    ada = asked()
    work = claimed()
    with transaction.atomic():
        lock_session(ada.session_id)
        late = Stalled(lambda: fail_turn(olga, turn_id=work.turn_id))
        late.until_it_waits()
        answer(work)
    assert isinstance(late.ended(), DoesNotApply)
    assert (ada.statuses(), trail()) == (["completed"], [])
