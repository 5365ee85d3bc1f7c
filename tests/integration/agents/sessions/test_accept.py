"""Acceptance: an acknowledged message is stored once, with its turn, in the order of the session."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import IntegrityError, OperationalError, connection

from accounts.actor import Actor, Scope
from agents.domain.message_parts import MAX_TEXT_BYTES, text_part
from agents.domain.serialization import message_shape
from agents.domain.states import Priority, WhenBusy
from agents.journal import sql
from agents.models import AgentSession, Message, Turn
from agents.sessions import Accepted, SessionQueueFull, TurnInProgress, accept, accept_message, cancel_turn
from foundation.errors import (
    BandstandError,
    Forbidden,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from foundation.ids import new_id
from tests.support.conversations import Conversation, answer, claim, claimed, conversation, say, side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")

DEPTH = 20


def human(ada: Conversation, controls: bool = True) -> None:
    AgentSession.objects.filter(pk=ada.session_id).update(controller="human" if controls else "agent")


def nothing_stored(ada: Conversation) -> bool:
    row = ada.row
    return not (ada.messages() or ada.turns() or ada.events()) and (row.next_seq, row.open_turns) == (1, 0)


# --- what is stored ---


def test_a_message_is_stored_with_its_turn_and_its_events() -> None:
    ada = conversation()
    accepted = ada.ask("Grüße  ")
    turn, [message] = ada.turn(), ada.messages()
    assert accepted == Accepted(turn.pk, message.pk, seq=2, ordinal=1, status="queued", replayed=False)
    assert (message.author, message.parts, message.parent, message.partial) == (
        "user", [text_part("Grüße  ")], None, False,
    )  # fmt: skip
    assert message.turn_id == turn.pk
    row = ada.row
    assert (turn.status, turn.ordinal, turn.priority, turn.epoch) == ("queued", 1, Priority.INTERACTIVE, 0)
    assert (turn.user_id, turn.release_id) == (row.user_id, row.release_id)
    assert (row.open_turns, row.next_ordinal, row.head_message_id) == (1, 2, message.pk)
    assert row.updated_at > row.created_at
    assert 3500 < (turn.deadline_at - turn.queued_at).total_seconds() <= 3600


def test_the_events_carry_the_shapes_of_the_rows() -> None:
    ada = conversation()
    ada.ask(priority=Priority.BACKGROUND)
    [created, queued] = ada.events()
    [message] = ada.messages()
    assert ada.log() == ["message.created", "turn.queued"]
    assert created.data == {"message": message_shape(message)}
    assert queued.data == {"message": str(message.pk), "ordinal": 1, "priority": "background"}
    assert {event.turn_id for event in ada.events()} == {ada.turn().pk}


def test_messages_follow_each_other() -> None:
    ada = conversation()
    first, second = ada.asks(2)
    assert (first.ordinal, second.ordinal) == (1, 2)
    assert (first.seq, second.seq) == (2, 4)
    assert [message.parent_id for message in ada.messages()] == [None, first.message_id]


def test_a_message_in_one_session_is_none_in_another() -> None:
    ada, same = conversation(), conversation()
    ada.ask()
    assert nothing_stored(same)


# --- who may, and what ---


def test_absent_and_foreign_sessions_look_the_same() -> None:
    ada, bob = conversation(), conversation("bob")
    for session_id in (ada.session_id, new_id()):
        with pytest.raises(NotFound):
            accept_message(bob.actor, session_id=session_id, text="Hi")
        with pytest.raises(NotFound):
            accept_message(bob.actor, session_id=session_id, text="Hi", key="k", when_busy=WhenBusy.INTERRUPT)
    assert nothing_stored(ada)


def test_the_system_and_keys_without_the_scope_do_not_chat() -> None:
    ada = conversation()
    with pytest.raises(Unauthenticated):
        accept_message(Actor.system("tests"), session_id=ada.session_id, text="Hi")
    reader = Actor.user(user_id=ada.row.user_id, name="ada", scopes=frozenset({Scope.READ, Scope.MANAGE}))
    with pytest.raises(Forbidden):
        accept_message(reader, session_id=ada.session_id, text="Hi")
    assert nothing_stored(ada)


@pytest.mark.parametrize(
    ("options", "refusal", "pointer"),
    [
        ({"text": ""}, InvalidInput, "/input"),
        ({"text": " \n"}, InvalidInput, "/input"),
        ({"text": "a\x00"}, InvalidInput, "/input"),
        ({"text": "\ud800"}, InvalidInput, "/input"),
        ({"text": None}, InvalidInput, "/input"),
        ({"text": "x" * (MAX_TEXT_BYTES + 1)}, TooLarge, "/input"),
        ({"key": ""}, InvalidInput, "/idempotency_key"),
        ({"key": "two words"}, InvalidInput, "/idempotency_key"),
        ({"key": "é"}, InvalidInput, "/idempotency_key"),
        ({"key": "\x7f"}, InvalidInput, "/idempotency_key"),
        ({"key": "k" * 256}, InvalidInput, "/idempotency_key"),
        ({"parent": UUID(int=1)}, InvalidInput, "/parent"),
    ],
)
def test_bad_input_is_refused_with_a_pointer_and_stores_nothing(
    options: dict[str, Any], refusal: type[BandstandError], pointer: str
) -> None:
    ada = conversation()
    with pytest.raises(refusal) as refused:
        ada.ask(**options)
    assert type(refused.value) is refusal
    assert refused.value.pointer == pointer
    assert nothing_stored(ada)


@pytest.mark.parametrize("key", ["k", "!" * 255, "~", "a/b?c=d'\"\\;--"])
def test_any_visible_ascii_is_a_key(key: str) -> None:
    ada = conversation()
    assert ada.ask(key=key).turn_id == ada.ask(key=key).turn_id


# --- idempotency ---


def test_a_repeat_gets_the_first_outcome_and_stores_nothing() -> None:
    ada = conversation()
    first = ada.ask("Hi", key="k")
    again = ada.ask("Hi", key="k")
    assert again == Accepted(
        first.turn_id, first.message_id, first.seq, first.ordinal, status="queued", replayed=True
    )  # fmt: skip
    assert ada.log() == ["message.created", "turn.queued"]


def test_a_repeat_is_told_the_present_state_for_ever() -> None:
    ada = conversation()
    first = ada.ask("Hi", key="k")
    work = claimed()
    assert ada.ask("Hi", key="k").status == "running"
    answer(work)
    again = ada.ask("Hi", key="k")
    assert (again.status, again.replayed, again.seq, again.message_id) == (
        "completed", True, first.seq, first.message_id,
    )  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Ho"},
        {"text": "Hi "},
        {"parent": None},
        {"priority": Priority.BACKGROUND},
        {"when_busy": WhenBusy.REJECT},
    ],
)
def test_a_key_used_for_something_else_is_a_mismatch(other: dict[str, Any]) -> None:
    ada = conversation()
    ada.ask("Hi", key="k")
    with pytest.raises(IdempotencyMismatch):
        ada.ask(**{"text": "Hi", "key": "k"} | other)
    assert len(ada.turns()) == 1


def test_a_repeat_does_not_interrupt() -> None:
    ada = conversation(when_busy=WhenBusy.INTERRUPT)
    ada.ask("Hi", key="k")
    claimed()
    assert ada.ask("Hi", key="k").replayed
    assert ada.statuses() == ["running"]


def test_a_repeat_is_answered_even_when_the_session_takes_nothing() -> None:
    ada = conversation(when_busy=WhenBusy.REJECT)
    first = ada.ask("Hi", key="k")
    assert ada.ask("Hi", key="k").turn_id == first.turn_id


def test_keys_are_the_session_s_own() -> None:
    ada, bob = conversation(), conversation("bob")
    assert not ada.ask("Hi", key="k").replayed
    assert not bob.ask("Ho", key="k").replayed
    assert not conversation().ask("Ho", key="k").replayed


def test_messages_without_a_key_are_never_taken_for_repeats() -> None:
    ada = conversation()
    assert ada.ask("Hi").turn_id != ada.ask("Hi").turn_id


def test_many_repeats_at_the_same_moment_store_one_message() -> None:
    ada = conversation()
    outcomes = side_by_side(*[lambda: ada.ask("Hi", key="k")] * 8)
    assert {outcome.turn_id for outcome in outcomes} == {ada.turn().pk}  # type: ignore[union-attr]
    assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 7  # type: ignore[union-attr]
    assert ada.log() == ["message.created", "turn.queued"]


def test_one_key_for_two_texts_at_the_same_moment_stores_one_of_them() -> None:
    ada = conversation()
    outcomes = side_by_side(*[lambda n=n: ada.ask(f"Text {n % 2}", key="k") for n in range(8)])
    stored = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, IdempotencyMismatch)]
    assert (len(stored), len(refused)) == (4, 4)
    assert len(ada.messages()) == 1


# --- depth, and a session that is busy ---


def test_the_session_takes_messages_up_to_its_depth_and_then_says_so() -> None:
    ada = conversation()
    ada.asks(DEPTH)
    with pytest.raises(SessionQueueFull) as refusal:
        ada.ask()
    assert refusal.value.retryable
    assert refusal.value.retry_after_seconds
    assert ada.row.open_turns == DEPTH
    answer(claimed())
    ada.ask()
    assert ada.row.open_turns == DEPTH


def test_the_depth_is_exact_under_real_concurrency() -> None:
    ada = conversation()
    ada.asks(DEPTH - 3)
    outcomes = side_by_side(*[ada.ask] * 8)
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, SessionQueueFull) for outcome in outcomes) == 5
    assert ada.row.open_turns == len(ada.turns()) == DEPTH
    assert len(ada.log()) == 2 * DEPTH
    assert [message.ordinal for message in ada.messages()] == list(range(1, DEPTH + 1))


def test_messages_at_the_same_moment_stand_in_one_order() -> None:
    ada = conversation()
    outcomes = [outcome for outcome in side_by_side(*[ada.ask] * 8) if isinstance(outcome, Accepted)]
    assert sorted(outcome.ordinal for outcome in outcomes) == list(range(1, 9))
    assert {outcome.ordinal: outcome.seq for outcome in outcomes} == {n: 2 * n for n in range(1, 9)}
    messages = ada.messages()
    assert [message.parent_id for message in messages] == [None, *(message.pk for message in messages[:-1])]
    assert ada.log() == ["message.created", "turn.queued"] * 8


@pytest.mark.parametrize("asked", ["by its agent", "by the request"])
def test_a_busy_session_rejects_where_it_is_told_to(asked: str) -> None:
    by_agent = asked == "by its agent"
    ada = conversation(when_busy=WhenBusy.REJECT if by_agent else WhenBusy.ENQUEUE)
    options = {} if by_agent else {"when_busy": WhenBusy.REJECT}
    ada.ask(**options)
    with pytest.raises(TurnInProgress):
        ada.ask(**options)
    assert len(ada.messages()) == 1
    answer(claimed())
    assert ada.ask(**options).ordinal == 3


def test_a_request_may_wait_where_the_agent_would_reject() -> None:
    ada = conversation(when_busy=WhenBusy.REJECT)
    ada.ask()
    ada.ask(when_busy=WhenBusy.ENQUEUE)
    assert ada.statuses() == ["queued", "queued"]


def test_only_one_of_many_gets_in_where_the_agent_rejects() -> None:
    ada = conversation(when_busy=WhenBusy.REJECT)
    outcomes = side_by_side(*[ada.ask] * 8)
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, TurnInProgress) for outcome in outcomes) == 7
    assert len(ada.turns()) == 1


def test_an_interruption_stops_what_runs_and_drops_what_waits() -> None:
    ada = conversation(when_busy=WhenBusy.INTERRUPT)
    ada.ask("One")
    work = claimed()
    say(work, "Let me th")
    ada.ask("Two", when_busy=WhenBusy.ENQUEUE)
    accepted = ada.ask("Three")
    assert ada.statuses() == ["cancelling", "cancelled", "queued"]
    assert accepted.status == "queued"
    assert ada.row.open_turns == 2
    assert ada.log()[-4:] == ["turn.cancelling", "turn.cancelled", "message.created", "turn.queued"]
    assert claim() == [], "the new turn waits for the end of the old one"


def test_an_interruption_of_nothing_is_a_message() -> None:
    ada = conversation(when_busy=WhenBusy.INTERRUPT)
    ada.ask()
    assert ada.log() == ["message.created", "turn.queued"]


def test_a_full_session_can_be_interrupted() -> None:
    ada = conversation()
    ada.asks(DEPTH)
    ada.ask("Stop it all", when_busy=WhenBusy.INTERRUPT)
    assert ada.statuses() == ["cancelled"] * DEPTH + ["queued"]
    assert ada.row.open_turns == 1
    ada.log()


# --- branches ---


def test_a_branch_begins_behind_its_parent_and_becomes_the_head() -> None:
    ada = conversation()
    first = ada.ask("One")
    answer(claimed())
    ada.ask("Two")
    branch = ada.ask("Two, better", parent=first.message_id)
    messages = {message.pk: message for message in ada.messages()}
    assert messages[branch.message_id].parent_id == first.message_id
    assert ada.row.head_message_id == branch.message_id
    root = ada.ask("From the start", parent=None)
    assert Message.objects.get(pk=root.message_id).parent_id is None


def test_a_parent_in_another_session_is_no_parent() -> None:
    ada, other = conversation(), conversation()
    foreign = other.ask().message_id
    with pytest.raises(InvalidInput) as refusal:
        ada.ask(parent=foreign)
    assert refusal.value.pointer == "/parent"
    assert nothing_stored(ada)


# --- a human controls ---


def test_what_is_said_to_a_human_has_no_turn() -> None:
    ada = conversation()
    first = ada.ask("Is anybody there?")
    answer(claimed())
    head = ada.row.head_message_id
    human(ada)
    accepted = ada.ask("Hello, human", key="k")
    assert (accepted.turn_id, accepted.status, accepted.replayed) == (None, "stored", False)
    message = ada.messages()[-1]
    assert (message.pk, message.turn_id, message.parent_id) == (accepted.message_id, None, head)
    assert ada.row.head_message_id == message.pk
    assert ada.row.open_turns == 0
    last = ada.events()[-1]
    assert (last.seq, last.type, last.turn_id) == (accepted.seq, "message.created", None)
    assert last.data == {"message": message_shape(message)}
    assert first.ordinal < accepted.ordinal


def test_a_repeat_to_a_human_gets_the_first_outcome() -> None:
    ada = conversation()
    human(ada)
    first = ada.ask("Hello", key="k")
    again = ada.ask("Hello", key="k")
    assert again == Accepted(None, first.message_id, first.seq, first.ordinal, status="stored", replayed=True)
    with pytest.raises(IdempotencyMismatch):
        ada.ask("Other", key="k")
    assert len(ada.messages()) == 1


@pytest.mark.parametrize("human_first", [True, False])
def test_a_repeat_after_the_controller_changed_is_still_a_repeat(human_first: bool) -> None:
    ada = conversation()
    human(ada, human_first)
    first = ada.ask("Hello", key="k")
    human(ada, not human_first)
    again = ada.ask("Hello", key="k")
    assert (again.message_id, again.turn_id, again.replayed) == (first.message_id, first.turn_id, True)
    with pytest.raises(IdempotencyMismatch):
        ada.ask("Other", key="k")
    assert len(ada.messages()) == 1


# --- the database fails ---


@pytest.mark.parametrize("controller", ["agent", "human"])
def test_a_lost_reply_is_asked_for_again_and_stores_one_message(
    monkeypatch: pytest.MonkeyPatch, controller: str
) -> None:
    ada = conversation()
    human(ada, controller == "human")
    attempt, attempts = accept._accept, []

    def cut(new: Any) -> Accepted:
        """The commit goes through and its acknowledgement is lost, once."""
        attempts.append(attempt(new))
        if len(attempts) == 1:
            raise OperationalError("the connection is lost")
        return attempts[-1]

    monkeypatch.setattr(accept, "_accept", cut)
    accepted = ada.ask("Hi")
    assert len(attempts) == 2
    assert attempts[0] == accepted, "the second attempt found what the first one stored, and it is no repeat"
    assert not accepted.replayed
    assert [message.pk for message in ada.messages()] == [accepted.message_id]


def test_a_database_that_stays_away_is_said_to_be_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = conversation()

    def down(*_: Any, **__: Any) -> Any:
        raise OperationalError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr(accept, "admit", down)
        with pytest.raises(Unavailable) as refusal:
            ada.ask("Hi")
    assert refusal.value.retryable
    assert nothing_stored(ada)


def test_another_broken_constraint_is_not_taken_for_a_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = conversation()
    first = ada.ask("Hi", key="k")
    monkeypatch.setattr(accept, "new_id", lambda: first.turn_id)
    with pytest.raises(IntegrityError):
        ada.ask("Ho", key="other")
    assert len(ada.turns()) == 1


def test_notifications_say_which_session_and_how_far() -> None:
    ada = conversation()
    with connection.cursor() as cursor:
        heard: list[tuple[str, str]] = []
        cursor.connection.add_notify_handler(note := lambda n: heard.append((n.channel, n.payload)))
        cursor.execute(f'LISTEN "{sql.EVENTS_CHANNEL}"; LISTEN "{sql.TURNS_CHANNEL}"')
        ada.ask()
        cursor.execute("UNLISTEN *")
        cursor.connection.remove_notify_handler(note)
    assert heard == [(sql.EVENTS_CHANNEL, f"{ada.session_id} 2"), (sql.TURNS_CHANNEL, "")]


def test_a_stopped_turn_makes_room() -> None:
    ada = conversation()
    first, *_ = ada.asks(DEPTH)
    assert first.turn_id
    cancel_turn(ada.actor, turn_id=first.turn_id)
    ada.ask()
    assert Turn.objects.filter(status="queued").count() == DEPTH == settings.BANDSTAND.queue_depth
