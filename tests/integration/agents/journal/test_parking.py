"""Turns that give their runner's place up, and go on where they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from accounts.actor import Actor
from agents.domain.configuration import AgentConfiguration
from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.serialization import moment
from agents.domain.states import MAX_ATTEMPTS_WITHOUT_PROGRESS, StepKind, StepStatus, TurnStatus, WaitReason
from agents.domain.usage import BilledUsage
from agents.engine.context import load_context
from agents.journal import fenced_writes
from agents.journal.claims import Claim, renew
from agents.journal.fenced_writes import Intent, LostTurn, NewEvent, StepOutcome
from agents.journal.locked_writes import end_locked, lock_session, lock_turn, stop_locked
from agents.models import Agent, Release, Step, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn, fail_turn, requeue_turn
from tests.support.conversations import (
    FAR_AHEAD,
    LEASE_SECONDS,
    RUNNER,
    Conversation,
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    done,
    lease_is_over,
    nothing_yet,
    park,
    replayed,
    retrying,
    say,
    side_by_side,
    tool_intent,
    wait_is_over,
    wake,
)
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")

APPROVAL, CHILDREN, BUDGET = WaitReason.APPROVAL, WaitReason.CHILDREN, WaitReason.BUDGET
SYSTEM = Actor.system("tests")


def running(name: str = "ada") -> tuple[Conversation, Claim]:
    ada = conversation(name)
    ada.ask()
    return ada, claimed()


def calls_a_tool(work: Claim, number: int = 2, *, idempotent: bool = False) -> None:
    """The model has spoken and called a tool, which is about to run."""
    intent = Intent(number, StepKind.TOOL, "pay", "c1", idempotent=idempotent, request="{}")
    started = NewEvent("tool.started", {"step": number, "call_id": "c1", "name": "pay", "arguments": "{}"})
    say(work, "Wait. ")
    fenced_writes.advance(work, outcomes=[done(1, "Wait. ")], intents=[intent], events=[started])


def shown(ada: Conversation) -> list[object]:
    [turn] = ada.snapshot()["turns"].values()
    assert replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot()
    return list(turn["shown"])


# --- parking ---


@pytest.mark.parametrize("reason", [None, *WaitReason])
def test_a_turn_that_parks_is_nobodys_and_says_what_it_waits_for(reason: WaitReason | None) -> None:
    ada, work = running()
    assert park(work, reason)
    turn, status = ada.turn(), "waiting" if reason else "retry_wait"
    assert (turn.status, turn.wait_reason) == (status, reason or "")
    assert (turn.lease_expires_at, turn.available_at, turn.resumes) == (None, FAR_AHEAD, False)
    assert (ada.row.active_turn_id, ada.row.open_turns) == (None, 1)
    assert ada.log()[3:] == [f"turn.{status}"]
    assert ada.events()[-1].data == ({"for": reason} if reason else {}) | {"until": moment(FAR_AHEAD)}
    assert ada.events()[-1].epoch == 1
    assert renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=LEASE_SECONDS) == {}


def test_outcomes_intents_and_events_commit_with_the_wait() -> None:
    ada, work = running()
    say(work, "Hel")
    failed = StepOutcome(
        1, StepStatus.FAILED, error_class="transient", usage=BilledUsage(3, 0, Decimal("0.5")), name="openai:a"
    )
    assert park(work, outcomes=[failed], intents=[Intent(2, StepKind.MODEL)], events=[retrying(None)])
    first, second = Step.objects.order_by("number")
    assert (first.status, first.name, first.cost_usd) == ("failed", "openai:a", Decimal("0.5"))
    assert (second.kind, second.status, second.name) == ("model", "intent", "")
    assert ada.log()[3:] == ["message.delta", "model.retrying", "turn.retry_wait"]
    assert shown(ada) == []


@pytest.mark.parametrize(
    ("settled", "attempts"),
    [([], 2), ([StepOutcome(1, StepStatus.FAILED, error_class="transient")], 2), ([done(1)], 0)],
)
def test_a_wait_is_progress_when_a_result_came_before_it(settled: list[StepOutcome], attempts: int) -> None:
    ada, work = running()
    Turn.objects.update(attempts_without_progress=2)
    park(work, outcomes=settled)
    assert ada.turn().attempts_without_progress == attempts


def test_a_turn_that_is_to_be_stopped_does_not_park() -> None:
    ada, work = running()
    cancel_turn(ada.actor, turn_id=work.turn_id)
    before = ada.log()
    assert not park(work, APPROVAL, outcomes=[done(1)], intents=[tool_intent(2)], events=[retrying(None)])
    assert ada.log() == before
    assert (ada.turn().status, ada.row.active_turn_id) == ("cancelling", work.turn_id)
    assert [(step.number, step.status) for step in Step.objects.all()] == [(1, "intent")]
    say(work, "still its owner")


@pytest.mark.parametrize("first", ["the stop", "the wait"])
def test_a_stop_and_a_wait_that_meet_have_one_outcome(first: str) -> None:
    ada, work = running()
    with transaction.atomic():
        session = lock_session(ada.session_id)
        assert session
        if first == "the stop":
            stalled = Stalled(lambda: park(work, APPROVAL, outcomes=[done(1)]))
            stalled.until_it_waits()
            turn = lock_turn(session, work.turn_id)
            assert turn
            stop_locked(session, turn)
        else:
            park(work, APPROVAL)
            stalled = Stalled(lambda: cancel_turn(ada.actor, turn_id=work.turn_id))
            stalled.until_it_waits()
    outcome = stalled.ended()
    if first == "the stop":
        assert outcome is False
        assert ada.log()[3:] == ["turn.cancelling"]
        assert Step.objects.get().status == "intent"
    else:
        assert not isinstance(outcome, Exception)
        assert ada.log()[3:] == ["turn.waiting", "turn.cancelled"]


def test_a_lease_that_is_renewed_while_its_turn_parks_is_lost_and_does_no_harm() -> None:
    ada, work = running()
    with transaction.atomic():
        park(work, APPROVAL)
        stalled = Stalled(lambda: renew(runner_id=RUNNER, turns=[work.turn_id], lease_seconds=LEASE_SECONDS))
        stalled.until_it_waits()
    assert stalled.ended() == {}
    assert ada.turn().lease_expires_at is None


def test_nobody_writes_for_a_parked_turn() -> None:
    ada, work = running()
    park(work, APPROVAL)
    before = ada.log()
    with pytest.raises(LostTurn):
        say(work, "late")
    assert not release_claim(session_id=ada.session_id, turn_id=work.turn_id, epoch=1, without_progress=True)
    assert claim(10) == []
    assert ada.log() == before


def test_a_parked_turn_takes_none_of_its_users_places() -> None:
    ada = conversation()
    ada.ask()
    other = conversation()
    park(claimed(), APPROVAL)
    other.ask()
    assert len(claim(10, running_per_user=1)) == 1


# --- going on ---


def test_a_turn_goes_on_where_it_was() -> None:
    ada, work = running()
    calls_a_tool(work)
    park(work, APPROVAL)
    before = [text_part("Wait. "), tool_call_part(call_id="c1", name="pay", arguments="{}")]
    assert shown(ada) == before
    assert wake(ada.turn())
    assert (ada.turn().status, ada.turn().resumes) == ("queued", True)
    assert shown(ada) == before
    again = claimed()
    assert (again.epoch, again.resumed, work.resumed) == (2, True, False)
    assert not ada.turn().resumes
    started = ada.events()[-1]
    assert (started.type, started.epoch) == ("turn.started", 2)
    assert started.data == {"epoch": 2, "resumed": True, "started_at": moment(started_at(ada))}
    fenced_writes.append(
        again, [NewEvent("tool.finished", {"step": 2, "call_id": "c1", "name": "pay", "content": "paid"})]
    )
    say(again, "Done.")
    assert shown(ada) == [
        *before, tool_result_part(call_id="c1", content="paid", is_error=False), text_part("Done."),
    ]  # fmt: skip
    assert ada.log()[-5:] == ["turn.waiting", "turn.queued", "turn.started", "tool.finished", "message.delta"]


def started_at(ada: Conversation) -> datetime:
    found = ada.turn().started_at
    assert found
    return found


def test_a_first_claim_says_that_it_goes_on_with_nothing() -> None:
    ada, _ = running()
    assert ada.events()[-1].data == {"epoch": 1, "resumed": False, "started_at": moment(started_at(ada))}


def test_it_may_wait_more_than_once() -> None:
    ada, work = running()
    for number in range(1, 4):
        say(work, f"{number}")
        park(work, APPROVAL)
        wake(ada.turn())
        work = claimed()
        assert (work.epoch, work.resumed) == (number + 1, True)
    assert shown(ada) == [text_part("123")]
    answer(work, "123")
    assert ada.said()[-1] == ("agent", "123")


@pytest.mark.parametrize("lost", ["lease", "drain", "requeue"])
def test_a_turn_that_went_on_and_was_lost_begins_anew(lost: str) -> None:
    ada, work = running()
    say(work, "Hel")
    park(work)
    wake(ada.turn())
    work = claimed()
    say(work, "lo")
    if lost == "lease":
        lease_is_over(work.turn_id)
        reap()
    elif lost == "drain":
        release_claim(session_id=ada.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=False)
    else:
        requeue_turn(SYSTEM, turn_id=work.turn_id)
    assert shown(ada) == [text_part("Hello")]
    again = claimed()
    assert (again.epoch, again.resumed) == (3, False)
    assert ada.events()[-1].type == "turn.restarted"
    assert "resumed" not in ada.events()[-1].data
    assert shown(ada) == []


@pytest.mark.parametrize("without_progress", [False, True])
def test_a_claim_that_is_released_before_it_tried_anything_is_resumed_by_the_next(without_progress: bool) -> None:
    ada, work = running()
    calls_a_tool(work)
    park(work, APPROVAL)
    before = shown(ada)
    wake(ada.turn())
    release_untried(claimed(), without_progress=without_progress)
    assert (ada.turn().status, ada.turn().resumes) == ("queued", True)
    again = claimed()
    assert (again.epoch, again.resumed, ada.events()[-1].type) == (3, True, "turn.started")
    assert shown(ada) == before
    assert Step.objects.get(number=2).status == "intent"


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_a_call_that_no_claim_tried_is_known_not_to_have_run_when_the_last_is_released(end: str) -> None:
    ada, work = running()
    calls_a_tool(work)
    park(work, APPROVAL)
    wake(ada.turn())
    work = claimed()
    if end == "cancelled":
        cancel_turn(ada.actor, turn_id=work.turn_id)
    else:
        Turn.objects.update(attempts_without_progress=MAX_ATTEMPTS_WITHOUT_PROGRESS)
    release_untried(work, without_progress=True)
    assert (ada.turn().status, ada.turn().resumes) == (end, False)
    assert Step.objects.get(number=2).status == "failed"


def release_untried(work: Claim, *, without_progress: bool) -> None:
    assert release_claim(
        session_id=work.session_id,
        turn_id=work.turn_id,
        epoch=work.epoch,
        without_progress=without_progress,
        resumes=work.resumed,
    )


def test_words_before_a_restart_do_not_come_back_after_a_wait() -> None:
    ada, work = running()
    say(work, "void")
    release_claim(session_id=ada.session_id, turn_id=work.turn_id, epoch=1, without_progress=False)
    work = claimed()
    say(work, "Hel")
    park(work)
    wake(ada.turn())
    work = claimed()
    say(work, "lo")
    assert shown(ada) == [text_part("Hello")]


def test_only_a_parked_turn_is_woken() -> None:
    ada, work = running()
    assert not wake(ada.turn())
    say(work, "still its owner")
    park(work, APPROVAL)
    assert wake(ada.turn())
    before = ada.log()
    assert not wake(ada.turn())
    assert ada.log() == before
    answer(claimed())
    assert not wake(ada.turn())


def test_many_who_wake_a_turn_wake_it_once() -> None:
    ada, work = running()
    park(work, APPROVAL, until=datetime.now(UTC))
    outcomes = side_by_side(*[lambda: wake(ada.turn())] * 8, lambda: bool(reap()))
    assert sum(outcome is True for outcome in outcomes) == 1
    assert ada.log()[-2:] == ["turn.waiting", "turn.queued"]


def test_a_model_call_that_waited_is_not_known_to_have_cost_anything() -> None:
    ada, work = running()
    park(work)
    wake(ada.turn())
    again = claimed()
    assert [step.open for step in load_context(again).steps] == [True]
    assert load_context(again).claim.resumed


# --- the clock ---


def remaining(ada: Conversation) -> timedelta:
    """From now on to the deadline."""
    return ada.turn().deadline_at - datetime.now(UTC)


CLOSE = timedelta(seconds=30)


@pytest.mark.parametrize("reason", [APPROVAL, CHILDREN])
@pytest.mark.parametrize("woken", ["before its time", "at its time"])
def test_the_clock_stands_still_while_a_turn_waits_for_people_or_children(reason: WaitReason, woken: str) -> None:
    ada, work = running()
    before = remaining(ada)
    until = datetime.now(UTC) + timedelta(hours=24)
    park(work, reason, until=until)
    assert abs(remaining(ada) - before - timedelta(hours=24)) < CLOSE, "its deadline is behind the end of the wait"
    assert reap() == 0
    if woken == "before its time":
        wake(ada.turn())
    else:
        # As if a day had passed.
        Turn.objects.update(available_at=datetime.now(UTC), deadline_at=datetime.now(UTC) + before)
        assert reap() == 1
    assert abs(remaining(ada) - before) < CLOSE
    assert abs(timedelta(seconds=claimed().remaining_seconds) - before) < CLOSE


@pytest.mark.parametrize("reason", [None, BUDGET])
def test_the_clock_runs_while_a_turn_waits_for_a_provider_or_for_money(reason: WaitReason | None) -> None:
    ada, work = running()
    before = ada.turn().deadline_at
    park(work, reason)
    assert ada.turn().deadline_at == before
    wake(ada.turn())
    assert ada.turn().deadline_at == before


def test_a_wait_whose_end_lies_in_the_past_moves_no_deadline() -> None:
    ada, work = running()
    before = remaining(ada)
    park(work, APPROVAL, until=datetime(2000, 1, 1, tzinfo=UTC))
    wake(ada.turn())
    assert abs(remaining(ada) - before) < CLOSE


@pytest.mark.parametrize("reason", [APPROVAL, CHILDREN])
@pytest.mark.parametrize("woken", ["by the reaper", "by a person", "by a requeue"])
def test_a_wait_that_nobody_ended_in_time_takes_nothing_from_the_time_to_answer(reason: WaitReason, woken: str) -> None:
    ada, work = running()
    before = remaining(ada)
    park(work, reason, until=datetime.now(UTC) + timedelta(hours=24))
    # As if no runner had been there for a day after its end.
    two_days = timedelta(hours=48)
    turn = ada.turn()
    assert turn.available_at
    Turn.objects.update(available_at=turn.available_at - two_days, deadline_at=turn.deadline_at - two_days)
    assert remaining(ada) < timedelta()
    if woken == "by the reaper":
        assert reap() == 1
    elif woken == "by a person":
        wake(turn)
    else:
        requeue_turn(SYSTEM, turn_id=work.turn_id)
    assert ada.turn().status == "queued"
    assert abs(remaining(ada) - before) < CLOSE
    assert claimed().resumed is (woken != "by a requeue")


def test_a_wait_that_shows_a_later_end_than_its_own_is_over_at_its_own() -> None:
    ada, work = running()
    before = remaining(ada)
    soon = datetime.now(UTC) + timedelta(hours=1)
    park(work, APPROVAL, resume_at=soon)
    assert ada.events()[-1].data == {"for": "approval", "until": moment(FAR_AHEAD)}
    assert ada.turn().available_at == soon
    assert abs(remaining(ada) - before - timedelta(hours=1)) < CLOSE


# --- what else may happen to it ---


def test_a_turn_that_waits_is_stopped_with_what_it_has_shown() -> None:
    ada, work = running()
    calls_a_tool(work)
    park(work, APPROVAL)
    wake(ada.turn())
    work = claimed()
    park(work, APPROVAL)
    cancel_turn(ada.actor, turn_id=work.turn_id)
    message = ada.messages()[-1]
    assert message.partial
    assert message.parts == [text_part("Wait. "), tool_call_part(call_id="c1", name="pay", arguments="{}")]
    turn = ada.turn()
    assert (turn.status, turn.wait_reason, turn.available_at, turn.resumes) == ("cancelled", "", None, False)


@pytest.mark.parametrize("woken", [False, True])
def test_calls_that_waited_are_known_not_to_have_run(woken: bool) -> None:
    ada, work = running()
    calls_a_tool(work)
    park(work, APPROVAL, intents=[Intent(3, StepKind.MODEL)])
    if woken:
        wake(ada.turn())
    cancel_turn(ada.actor, turn_id=work.turn_id)
    _, tool, model = Step.objects.order_by("number")
    assert (tool.status, model.status, model.cost_usd) == ("failed", "failed", Decimal(0))
    assert [(step.input_tokens, step.output_tokens) for step in (tool, model)] == [(0, 0)] * 2


def test_a_call_that_went_on_and_died_with_its_runner_may_have_run() -> None:
    ada, work = running()
    calls_a_tool(work)
    park(work, APPROVAL)
    wake(ada.turn())
    work = claimed()
    cancel_turn(ada.actor, turn_id=work.turn_id)
    lease_is_over(work.turn_id)
    reap()
    assert Step.objects.get(number=2).status == "unknown"


def test_a_turn_that_waits_is_failed_by_an_operator() -> None:
    ada, work = running()
    say(work, "Hel")
    park(work, APPROVAL)
    fail_turn(SYSTEM, turn_id=work.turn_id)
    assert (ada.turn().status, ada.turn().error_class) == ("failed", "set_aside")
    assert ada.said()[-1] == ("agent", "Hel")


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_turn_that_waits_and_is_requeued_begins_anew(idempotent: bool) -> None:
    ada, work = running()
    before = remaining(ada)
    calls_a_tool(work, idempotent=idempotent)
    park(work, APPROVAL, until=datetime.now(UTC) + timedelta(hours=24))
    requeue_turn(SYSTEM, turn_id=work.turn_id)
    turn = ada.turn()
    assert (turn.status, turn.resumes, turn.wait_reason, turn.attempts_without_progress) == ("queued", False, "", 0)
    assert abs(remaining(ada) - before) < CLOSE
    again = claimed()
    assert not again.resumed
    assert ada.events()[-1].type == "turn.restarted"
    assert shown(ada) == []
    tool = Step.objects.get(number=2)
    # The next claim could not know that it never ran, and would have to say that it may have.
    assert (tool.status, bool(tool.result)) == (("intent", False) if idempotent else ("failed", True))
    assert tool.cost_usd == (None if idempotent else Decimal(0))


@pytest.mark.parametrize("tried", [False, True])
def test_a_model_call_that_waited_costs_nothing_after_a_requeue(tried: bool) -> None:
    demo = agent()
    configuration = AgentConfiguration(model_chain=("openai:small",)).dump()
    Agent.objects.update(live_release=Release.objects.create(agent=demo, number=2, configuration=configuration))
    ada, work = running()
    park(work)
    requeue_turn(SYSTEM, turn_id=work.turn_id)
    if tried:
        work = claimed()
        fenced_writes.advance(work, intents=[Intent(2, StepKind.MODEL)])
        lease_is_over(work.turn_id)
        reap()
    cancel_turn(ada.actor, turn_id=work.turn_id)
    assert [step.cost_usd for step in Step.objects.order_by("number")] == [Decimal(0), *([None] if tried else [])]
    # What a call that was tried has cost is not known.
    assert ada.turn().cost_usd == (None if tried else Decimal(0))
    assert (ada.turn().input_tokens, ada.turn().output_tokens) == ((None, None) if tried else (0, 0))


def test_a_turn_that_waits_too_long_expires_with_what_it_has_shown() -> None:
    ada, work = running()
    say(work, "Hel")
    park(work)
    Turn.objects.update(deadline_at=datetime(2000, 1, 1, tzinfo=UTC))
    assert reap() == 1
    assert ada.turn().status == "expired"
    assert ada.said()[-1] == ("agent", "Hel")


def test_an_ended_wait_is_an_ended_turn() -> None:
    ada, work = running()
    park(work, CHILDREN)
    wait_is_over(work.turn_id)
    with transaction.atomic():
        session = lock_session(ada.session_id)
        assert session
        turn = lock_turn(session, work.turn_id)
        assert turn
        end_locked(session, turn, TurnStatus.CANCELLED)
    assert reap() == 0
