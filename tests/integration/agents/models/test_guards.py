"""What the database itself refuses, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction

from accounts.models import User
from agents.domain.events import TERMINAL_EVENTS
from agents.domain.states import OWNED, PARKED, TERMINAL, TURN_MOVES, TurnStatus
from agents.models import AgentSession, Event, Message, Release, Step, Turn
from foundation.ids import new_id
from tests.support.conversations import Conversation, conversation
from tests.support.people import OFFLINE

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC)


@pytest.fixture
def ada() -> Conversation:
    return conversation()


def columns_of(status: TurnStatus) -> dict[str, Any]:
    """What a turn must have in this state."""
    return {
        "status": status,
        "lease_expires_at": MOMENT if status in OWNED else None,
        "finished_at": MOMENT if status in TERMINAL else None,
        "available_at": MOMENT if status in PARKED else None,
        "wait_reason": "approval" if status is TurnStatus.WAITING else "",
        "error_class": "transient" if status is TurnStatus.FAILED else "",
    }


def turn_in(ada: Conversation, status: TurnStatus, ordinal: int = 1, **more: Any) -> Turn:
    session = ada.row
    values = columns_of(status) | {"fingerprint": b"x" * 32, "deadline_at": MOMENT, "queued_at": MOMENT} | more
    return Turn.objects.create(
        agent_session=session, user_id=session.user_id, release_id=session.release_id, ordinal=ordinal, **values
    )


class Undo(Exception):
    """The change was taken; take it back."""


def refusal(change: Callable[[], object]) -> str | None:
    """The constraint that refuses the change; None when it is taken. Nothing stays changed."""
    try:
        with transaction.atomic():
            change()
            connection.check_constraints()
            raise Undo
    except Undo:
        return None
    except IntegrityError as error:
        name: str = error.__cause__.diag.constraint_name  # type: ignore[union-attr]
        return name


def test_the_database_takes_exactly_the_moves_of_the_table(ada: Conversation) -> None:
    taken: dict[TurnStatus, set[TurnStatus]] = {}
    for source in TurnStatus:
        turn = turn_in(ada, source)
        rows = Turn.objects.filter(pk=turn.pk)
        verdicts = {
            target: refusal(lambda rows=rows, target=target: rows.update(**columns_of(target)))  # type: ignore[misc]
            for target in TurnStatus
            if target is not source
        }
        taken[source] = {target for target, verdict in verdicts.items() if verdict is None}
        expected = "turn_terminal_is_final" if source in TERMINAL else "turn_move_is_legal"
        assert set(verdicts.values()) <= {None, expected}
        rows.delete()
    assert taken == TURN_MOVES


OTHER: dict[type[models.Field[Any, Any]], Any] = {
    models.UUIDField: new_id(),
    models.DateTimeField: datetime(2027, 1, 1, tzinfo=UTC),
    models.DecimalField: Decimal("0.5"),
    models.IntegerField: 77,
    models.SmallIntegerField: 7,
    models.BooleanField: True,
    models.JSONField: {"other": 1},
    models.BinaryField: b"y" * 32,
    models.CharField: "other",
    models.TextField: "other",
    models.ForeignKey: None,
}
LATE = {"input_tokens", "output_tokens", "cost_usd", "compacted", "remembered", "retried_by"}


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_of_a_turn_that_has_ended_only_what_comes_late_may_change(ada: Conversation, status: TurnStatus) -> None:
    turn = turn_in(ada, status, runner_id=new_id())
    rows = Turn.objects.filter(pk=turn.pk)
    for field in Turn._meta.concrete_fields:
        if field.name in {"id", "status"}:
            continue
        other = OTHER[type(field)]
        if isinstance(field, models.ForeignKey):
            other = new_id() if field.target_field.get_internal_type() == "UUIDField" else 4711
        verdict = refusal(lambda field=field, other=other: rows.update(**{field.attname: other}))  # type: ignore[misc]
        assert verdict == (None if field.name in LATE else "turn_terminal_is_final"), field.name


def test_what_changes_nothing_is_no_change(ada: Conversation) -> None:
    turn = turn_in(ada, TurnStatus.FAILED)
    assert Turn.objects.filter(pk=turn.pk).update(error_class="transient") == 1


def test_a_turn_that_has_ended_may_be_deleted(ada: Conversation) -> None:
    turn_in(ada, TurnStatus.COMPLETED)
    assert Turn.objects.all().delete()[0] == 1


def test_a_release_is_immutable(ada: Conversation) -> None:
    User.objects.create(pk=4711, username="bob")
    others = {"id": new_id(), "agent_id": new_id(), "published_by_id": 4711, "number": 2, "published_at": MOMENT}
    for field in Release._meta.concrete_fields:
        other = others.get(field.attname, ["other"] if isinstance(field, models.JSONField) else "other")
        verdict = refusal(lambda field=field, other=other: Release.objects.update(**{field.attname: other}))  # type: ignore[misc]
        assert verdict == "release_is_immutable", field.name


def test_a_publisher_may_be_forgotten_but_not_replaced(ada: Conversation) -> None:
    bob = User.objects.create(username="bob")
    first = Release.objects.get()
    by_bob = Release.objects.create(agent=first.agent, number=2, published_by=bob, configuration=OFFLINE)
    assert refusal(lambda: Release.objects.filter(pk=by_bob.pk).update(published_by=ada.row.user)) is not None
    bob.delete()
    by_bob.refresh_from_db()
    assert by_bob.published_by is None


def test_a_session_has_one_owned_turn(ada: Conversation) -> None:
    bob = conversation("bob")
    for first, second in product(OWNED, OWNED):
        turn = turn_in(ada, first)
        assert refusal(lambda second=second: turn_in(ada, second, ordinal=2)) == "turn_one_owned_per_session"  # type: ignore[misc]
        turn_in(bob, second).delete()
        turn.delete()


def test_a_turn_has_one_end(ada: Conversation) -> None:
    turn, other = turn_in(ada, TurnStatus.QUEUED), turn_in(ada, TurnStatus.QUEUED, ordinal=2)

    def end(seq: int, event_type: str, turn: Turn) -> Event:
        return Event.objects.create(agent_session_id=ada.session_id, seq=seq, turn=turn, type=event_type)

    for first, second in product(TERMINAL_EVENTS, TERMINAL_EVENTS):
        end(1, first, turn)
        assert refusal(lambda second=second: end(2, second, turn)) == "event_one_end_per_turn"  # type: ignore[misc]
        end(2, second, other)
        Event.objects.all().delete()


def message(ada: Conversation, **values: Any) -> Message:
    return Message.objects.create(agent_session_id=ada.session_id, **{"ordinal": 1, "author": "user"} | values)


def test_orders_and_keys_are_unique_per_session(ada: Conversation) -> None:
    turn = turn_in(ada, TurnStatus.QUEUED, idempotency_key="k")
    message(ada, idempotency_key="k", turn=turn)
    message(ada, ordinal=2, author="agent", turn=turn)
    Event.objects.create(agent_session_id=ada.session_id, seq=1, type="turn.queued")
    step = {"turn": turn, "number": 1, "kind": "model", "epoch": 1, "name": "offline:"}
    Step.objects.create(**step)
    for name, again in {
        "turn_ordinal_unique": lambda: turn_in(ada, TurnStatus.QUEUED),
        "turn_key_unique": lambda: turn_in(ada, TurnStatus.QUEUED, ordinal=2, idempotency_key="k"),
        "message_ordinal_unique": lambda: message(ada),
        "message_key_unique": lambda: message(ada, ordinal=3, idempotency_key="k"),
        "message_one_answer_per_turn": lambda: message(ada, ordinal=3, author="agent", turn=turn),
        "event_seq_unique": lambda: Event.objects.create(agent_session_id=ada.session_id, seq=1, type="turn.queued"),
        "step_number_unique": lambda: Step.objects.create(**step),
    }.items():
        assert refusal(again) == name
    bob = conversation("bob")
    turn_in(bob, TurnStatus.QUEUED, idempotency_key="k")
    message(bob, idempotency_key="k")
    message(bob, ordinal=2, author="human", turn=turn)
    message(bob, ordinal=3)


UNSOUND: dict[str, tuple[str, Callable[[Conversation, Turn], object]]] = {
    "an unknown state": ("turn_row_check", lambda ada, turn: turn_in(ada, "dreaming", ordinal=2)),  # type: ignore[arg-type]
    "a failure without a class": (
        "turn_row_check",
        lambda ada, turn: turn_in(ada, TurnStatus.FAILED, ordinal=2, error_class=""),
    ),
    "a wait for nobody": (
        "turn_row_check",
        lambda ada, turn: turn_in(ada, TurnStatus.WAITING, ordinal=2, wait_reason=""),
    ),
    "a wait for the moon": (
        "turn_row_check",
        lambda ada, turn: turn_in(ada, TurnStatus.WAITING, ordinal=2, wait_reason="moon"),
    ),
    "a queue for an approval": (
        "turn_row_check",
        lambda ada, turn: turn_in(ada, TurnStatus.QUEUED, ordinal=2, wait_reason="approval"),
    ),
    "an unknown author": ("message_row_check", lambda ada, turn: message(ada, author="robot")),
    "a message that is its own parent": (
        "message_row_check",
        lambda ada, turn: message(ada, id=turn.pk, parent_id=turn.pk),
    ),
    "an unknown kind of step": ("step_row_check", lambda ada, turn: step(turn, kind="magic")),
    "an unknown state of a step": ("step_row_check", lambda ada, turn: step(turn, status="maybe")),
    "a settled step without its end": ("step_row_check", lambda ada, turn: step(turn, status="done")),
    "an open step with an end": ("step_row_check", lambda ada, turn: step(turn, finished_at=MOMENT)),
    "an unknown controller": ("session_row_check", lambda ada, turn: change(ada, controller="cat")),
    "less than no open turns": ("session_row_check", lambda ada, turn: change(ada, open_turns=-1)),
    "a next seq of zero": ("session_row_check", lambda ada, turn: change(ada, next_seq=0)),
    "a next ordinal of zero": ("session_row_check", lambda ada, turn: change(ada, next_ordinal=0)),
    "an agent that does something else when busy": (
        "agent_when_busy_known",
        lambda ada, turn: type(ada.row.agent).objects.update(when_busy="panic"),
    ),
}


def step(turn: Turn, **values: Any) -> Step:
    return Step.objects.create(**{"turn": turn, "number": 1, "kind": "model", "epoch": 1, "name": "offline:"} | values)


def change(ada: Conversation, **values: Any) -> int:
    return AgentSession.objects.filter(pk=ada.session_id).update(**values)


@pytest.mark.parametrize(("constraint", "write"), UNSOUND.values(), ids=UNSOUND.keys())
def test_unsound_rows_are_refused(ada: Conversation, constraint: str, write: Callable[..., object]) -> None:
    turn = turn_in(ada, TurnStatus.QUEUED)
    assert refusal(lambda: write(ada, turn)) == constraint


@pytest.mark.parametrize("status", sorted(TurnStatus))
def test_a_turn_has_a_lease_while_it_is_owned_an_end_when_it_has_ended_and_else_it_may_wait(
    ada: Conversation, status: TurnStatus
) -> None:
    turned = columns_of(status)
    for column in ("lease_expires_at", "finished_at", "available_at"):
        other = None if turned[column] else MOMENT
        assert refusal(lambda column=column, other=other: turn_in(ada, status, **{column: other})) == "turn_row_check"  # type: ignore[misc]
    turn_in(ada, status)
