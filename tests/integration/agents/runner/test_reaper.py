"""What becomes of turns that nobody cares for any more, and of those that are given back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from accounts.actor import Actor, Scope
from agents.domain.configuration import AgentConfiguration
from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.serialization import message_shape, retry_suggested
from agents.domain.states import MAX_ATTEMPTS_WITHOUT_PROGRESS, StepKind, StepStatus, WaitReason
from agents.domain.usage import BilledUsage, format_usd
from agents.journal import fenced_writes
from agents.journal.claims import renew
from agents.journal.fenced_writes import Intent, NewEvent, StepOutcome
from agents.journal.locked_writes import lock_session
from agents.models import Agent, Release, Step, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn
from agents.tasks import reap as scheduled_reap
from foundation.errors import Forbidden, NotFound, Unauthenticated
from foundation.ids import new_id
from tests.support.conversations import (
    OTHER_RUNNER,
    RUNNER,
    Conversation,
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    done,
    lease_is_over,
    park,
    say,
    side_by_side,
    tool_intent,
    wait_is_over,
)
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")

WAITS = [None, *WaitReason]
PAST = datetime(2000, 1, 1, tzinfo=UTC)


def asked(count: int = 1) -> Conversation:
    ada = conversation()
    ada.asks(count)
    return ada


# --- lost leases ---


def test_a_lost_lease_gives_the_turn_back_and_counts_it() -> None:
    ada = asked()
    work = claimed()
    lease_is_over(work.turn_id)
    assert reap() == 1
    turn, session = ada.turn(), ada.row
    assert (turn.status, turn.attempts_without_progress, turn.lease_expires_at) == ("queued", 1, None)
    assert (session.active_turn_id, session.open_turns) == (None, 1)
    assert ada.log()[3:] == ["turn.queued"]
    assert ada.events()[-1].data == {"reason": "lease_lost"}
    assert reap() == 0
    assert claimed().epoch == 2


def test_a_lease_that_still_runs_is_left_alone() -> None:
    ada = asked()
    claimed()
    assert reap() == 0
    assert ada.turn().status == "running"


@pytest.mark.parametrize("by", [reap, scheduled_reap])
def test_the_fourth_lost_lease_without_progress_fails_the_turn(by: Any) -> None:
    ada = asked()
    for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS + 1):
        assert ada.turn().status == "queued"
        lease_is_over(claimed().turn_id)
        assert by() == 1
    turn = ada.turn()
    assert (turn.status, turn.error_class, turn.epoch) == ("failed", "worker_crashed", 4)
    assert turn.error_id
    assert turn.finished_at
    assert ada.row.open_turns == 0
    error = ada.events()[-1].data["error"]
    assert error == {
        "error_class": "worker_crashed",
        "detail": turn.error_detail,
        "error_id": str(turn.error_id),
        "retry_suggested": retry_suggested("worker_crashed"),
    }
    assert claim() == []


def test_a_step_of_progress_gives_the_turn_all_its_attempts_again() -> None:
    ada = asked()
    for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS):
        lease_is_over(claimed().turn_id)
        reap()
    work = claimed()
    fenced_writes.advance(work, outcomes=[done(1)])
    lease_is_over(work.turn_id)
    reap()
    assert (ada.turn().status, ada.turn().attempts_without_progress) == ("queued", 1)


def lose_with_tool(number: int) -> None:
    """Claim the turn, begin a tool call, and die."""
    work = claimed()
    fenced_writes.advance(work, outcomes=[done(number)], intents=[tool_intent(number + 1, f"call_{number}")])
    lease_is_over(work.turn_id)
    assert reap() == 1


def test_the_second_runner_that_is_lost_while_a_tool_runs_fails_the_turn_whatever_its_progress() -> None:
    ada = asked()
    lose_with_tool(1)
    turn = ada.turn()
    assert (turn.status, turn.tool_stalls, turn.attempts_without_progress) == ("queued", 1, 1)

    work = claimed()
    unknown = StepOutcome(2, StepStatus.UNKNOWN, {"content": "?", "is_error": True})
    fenced_writes.advance(work, outcomes=[unknown], intents=[Intent(3, StepKind.MODEL)])
    lease_is_over(work.turn_id)
    reap()
    assert (ada.turn().status, ada.turn().tool_stalls) == ("queued", 1), "a model's answer is no tool"

    lose_with_tool(3)
    turn = ada.turn()
    assert (turn.status, turn.error_class, turn.tool_stalls, turn.epoch) == ("failed", "tool_stalled", 2, 3)
    assert ada.events()[-1].data["error"]["error_class"] == "tool_stalled"
    assert Step.objects.get(turn=turn, number=4).status == StepStatus.UNKNOWN
    assert claim() == []


def test_a_tool_that_was_only_left_open_by_an_earlier_claim_is_not_blamed() -> None:
    ada = asked()
    lose_with_tool(1)
    work = claimed()
    lease_is_over(work.turn_id)
    reap()
    assert (ada.turn().status, ada.turn().tool_stalls) == ("queued", 1), "it had not been tried again"

    work = claimed()
    fenced_writes.reopen(work, [2])
    lease_is_over(work.turn_id)
    reap()
    assert (ada.turn().status, ada.turn().error_class) == ("failed", "tool_stalled")


def test_a_turn_that_is_to_be_cancelled_is_cancelled_however_it_lost_its_runner() -> None:
    ada = asked()
    lose_with_tool(1)
    work = claimed()
    fenced_writes.reopen(work, [2])
    cancel_turn(ada.actor, turn_id=work.turn_id)
    lease_is_over(work.turn_id)
    reap()
    assert (ada.turn().status, ada.turn().error_class) == ("cancelled", "")


def test_steps_are_reopened_by_their_owner_only() -> None:
    asked()
    work = claimed()
    fenced_writes.advance(work, outcomes=[done(1)], intents=[tool_intent(2)])
    lease_is_over(work.turn_id)
    reap()
    claimed()
    with pytest.raises(fenced_writes.LostTurn):
        fenced_writes.reopen(work, [2])
    assert Step.objects.get(turn_id=work.turn_id, number=2).epoch == work.epoch


def test_one_poisonous_turn_blocks_only_its_own_session() -> None:
    ada, bob = asked(), conversation("bob")
    lease_is_over(claimed().turn_id)
    bob.ask()
    reap()
    answer(next(work for work in claim(2) if work.session_id == bob.session_id))
    assert (ada.statuses(), bob.statuses()) == (["running"], ["completed"])


def test_a_lost_turn_that_was_to_stop_is_stopped_with_the_text_that_was_shown() -> None:
    ada = asked()
    work = claimed()
    say(work, "Hel", "lo")
    fenced_writes.append(work, [NewEvent("tool.started", {"call_id": "a", "name": "clock", "arguments": "{}"})])
    fenced_writes.append(work, [NewEvent("tool.failed", {"call_id": "a", "name": "clock", "content": "broken"})])
    stop(ada)
    lease_is_over(work.turn_id)
    assert reap() == 1
    assert ada.turn().status == "cancelled"
    said = ada.messages()[-1]
    assert (said.author, said.partial, said.turn_id) == ("agent", True, work.turn_id)
    assert said.parts == [
        text_part("Hello"),
        tool_call_part(call_id="a", name="clock", arguments="{}"),
        tool_result_part(call_id="a", content="broken", is_error=True),
    ]
    assert (said.parent_id, ada.row.head_message_id) == (ada.messages()[0].pk, said.pk)
    assert ada.log()[-3:] == ["turn.cancelling", "message.completed", "turn.cancelled"]
    assert ada.events()[-2].data == {"message": message_shape(said)}


def test_no_step_of_an_ended_turn_stays_open() -> None:
    ada = asked()
    work = claimed()
    idempotent = Intent(3, StepKind.TOOL, "clock", "call_2", idempotent=True, request="{}")
    fenced_writes.advance(work, outcomes=[done(1)], intents=[tool_intent(2), idempotent])
    stop(ada)
    lease_is_over(work.turn_id)
    assert reap() == 1
    steps = Step.objects.filter(turn=work.turn_id).order_by("number")
    assert [(step.status, step.error_class) for step in steps] == [
        ("done", ""), ("unknown", "cancelled"), ("failed", "cancelled"),
    ]  # fmt: skip
    assert {step.finished_at for step in steps[1:]} == {ada.turn().finished_at}


def test_only_what_the_last_epoch_showed_is_kept() -> None:
    ada = asked()
    work = claimed()
    say(work, "first try")
    lease_is_over(work.turn_id)
    reap()
    work = claimed()
    say(work, "second")
    stop(ada)
    lease_is_over(work.turn_id)
    reap()
    assert ada.messages()[-1].parts == [text_part("second")]


def test_what_a_lost_turn_used_is_not_forgotten_at_its_end() -> None:
    ada = asked()
    work = claimed()
    call = StepOutcome(1, StepStatus.DONE, {"text": "", "tool_calls": []}, usage=BilledUsage(3, 5, Decimal("0.5")))
    fenced_writes.advance(work, outcomes=[call])
    stop(ada)
    lease_is_over(work.turn_id)
    reap()
    assert (ada.turn().input_tokens, ada.turn().output_tokens, ada.turn().cost_usd) == (3, 5, Decimal("0.5"))
    assert ada.events()[-1].data["usage"]["cost_usd"] == "0.50000000"


@pytest.mark.parametrize(
    ("chain", "cost"),
    [
        (["openai:small"], None),
        (["offline:", "openai:small"], None),
        (["offline:"], Decimal(0)),
        (["offline:", "offline:any"], Decimal(0)),
    ],
)
def test_a_call_that_died_with_its_runner_costs_nobody_knows_what(chain: list[str], cost: Decimal | None) -> None:
    demo = agent()
    configuration = AgentConfiguration(model_chain=tuple(chain)).dump()
    Agent.objects.update(live_release=Release.objects.create(agent=demo, number=2, configuration=configuration))
    ada = asked()
    work = claimed()
    assert Step.objects.get().name == ""
    stop(ada)
    lease_is_over(work.turn_id)
    reap()
    turn = ada.turn()
    assert (turn.input_tokens, turn.output_tokens, turn.cost_usd) == (None, None, cost)
    usage = ada.events()[-1].data["usage"]
    assert usage == {"input_tokens": None, "output_tokens": None, "cost_usd": format_usd(cost)}


def test_a_session_that_somebody_writes_is_looked_at_in_the_next_pass() -> None:
    ada = asked()
    lease_is_over(claimed().turn_id)
    with transaction.atomic():
        lock_session(ada.session_id)
        assert side_by_side(reap) == [0]
    assert reap() == 1


def test_a_lease_that_is_renewed_just_in_time_is_kept() -> None:
    ada = asked()
    work = claimed()
    lease_is_over(work.turn_id)
    with transaction.atomic():
        assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=15)
        reaper = Stalled(reap)  # it has seen the lost lease, and waits for the turn's row
        reaper.until_it_waits()
    assert reaper.ended() == 0
    assert ada.turn().status == "running"
    assert ada.log()[-1] == "turn.started"


def test_several_reapers_are_harmless() -> None:
    sessions = [conversation(name) for name in ("ada", "bob", "cyd")]
    for one in sessions:
        one.ask()
    for work in claim(3):
        lease_is_over(work.turn_id)
    side_by_side(*[reap] * 6)
    while reap():
        pass
    assert [one.log()[3:] for one in sessions] == [["turn.queued"]] * 3
    assert [one.turn().attempts_without_progress for one in sessions] == [1, 1, 1]


# --- deadlines and waits ---


@pytest.mark.parametrize("status", ["queued", "waiting", "retry_wait"])
def test_a_turn_that_nobody_works_on_expires_at_its_deadline(status: str) -> None:
    ada = asked()
    if status == "queued":
        Turn.objects.update(deadline_at=PAST)
    else:
        park(claimed(), WaitReason.BUDGET if status == "waiting" else None)
        Turn.objects.update(deadline_at=PAST)
    assert reap() == 1
    turn = ada.turn()
    assert (turn.status, turn.error_class, turn.available_at) == ("expired", "deadline", None)
    last = ada.events()[-1]
    assert last.type == "turn.expired"
    assert last.data["error"]["error_class"] == "deadline"
    assert ada.row.open_turns == 0
    assert reap() == 0


def test_a_running_turn_is_expired_by_its_runner_not_by_the_reaper() -> None:
    ada = asked()
    work = claimed()
    Turn.objects.update(deadline_at=PAST)
    assert reap() == 0
    lease_is_over(work.turn_id)
    assert reap() == 1
    assert ada.turn().status == "queued"
    assert reap() == 1
    assert ada.turn().status == "expired"


def test_a_turn_that_expires_makes_way_for_the_next() -> None:
    ada = asked(2)
    Turn.objects.filter(ordinal=1).update(deadline_at=PAST)
    assert reap() == 1
    assert ada.statuses() == ["expired", "queued"]
    assert claimed().turn_id == ada.turns()[1].pk


@pytest.mark.parametrize("reason", WAITS)
def test_a_turn_goes_on_at_the_end_of_its_wait(reason: WaitReason | None) -> None:
    ada = asked()
    park(claimed(), reason)
    wait_is_over(ada.turn().pk)
    assert reap() == 1
    turn = ada.turn()
    assert (turn.status, turn.resumes, turn.available_at, turn.attempts_without_progress) == ("queued", True, None, 0)
    assert ada.events()[-1].data == {"reason": "wait_over"}


@pytest.mark.parametrize("reason", WAITS)
def test_a_wait_that_is_not_over_goes_on(reason: WaitReason | None) -> None:
    ada = asked()
    park(claimed(), reason, until=datetime.now(UTC) + timedelta(minutes=30))
    assert reap() == 0
    assert ada.turn().status == ("waiting" if reason else "retry_wait")


# --- giving back ---


def give(ada: Conversation, epoch: int = 1, *, without_progress: bool = False) -> bool:
    return release_claim(
        session_id=ada.session_id, turn_id=ada.turns()[0].pk, epoch=epoch, without_progress=without_progress
    )


@pytest.mark.parametrize("without_progress", [False, True])
def test_a_turn_that_is_given_back_waits_for_the_next_runner(without_progress: bool) -> None:
    ada = asked()
    say(claimed(), "Hel")
    assert give(ada, without_progress=without_progress)
    turn = ada.turn()
    assert (turn.status, turn.lease_expires_at, turn.attempts_without_progress) == (
        "queued",
        None,
        int(without_progress),
    )
    assert ada.row.active_turn_id is None
    assert ada.events()[-1].data == {"reason": "given_back"}
    assert not give(ada), "once"
    assert claimed(runner=OTHER_RUNNER).epoch == 2


def test_a_turn_that_was_to_stop_is_stopped_instead_of_given_back() -> None:
    ada = asked()
    say(claimed(), "Hel")
    stop(ada)
    assert give(ada)
    assert ada.turn().status == "cancelled"
    assert ada.messages()[-1].parts == [text_part("Hel")]


def test_what_is_not_one_s_own_is_not_given_back() -> None:
    ada = asked()
    assert not give(ada), "not claimed yet"
    work = claimed()
    assert not give(ada, epoch=2)
    assert not release_claim(session_id=ada.session_id, turn_id=new_id(), epoch=1, without_progress=False)
    assert not release_claim(session_id=new_id(), turn_id=work.turn_id, epoch=1, without_progress=False)
    answer(work)
    assert not give(ada), "it has ended"
    assert ada.log()[3:] == ["message.completed", "turn.completed"]


# --- stopping ---


def stop(ada: Conversation) -> Turn:
    return cancel_turn(ada.actor, turn_id=ada.turns()[0].pk)


def test_a_turn_that_nobody_began_is_cancelled_at_once() -> None:
    ada = asked(2)
    turn = stop(ada)
    assert turn.status == "cancelled"
    assert ada.statuses() == ["cancelled", "queued"]
    assert ada.log()[-1] == "turn.cancelled"
    assert (ada.row.open_turns, turn.error_class) == (1, "")
    assert claimed().turn_id == ada.turns()[1].pk


def test_a_running_turn_is_asked_to_stop_once() -> None:
    ada = asked()
    work = claimed()
    assert [stop(ada).status for _ in range(3)] == ["cancelling"] * 3
    assert ada.log()[3:] == ["turn.cancelling"]
    turn = ada.turn()
    assert turn.lease_expires_at, "its runner still owns it"
    assert (ada.row.active_turn_id, ada.row.open_turns) == (work.turn_id, 1)


@pytest.mark.parametrize("reason", WAITS)
def test_a_turn_that_waits_is_cancelled_at_once(reason: WaitReason | None) -> None:
    ada = asked()
    work = claimed()
    say(work, "Hel")
    park(work, reason)
    assert stop(ada).status == "cancelled"
    assert ada.messages()[-1].parts == [text_part("Hel")]
    assert (ada.turn().available_at, ada.turn().wait_reason) == (None, "")


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_what_has_ended_stays_as_it_is(end: str) -> None:
    ada = asked()
    if end == "completed":
        answer(claimed())
    else:
        stop(ada)
    before = ada.log()
    assert stop(ada).status == end
    assert ada.log() == before


def test_many_stops_at_the_same_moment_are_one() -> None:
    ada = asked()
    claimed()
    outcomes: Sequence[Any] = side_by_side(*[lambda: stop(ada)] * 6)
    assert {turn.status for turn in outcomes} == {"cancelling"}
    assert ada.log()[3:] == ["turn.cancelling"]


def test_a_stop_in_the_middle_of_the_queue_leaves_the_order() -> None:
    ada = asked(3)
    cancel_turn(ada.actor, turn_id=ada.turns()[1].pk)
    answer(claimed())
    work = claimed()
    assert work.turn_id == ada.turns()[2].pk
    assert ada.statuses() == ["completed", "cancelled", "running"]


def test_the_turns_of_others_are_not_there() -> None:
    ada, bob = asked(), conversation("bob")
    turn_id = ada.turn().pk
    reader = Actor.user(user_id=ada.row.user_id, name="ada", scopes=frozenset({Scope.READ}))
    for actor, missing, refusal in [
        (bob.actor, turn_id, NotFound),
        (ada.actor, new_id(), NotFound),
        (reader, turn_id, Forbidden),
        (Actor.system("tests"), turn_id, Unauthenticated),
    ]:
        with pytest.raises(refusal):
            cancel_turn(actor, turn_id=missing)
    assert ada.log() == ["message.created", "turn.queued"]
