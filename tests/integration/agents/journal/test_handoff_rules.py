"""When a person is asked for by itself: what a release says of how turns end, in the commit of their end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from accounts.actor import Actor
from agents.domain.failures import ErrorClass
from agents.domain.states import StepStatus, TurnStatus
from agents.journal import fenced_writes
from agents.journal.claims import Claim
from agents.journal.fenced_writes import LostTurn, StepOutcome, TurnEnd, advance
from agents.llm.errors import TransientModelError
from agents.models import Approval, Handoff, Turn
from agents.releases import publish
from agents.runner.reaper import fail_claim, reap
from agents.sessions import cancel_turn, fail_turn, give_feedback
from agents.sessions.handoff_control import resolve_handoff, return_to_agent, snooze_handoff
from agents.sessions.handoffs import request_handoff, request_human, withdraw_handoff
from agents.sessions.operator_duty import go_on_duty
from agents.tools.builtin.request_human import request_human as tool
from agents.tools.tool import ToolContext, ToolError
from agents.tools.toolbox import Toolbox
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import Conflict
from foundation.ids import new_id
from tests.integration.agents.sessions.test_handoffs import operator, same
from tests.support.conversations import (
    FAR_AHEAD,
    Conversation,
    answer,
    claimed,
    conversation,
    done,
    ending,
    lease_is_over,
    tool_intent,
)
from tests.support.people import agent, write_draft
from tests.support.scripted import calls, says, scripted
from tests.support.turns import begin, run, works

pytestmark = pytest.mark.usefixtures("transactional_db")


def talk(**rules: Any) -> Conversation:
    """A conversation with an agent whose release has these rules."""
    made = agent("special")
    write_draft(made, handoff=rules, version=2)
    publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)
    return conversation(slug="special")


def broken(work: Claim, status: TurnStatus, error_class: str) -> TurnEnd:
    error = {"error_class": error_class, "detail": "It broke.", "error_id": None, "retry_suggested": True}
    if error_class == "deadline":
        error["retry_suggested"] = False
    return ending(
        work, status, data={"error": error}, error_class=error_class, error_detail="It broke.", has_rules=True
    )


def by_its_runner(_: Conversation, work: Claim) -> None:
    fenced_writes.finish(work, broken(work, TurnStatus.FAILED, "transient"))


def by_its_deadline(_: Conversation, work: Claim) -> None:
    fenced_writes.finish(work, broken(work, TurnStatus.EXPIRED, "deadline"))


def by_an_operator(_: Conversation, work: Claim) -> None:
    fail_turn(Actor.system("tests"), turn_id=work.turn_id)


def by_what_cannot_be_loaded(_: Conversation, work: Claim) -> None:
    fail_claim(
        session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, error_class=ErrorClass.BAD_REQUEST,
        error_detail="", resumes=False,
    )  # fmt: skip


def by_the_reaper(_: Conversation, work: Claim) -> None:
    Turn.objects.filter(pk=work.turn_id).update(attempts_without_progress=3)
    lease_is_over(work.turn_id)
    reap()


ENDS = [by_its_runner, by_its_deadline, by_an_operator, by_what_cannot_be_loaded, by_the_reaper]


@pytest.mark.parametrize("fails", ENDS)
def test_failed_turns_in_a_row_ask_for_a_person_whoever_ends_them(fails: Callable[..., None]) -> None:
    ada = talk(failed_turns=2)
    before = ada.snapshot()
    ada.ask()
    by_its_runner(ada, claimed())
    assert not Handoff.objects.exists()
    ada.ask()
    fails(ada, claimed())
    row = Handoff.objects.get()
    assert (row.requested_by, row.reason, row.turn_id) == ("rule", "failed_turns", ada.turns()[-1].pk)
    assert row.on_duty is False
    assert row.reply_due_at
    assert row.due_at
    [event] = [event for event in ada.events() if event.type == "handoff.requested"]
    assert event.data == {"reason": "failed_turns", "by": "rule", "on_duty": False}
    assert event.seq < ada.events()[-1].seq, "who follows the turn reads it before the end"
    same(before, ada)
    ada.ask()
    by_its_runner(ada, claimed())
    assert Handoff.objects.count() == 1


def test_an_answer_ends_the_row_a_stop_does_not_and_neither_counts_what_was_dealt_with() -> None:
    ada = talk(failed_turns=2)

    def fail() -> None:
        ada.ask()
        by_its_runner(ada, claimed())

    fail()
    ada.ask()
    answer(claimed())
    fail()
    stopped = ada.ask().turn_id
    assert stopped
    cancel_turn(ada.actor, turn_id=stopped)
    assert not Handoff.objects.exists()
    fail()
    assert Handoff.objects.count() == 1
    withdraw_handoff(ada.actor, session_id=ada.session_id)
    fail()
    assert Handoff.objects.count() == 1, "two in a row since then"
    fail()
    assert Handoff.objects.count() == 2


@pytest.mark.parametrize("give_back", [return_to_agent, resolve_handoff])
def test_a_rule_does_not_ask_again_within_the_hour_after_a_person_has_dealt_with_it(
    give_back: Callable[..., object],
) -> None:
    ada, olga = talk(failed_turns=1, thumb_down=True), operator()

    def fail() -> int:
        ada.ask()
        by_its_runner(ada, claimed())
        return Handoff.objects.count()

    assert fail() == 1
    give_back(olga, session_id=ada.session_id)
    assert fail() == 1
    Handoff.objects.update(resolved_at=Now() - timedelta(minutes=61))
    assert fail() == 2
    give_back(olga, session_id=ada.session_id)
    ada.ask()
    answer(claimed())
    give_feedback(ada.actor, message_id=ada.messages()[-1].pk, value=-1)
    assert Handoff.objects.count() == 2
    request_handoff(ada.actor, session_id=ada.session_id)
    assert Handoff.objects.count() == 3, "the user may"
    snooze_handoff(olga, session_id=ada.session_id, until=now() + timedelta(hours=1))
    assert fail() == 3
    assert Handoff.objects.latest("requested_at").state == "pending", "a request that is not over is met as before"


def test_without_a_rule_nothing_is_asked() -> None:
    ada = talk()
    for fails in ENDS:
        ada.ask()
        fails(ada, claimed())
    ada.ask()
    work = claimed()
    refuse_a_call(work)
    answer(work)
    assert not Handoff.objects.exists()


def refuse_a_call(work: Claim) -> None:
    """What the release denies: its outcome is written with the decision that stands in the step."""
    advance(work, outcomes=[done(1)], intents=[tool_intent(2)])
    advance(work, outcomes=[StepOutcome(2, StepStatus.FAILED, {}, details={"right": {"decision": "deny"}})])


def deny_an_approval(work: Claim) -> None:
    advance(work, outcomes=[done(1)], intents=[tool_intent(2)])
    Approval.objects.create(
        turn_id=work.turn_id, agent_session_id=work.session_id, agent_id=conversation(slug="special").row.agent_id,
        step=2, tool="pay", arguments="{}", arguments_hash=b"0" * 32, decider="user", state="denied",
        expires_at=FAR_AHEAD, decided_at=Now(),
    )  # fmt: skip


@pytest.mark.parametrize("refuse", [refuse_a_call, deny_an_approval])
def test_a_refused_call_asks_for_a_person_when_its_turn_has_ended(refuse: Callable[[Claim], None]) -> None:
    ada = talk(refused_call=True)
    ada.ask()
    work = claimed()
    advance(work, outcomes=[done(1)], intents=[tool_intent(2)])
    fenced_writes.finish(work, ending(work, parts=[{"type": "text", "text": "Hi"}], has_rules=True))
    assert not Handoff.objects.exists()
    ada.ask()
    work = claimed()
    refuse(work)
    fenced_writes.finish(work, ending(work, parts=[{"type": "text", "text": "I may not."}], has_rules=True))
    assert Handoff.objects.get().reason == "refused_call"


def test_a_thumb_down_asks_for_a_person_where_the_release_says_so() -> None:
    ada, bob = talk(thumb_down=True), conversation("bob")
    for one, asks in ((bob, False), (ada, True)):
        one.ask()
        answer(claimed())
        message = one.messages()[-1].pk
        give_feedback(one.actor, message_id=message, value=1)
        assert not Handoff.objects.exists()
        give_feedback(one.actor, message_id=message, value=-1)
        give_feedback(one.actor, message_id=message, value=-1)
        assert Handoff.objects.filter(reason="thumb_down", agent_session=one.session_id).exists() is asks


def test_a_request_is_written_with_the_end_of_its_turn_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = talk(failed_turns=1)
    ada.ask()
    work = claimed()
    with monkeypatch.context() as patched:

        def dies(*_: Any, **__: Any) -> None:
            raise RuntimeError("the process is gone")

        patched.setattr(fenced_writes, "apply_turn_rules_locked", dies)
        with pytest.raises(RuntimeError):
            by_its_runner(ada, work)
    assert ada.statuses() == ["running"]
    by_its_runner(ada, work)
    assert Handoff.objects.count() == 1
    with pytest.raises(LostTurn):
        by_its_runner(ada, work)


# --- the engine ---


async def test_the_engine_says_of_which_ends_a_release_has_rules() -> None:
    await begin(handoff={"failed_turns": 1})
    await run(scripted(says("Hel", TransientModelError()))[0])
    assert (await in_db_thread(Handoff.objects.get)).reason == "failed_turns"


async def test_a_turn_without_rules_ends_with_one_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[Any] = []
    monkeypatch.setattr(fenced_writes, "_finish", spy(fenced_writes._finish, ends))
    await begin(tools=["clock"])
    await run(scripted(calls(("c1", "clock", "{}")), says("Noon."), tools={"clock": works("noon")})[0])
    assert [end.has_rules for end in ends] == [False]


def spy(function: Callable[..., Any], seen: list[Any]) -> Callable[..., Any]:
    def call(claim: Claim, end: Any, *more: Any, **named: Any) -> Any:
        seen.append(end)
        return function(claim, end, *more, **named)

    return call


# --- the agent asks ---


async def test_the_agent_asks_with_a_tool_and_is_told_whether_somebody_is_there() -> None:
    ada = await begin()
    work = await in_db_thread(claimed)
    box = Toolbox(request_human=request_human)

    async def ask() -> Any:
        return await box.call(
            "request_human", '{"reason": "The user wants a refund."}', session_id=ada.session_id,
            turn_id=work.turn_id, user_id=work.user_id, step=2, allowed=["request_human"],
        )  # fmt: skip

    try:
        first = await ask()
        await in_db_thread(lambda: go_on_duty(operator()))
        again = await ask()
        assert (first.is_error, again.is_error) == (False, False)
        assert "nobody is there" in first.content
        assert "will write here" in again.content
        row = await in_db_thread(Handoff.objects.get)
        assert (row.requested_by, row.reason, row.turn_id) == ("tool", "The user wants a refund.", work.turn_id)
        await in_db_thread(answer, work)
        late = await ask()
        assert late.is_error, "the turn is over"
    finally:
        await box.aclose()


def test_without_anybody_to_ask_the_tool_says_so() -> None:
    with pytest.raises(ToolError):
        tool.function("Why", ToolContext(new_id(), new_id(), "k"))
    assert (tool.idempotent, tool.writes, tool.trusted_output) == (True, False, True)
    with pytest.raises(Conflict):
        request_human(conversation().session_id, new_id(), "Why")
