"""Acts on many rows: each row once, honestly counted, stopped at once, and gone on with by whoever is there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group

from accounts.actor import Actor
from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import BulkAction
from agents.permissions.role_permissions import CANCEL_TURN
from agents.sessions import (
    bulk_actions,
    cancel_any_turn,
    open_bulk_actions,
    run_bulk_action,
    start_bulk_action,
    stop_bulk_action,
)
from agents.tasks import run_bulk_actions
from foundation.errors import Forbidden, InvalidInput, NotFound
from foundation.ids import new_id
from tests.support.conversations import Conversation, conversation, side_by_side
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def olga() -> Actor:
    return user_actor(person("olga", Role.OPERATOR))


@pytest.fixture
def ada() -> Conversation:
    made = conversation()
    made.asks(8)
    return made


def keys(ada: Conversation) -> list[UUID]:
    return [turn.pk for turn in ada.turns()]


def now_is(made: BulkAction) -> tuple[str, int, int]:
    made.refresh_from_db()
    return made.status, made.done, made.refused


def test_every_row_is_done_once_and_what_refuses_is_counted_with_its_reason(olga: Actor, ada: Conversation) -> None:
    made = start_bulk_action(olga, operation="fail_turn", targets=[*keys(ada), new_id(), keys(ada)[0]])
    assert run_bulk_action(made.pk, seconds=60) == 10
    assert now_is(made) == ("done", 8, 2)
    assert made.reasons == {"There is no such thing here.": 1, "The turn has ended already; it is failed.": 1}
    assert (made.targets, made.worker, made.lease_expires_at) == ([], None, None)
    assert made.finished_at is not None
    assert ada.statuses() == ["failed"] * 8
    assert AuditEntry.objects.filter(actor="olga", action="turn.failed_by_operator").count() == 8
    assert run_bulk_action(made.pk, seconds=60) == 0


def test_work_goes_on_where_it_stood(olga: Actor, ada: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "CHUNK", 3)
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    # Without time it does one row at least, or nothing would ever come to an end.
    assert [run_bulk_action(made.pk, seconds=1e-9) for _ in range(3)] == [1, 1, 1]
    assert now_is(made) == ("open", 3, 0)
    assert ada.statuses() == ["cancelled"] * 3 + ["queued"] * 5
    assert run_bulk_actions() == 5
    assert now_is(made) == ("done", 8, 0)


def test_two_who_work_at_once_do_no_row_twice(olga: Actor, ada: Conversation) -> None:
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    found = side_by_side(*[lambda: run_bulk_action(made.pk, seconds=60)] * 4)
    assert sorted(found, key=str) == [0, 0, 0, 8]
    assert now_is(made) == ("done", 8, 0)


def test_a_worker_that_is_gone_is_followed_by_another_when_its_lease_is_over(olga: Actor, ada: Conversation) -> None:
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    BulkAction.objects.update(worker=new_id(), lease_expires_at="2999-01-01T00:00:00Z")
    assert run_bulk_action(made.pk, seconds=60) == 0
    # It had done two rows, and told nobody.
    for key in keys(ada)[:2]:
        cancel_any_turn(olga, turn_id=key)
    BulkAction.objects.update(lease_expires_at="2000-01-01T00:00:00Z")
    assert run_bulk_action(made.pk, seconds=60) == 8
    assert now_is(made)[0] == "done"
    assert ada.statuses() == ["cancelled"] * 8
    assert AuditEntry.objects.filter(action="turn.cancelled").count() == 8


def test_a_worker_whose_lease_another_has_taken_writes_no_progress(
    olga: Actor, ada: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    other = new_id()
    verb = bulk_actions.BULK_OPERATIONS["cancel"].verb

    def slow(actor: Actor, key: UUID) -> object:
        BulkAction.objects.update(worker=other)
        return verb(actor, key)

    monkeypatch.setitem(bulk_actions.BULK_OPERATIONS, "cancel", bulk_actions.BulkOperation(CANCEL_TURN, slow))
    run_bulk_action(made.pk, seconds=1e-9)
    assert now_is(made) == ("open", 0, 0)
    assert made.worker == other


def test_a_stop_is_heard_and_what_was_done_meanwhile_is_counted(
    olga: Actor, ada: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_actions, "CHUNK_SECONDS", 1e-9)
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    verb, rows = bulk_actions.BULK_OPERATIONS["cancel"].verb, []

    def stopped_at_the_third(actor: Actor, key: UUID) -> object:
        rows.append(key)
        if len(rows) == 3:
            stop_bulk_action(olga, bulk_action_id=made.pk)
        return verb(actor, key)

    monkeypatch.setitem(
        bulk_actions.BULK_OPERATIONS, "cancel", bulk_actions.BulkOperation(CANCEL_TURN, stopped_at_the_third)
    )
    assert run_bulk_action(made.pk, seconds=60) == 3
    assert now_is(made) == ("stopped", 3, 0)
    assert (made.note, made.targets) == ("Stopped by olga.", [])
    assert (open_bulk_actions(), run_bulk_actions()) == ([], 0)
    assert ada.statuses() == ["cancelled"] * 3 + ["queued"] * 5
    assert stop_bulk_action(olga, bulk_action_id=made.pk).status == "stopped"
    assert AuditEntry.objects.filter(action="bulk_action.stopped").count() == 1


@pytest.mark.parametrize("lost", ["role", "account"])
def test_who_may_not_do_it_any_more_does_no_further_row(olga: Actor, ada: Conversation, lost: str) -> None:
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    assert run_bulk_action(made.pk, seconds=1e-9) == 1
    if lost == "role":
        User.objects.get(username="olga").groups.remove(Group.objects.get(name=Role.OPERATOR))
    else:
        User.objects.filter(username="olga").update(is_active=False)
    assert run_bulk_action(made.pk, seconds=60) == 0
    assert now_is(made) == ("stopped", 1, 0)
    assert made.note == "olga may not do this any more."
    assert ada.statuses().count("cancelled") == 1


def test_a_row_that_breaks_the_verb_does_not_stop_the_others(
    olga: Actor, ada: Conversation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    verb, poison = bulk_actions.BULK_OPERATIONS["cancel"].verb, keys(ada)[3]

    def broken(actor: Actor, key: UUID) -> object:
        if key == poison:
            raise ValueError(key)
        return verb(actor, key)

    monkeypatch.setitem(bulk_actions.BULK_OPERATIONS, "cancel", bulk_actions.BulkOperation(CANCEL_TURN, broken))
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    run_bulk_action(made.pk, seconds=60)
    assert now_is(made) == ("done", 7, 1)
    assert "bulk_row.failed" in caplog.text


def test_a_small_act_does_not_wait_for_a_large_one(
    olga: Actor, ada: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.tasks.BULK_SLICE_SECONDS", 1e-9)
    bob = conversation("bob")
    bob.ask()
    large = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    small = start_bulk_action(olga, operation="cancel", targets=keys(bob))
    order: list[Any] = []
    work = bulk_actions.run_bulk_action

    def noted(bulk_id: UUID, *, seconds: float) -> int:
        order.append(bulk_id)
        return work(bulk_id, seconds=seconds)

    monkeypatch.setattr("agents.tasks.run_bulk_action", noted)
    assert run_bulk_actions() == 9
    assert order[:3] == [large.pk, small.pk, large.pk]


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER, Role.BUILDER])
def test_who_is_no_operator_neither_begins_nor_stops_one(olga: Actor, ada: Conversation, role: Role) -> None:
    made = start_bulk_action(olga, operation="cancel", targets=keys(ada))
    eve = user_actor(person("eve", role))
    with pytest.raises(Forbidden):
        start_bulk_action(eve, operation="cancel", targets=keys(ada))
    with pytest.raises(Forbidden):
        stop_bulk_action(eve, bulk_action_id=made.pk)
    with pytest.raises(NotFound):
        stop_bulk_action(olga, bulk_action_id=new_id())
    with pytest.raises(InvalidInput):
        start_bulk_action(olga, operation="cancel", targets=[])
    assert open_bulk_actions() == [made.pk]
