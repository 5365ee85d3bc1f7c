"""The fence: whoever lost a turn writes nothing, however late its statement comes through."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from agents.domain.message_parts import text_part, tool_call_part
from agents.domain.serialization import message_shape, moment, turn_error
from agents.domain.states import StepKind, StepStatus, TurnStatus, WaitReason
from agents.domain.usage import BilledUsage
from agents.journal import fenced_writes, sql
from agents.journal.claims import Claim
from agents.journal.fenced_writes import FinishedTurn, Intent, LostTurn, NewEvent, StepOutcome
from agents.journal.locked_writes import append_locked, lock_session, lock_turn, requeue_locked, stop_locked
from agents.models import Step, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn
from foundation.ids import new_id
from tests.support.conversations import (
    OTHER_RUNNER,
    Conversation,
    Stalled,
    answer,
    claimed,
    conversation,
    done,
    ending,
    fail,
    lease_is_over,
    park,
    retrying,
    say,
    side_by_side,
    tool_intent,
)

pytestmark = pytest.mark.usefixtures("transactional_db")

# Every write of a runner, by name.
WRITES: dict[str, Callable[[Claim], object]] = {
    "append": lambda work: say(work, "late"),
    "append nothing": lambda work: fenced_writes.append(work, []),
    "advance": lambda work: fenced_writes.advance(
        work, outcomes=[done(1)], intents=[tool_intent(2)], events=[NewEvent("tool.started", {"call_id": "a"})]
    ),
    "finish": lambda work: fenced_writes.finish(
        work,
        ending(work, parts=[text_part("late")]),
        outcomes=[done(1)],
        events=[NewEvent("message.delta", {"text": "late"})],
    ),
    "finish without an answer": fail,
    "park": lambda work: park(work, WaitReason.APPROVAL, outcomes=[done(1)], intents=[tool_intent(2)]),
    "park for a provider": lambda work: park(work, events=[retrying(None)]),
}
each_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


def everything(ada: Conversation) -> object:
    """All that a write could change."""
    return (
        list(type(ada.row).objects.values()),
        list(Turn.objects.order_by("id").values()),
        list(Step.objects.order_by("id").values()),
        [(message.pk, message.parts) for message in ada.messages()],
        [(event.seq, event.type, event.data) for event in ada.events()],
    )


def running() -> tuple[Conversation, Claim]:
    ada = conversation()
    ada.ask()
    return ada, claimed()


# --- what the owner writes ---


def test_deltas_get_the_next_seqs_in_their_order() -> None:
    ada, work = running()
    assert say(work, "Hel", "lo") == 5
    assert say(work, "!") == 6
    assert ada.log()[3:] == ["message.delta"] * 3
    assert [(event.data["text"], event.epoch, event.turn_id) for event in ada.events()[3:]] == [
        (text, 1, work.turn_id) for text in ("Hel", "lo", "!")
    ]


def test_outcomes_intents_and_events_commit_together() -> None:
    ada, work = running()
    calls = [{"id": "call_1", "name": "clock", "arguments": "{}"}]
    settled = StepOutcome(
        1,
        StepStatus.DONE,
        {"text": "", "tool_calls": calls},
        usage=BilledUsage(3, 5, Decimal("0.5")),
        name="openai:small",
        details={"attempt": 1},
    )
    last = fenced_writes.advance(
        work,
        outcomes=[settled],
        intents=[
            Intent(2, StepKind.TOOL, "clock", "call_1", idempotent=True, request='{"bro', details={"try": 1}),
            Intent(3, StepKind.TOOL, "n" * 300, "c" * 300),
        ],
        events=[NewEvent("tool.started", {"call_id": "call_1"}), NewEvent("tool.started", {"call_id": "c"})],
    )
    assert last == 5
    ada.log()
    model, tool, other = Step.objects.order_by("number")
    assert (model.status, model.result, model.input_tokens, model.output_tokens, model.cost_usd) == (
        "done", {"text": "", "tool_calls": calls}, 3, 5, Decimal("0.5"),
    )  # fmt: skip
    assert model.finished_at
    assert (model.name, model.details) == ("openai:small", {"attempt": 1})
    assert (tool.name, tool.details, other.details) == ("clock", {"try": 1}, {})
    assert (tool.kind, tool.status, tool.call_id, tool.idempotent, tool.request, tool.epoch) == (
        "tool", "intent", "call_1", True, '{"bro', 1,
    )  # fmt: skip
    assert (len(other.name), len(other.call_id), other.request) == (200, 200, None)


def test_an_outcome_adds_to_what_the_intent_says() -> None:
    _, work = running()
    fenced_writes.advance(
        work, outcomes=[done(1)], intents=[Intent(2, StepKind.MODEL, "openai:b", details={"attempt": 2})]
    )
    fenced_writes.advance(work, outcomes=[StepOutcome(2, StepStatus.FAILED, details={"request_id": "r"})])
    first, second = Step.objects.order_by("number")
    assert (first.name, first.details) == ("", {})
    assert (second.name, second.details) == ("openai:b", {"attempt": 2, "request_id": "r"})


def test_an_outcome_stays_as_it_was_first_written() -> None:
    _, work = running()
    fenced_writes.advance(work, outcomes=[done(1, "first")])
    fenced_writes.advance(work, outcomes=[done(1, "second"), done(99)])
    assert Step.objects.get().result == {"text": "first", "tool_calls": []}


def test_progress_forgives_earlier_failures() -> None:
    ada, work = running()
    Turn.objects.update(attempts_without_progress=2)
    fenced_writes.advance(work, intents=[tool_intent(2)])
    assert ada.turn().attempts_without_progress == 2, "an intent is no progress"
    failed = StepOutcome(1, StepStatus.FAILED, error_class="transient")
    fenced_writes.advance(work, outcomes=[failed], intents=[Intent(3, StepKind.MODEL, "openai:next")])
    assert ada.turn().attempts_without_progress == 2, "nor is an attempt of a model that failed"
    fenced_writes.advance(work, outcomes=[done(3)])
    assert ada.turn().attempts_without_progress == 0


def test_the_answer_and_the_end_commit_together() -> None:
    ada, work = running()
    usage = BilledUsage(3, 5, Decimal("0.00000001"))
    data = {"usage": usage.shape}
    ended = fenced_writes.finish(
        work,
        ending(work, parts=[text_part("Hello")], data=data, usage=usage),
        outcomes=[done(1)],
        events=[NewEvent("message.delta", {"text": "lo"})],
    )
    assert ended == FinishedTurn(TurnStatus.COMPLETED, open_turns=0)
    turn, session, [question, said] = ada.turn(), ada.row, ada.messages()
    assert (turn.status, turn.lease_expires_at) == ("completed", None)
    assert (turn.input_tokens, turn.output_tokens, turn.cost_usd) == (3, 5, Decimal("0.00000001"))
    assert (said.author, said.turn_id, said.parent_id, said.partial) == ("agent", turn.pk, question.pk, False)
    assert (said.ordinal, session.next_ordinal) == (2, 3)
    assert (session.active_turn_id, session.open_turns, session.head_message_id) == (None, 0, said.pk)
    assert Step.objects.get().status == "done"
    assert ada.log()[3:] == ["message.delta", "message.completed", "turn.completed"]
    delta, completed, end = ada.events()[3:]
    assert delta.data == {"text": "lo"}
    assert completed.data == {"message": message_shape(said)}
    assert turn.finished_at
    assert end.data == {"finished_at": moment(turn.finished_at)} | data
    assert {event.epoch for event in (delta, completed, end)} == {1}


def test_a_failure_without_text_leaves_no_message() -> None:
    ada, work = running()
    assert fail(work).status is TurnStatus.FAILED
    assert ada.log()[3:] == ["turn.failed"]
    assert [message.author for message in ada.messages()] == ["user"]
    turn = ada.turn()
    assert (turn.error_class, turn.error_detail) == ("transient", "It broke.")
    assert ada.events()[-1].data["error"] == turn_error(turn)
    assert ada.row.head_message_id == ada.messages()[0].pk


def test_a_failure_keeps_the_text_that_was_shown_and_marks_it() -> None:
    ada, work = running()
    say(work, "Hel")
    fail(work, text="Hel")
    said = ada.messages()[-1]
    assert (said.author, said.partial, said.parts) == ("agent", True, [text_part("Hel")])
    assert ada.events()[-2].data == {"message": message_shape(said)}


def test_an_answer_does_not_take_the_head_from_a_later_message() -> None:
    ada = conversation()
    ada.asks(2)
    work = claimed()
    head = ada.row.head_message_id
    assert answer(work).open_turns == 1
    assert ada.row.head_message_id == head


def test_usage_of_several_claims_adds_up() -> None:
    ada, work = running()
    Turn.objects.update(input_tokens=10, output_tokens=20, cost_usd=Decimal("0.5"))
    fenced_writes.finish(work, ending(work, usage=BilledUsage(1, 2, Decimal("0.25"))))
    assert (ada.turn().input_tokens, ada.turn().output_tokens, ada.turn().cost_usd) == (11, 22, Decimal("0.75"))


def test_an_unknown_price_is_no_zero() -> None:
    ada, work = running()
    settled = StepOutcome(1, StepStatus.DONE, {"text": "", "tool_calls": []}, usage=BilledUsage(3, 5, None))
    fenced_writes.finish(work, ending(work, usage=BilledUsage(3, 5, None)), outcomes=[settled])
    assert (ada.turn().cost_usd, Step.objects.get().cost_usd) == (None, None)


def test_a_stop_that_wins_over_a_failure_still_tells_what_was_used() -> None:
    ada, work = running()
    cancel_turn(ada.actor, turn_id=work.turn_id)
    usage = BilledUsage(3, 5, Decimal("0.5")).shape
    fenced_writes.finish(
        work, ending(work, TurnStatus.FAILED, data={"usage": usage, "error": {}}, error_class="transient")
    )
    assert (ada.turn().status, ada.events()[-1].data["usage"]) == ("cancelled", usage)
    assert "error" not in ada.events()[-1].data


@pytest.mark.parametrize(
    ("asked", "became"),
    [
        (TurnStatus.COMPLETED, TurnStatus.COMPLETED),
        (TurnStatus.CANCELLED, TurnStatus.CANCELLED),
        (TurnStatus.EXPIRED, TurnStatus.EXPIRED),
        (TurnStatus.FAILED, TurnStatus.CANCELLED),
    ],
)
def test_a_stop_that_came_first_wins_over_a_failure_only(asked: TurnStatus, became: TurnStatus) -> None:
    ada, work = running()
    cancel_turn(ada.actor, turn_id=work.turn_id)
    error: dict[str, Any] = {
        "error_class": "transient", "error_detail": "It broke.", "error_id": new_id(),
        "data": {"error": {"error_class": "transient"}},
    }  # fmt: skip
    failed = asked in (TurnStatus.FAILED, TurnStatus.EXPIRED)
    ended = fenced_writes.finish(work, ending(work, asked, **error if failed else {}))
    assert ended.status is became
    turn, last = ada.turn(), ada.events()[-1]
    assert (turn.status, last.type) == (became, f"turn.{became}")
    assert (turn.error_class != "") == ("error" in last.data) == (became is TurnStatus.EXPIRED)


# --- what others write instead ---


@each_write
def test_nothing_is_written_after_the_end(write: Callable[[Claim], object]) -> None:
    ada, work = running()
    answer(work)
    before = everything(ada)
    with pytest.raises(LostTurn):
        write(work)
    assert everything(ada) == before


@each_write
def test_nothing_is_written_by_an_old_epoch(write: Callable[[Claim], object]) -> None:
    ada, work = running()
    lease_is_over(work.turn_id)
    assert reap() == 1
    before = everything(ada)
    with pytest.raises(LostTurn):
        write(work)
    assert everything(ada) == before, "while nobody owns it"
    assert claimed(runner=OTHER_RUNNER).epoch == 2
    before = everything(ada)
    with pytest.raises(LostTurn):
        write(work)
    assert everything(ada) == before, "while somebody else does"


@each_write
def test_nothing_is_written_to_another_turn_of_the_session(write: Callable[[Claim], object]) -> None:
    ada = conversation()
    ada.asks(2)
    work = claimed()
    answer(work)
    assert claimed().epoch == work.epoch
    before = everything(ada)
    with pytest.raises(LostTurn):
        write(work)
    assert everything(ada) == before


@each_write
def test_a_writer_that_waits_for_the_lock_while_the_reaper_takes_its_turn_writes_nothing(
    write: Callable[[Claim], object],
) -> None:
    ada, work = running()
    with transaction.atomic():
        session = lock_session(ada.session_id)
        assert session
        stalled = Stalled(lambda: write(work))
        stalled.until_it_waits()
        turn = lock_turn(session, work.turn_id)
        assert turn
        requeue_locked(session, turn, reason="lease_lost", without_progress=True)
        before = everything(ada)
    assert isinstance(stalled.ended(), LostTurn)
    assert everything(ada) == before


@each_write
def test_a_writer_that_waits_while_the_turn_is_taken_and_claimed_again_writes_nothing(
    write: Callable[[Claim], object],
) -> None:
    ada, work = running()
    with transaction.atomic():
        session = lock_session(ada.session_id)
        assert session
        stalled = Stalled(lambda: write(work))
        stalled.until_it_waits()
        turn = lock_turn(session, work.turn_id)
        assert turn
        requeue_locked(session, turn, reason="lease_lost", without_progress=True)
        assert claimed(runner=OTHER_RUNNER).epoch == 2
        before = everything(ada)
    assert isinstance(stalled.ended(), LostTurn)
    assert everything(ada) == before


def test_a_fence_that_asks_the_turn_instead_would_let_the_stalled_writer_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control of the two tests above: the epoch is read before the wait, and is old when it ends."""
    leaky = """
        UPDATE agents_agentsession s SET next_seq = next_seq + %(count)s FROM agents_turn t
        WHERE s.id = %(session)s AND t.id = %(turn)s AND t.epoch = %(epoch)s AND t.status = 'running'
        RETURNING s.id, s.next_seq
    """
    assert sql._FENCE in sql.APPEND
    monkeypatch.setattr(sql, "APPEND", sql.APPEND.replace(sql._FENCE, leaky))
    ada, work = running()
    with transaction.atomic():
        session = lock_session(ada.session_id)
        assert session
        stalled = Stalled(lambda: say(work, "late"))
        stalled.until_it_waits()
        turn = lock_turn(session, work.turn_id)
        assert turn
        requeue_locked(session, turn, reason="lease_lost", without_progress=True)
    assert stalled.ended() == 5
    assert ada.log()[-2:] == ["turn.queued", "message.delta"]


@pytest.mark.parametrize("first", ["the stop", "the answer"])
def test_a_stop_and_an_answer_that_meet_have_one_outcome(first: str) -> None:
    ada, work = running()
    with transaction.atomic():
        session = lock_session(ada.session_id)
        assert session
        if first == "the stop":
            stalled = Stalled(lambda: answer(work))
            stalled.until_it_waits()
            turn = lock_turn(session, work.turn_id)
            assert turn
            stop_locked(session, turn)
        else:
            answer(work)
            stalled = Stalled(lambda: cancel_turn(ada.actor, turn_id=work.turn_id))
            stalled.until_it_waits()
    assert not isinstance(stalled.ended(), Exception)
    assert ada.turn().status == "completed", "an answer that was faster than the stop is an answer"
    assert ada.log()[3:] == [
        *(["turn.cancelling"] if first == "the stop" else []),
        "message.completed",
        "turn.completed",
    ]


def test_events_of_the_runner_and_of_others_never_share_a_seq() -> None:
    ada, work = running()

    def update() -> int:
        with transaction.atomic():
            session = lock_session(ada.session_id)
            assert session
            return append_locked(session, [("session.updated", {"session": {}})])

    outcomes = side_by_side(*[lambda n=n: say(work, f"{n}a", f"{n}b") for n in range(3)], *[ada.ask] * 3, *[update] * 2)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(ada.log()) == 3 + 3 * 2 + 3 * 2 + 2
    deltas = [event.data["text"] for event in ada.events() if event.type == "message.delta"]
    assert sorted(deltas[::2]) == ["0a", "1a", "2a"]
    assert [text[0] for text in deltas[::2]] == [text[0] for text in deltas[1::2]], "one batch stands together"


def test_giving_back_is_fenced_too() -> None:
    ada, work = running()
    lease_is_over(work.turn_id)
    reap()
    claimed(runner=OTHER_RUNNER)
    before = everything(ada)
    assert not release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=True)
    assert everything(ada) == before


def test_parts_of_every_kind_survive_the_way_into_the_row() -> None:
    ada, work = running()
    parts = [text_part('"\\ \u2028 é'), tool_call_part(call_id="a", name="clock", arguments='{"bro')]
    fenced_writes.finish(work, ending(work, parts=parts))
    assert ada.messages()[-1].parts == parts
    assert ada.events()[-2].data["message"]["parts"] == parts


def test_a_write_sees_its_own_row_after_the_connection_was_replaced() -> None:
    ada, work = running()
    connection.close()
    assert say(work, "a") == 4
    assert ada.log()[-1] == "message.delta"
