"""The slots of open connections, on a real database."""

from __future__ import annotations

import gc
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from accounts.models import ApiKey
from agents.http.connection_slots import ConnectionSlots, Holder, TooManyConnections, purge_lost_slots
from agents.models import ConnectionSlot, WebProcess
from foundation.errors import RateLimited
from tests.support.conversations import side_by_side
from tests.support.people import person

ADA, BOB = Holder(1), Holder(2)


def limited(**limits: int) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


def run_out(slots: ConnectionSlots) -> None:
    """The process of `slots` was killed, and its lease is over."""
    WebProcess.objects.filter(pk=slots.process_id).update(expires_at="2000-01-01T00:00:00Z")


def key_with(connections: int, name: str = "ada") -> Holder:
    user = person(name)
    key = ApiKey.objects.create(
        user=user, name="k", prefix=f"{name}{ApiKey.objects.count()}", digest=b"", scopes=[], connections=connections
    )
    return Holder(user.pk, key.pk)


def count(holder: Holder) -> int:
    return ConnectionSlot.objects.of_holder(holder.user_id, holder.key_id).count()


@pytest.mark.django_db
def test_a_person_has_so_many_over_all_processes() -> None:
    with limited(connections_per_user=4):
        one, other = ConnectionSlots(), ConnectionSlots()
        held = [(slots, slots.acquire(ADA)) for slots in (one, other, one, other)]
        for slots in (one, other):
            with pytest.raises(TooManyConnections):
                slots.acquire(ADA)
        assert one.acquire(BOB) is not None, "another's are another's"
        slots, slot = held[0]
        assert slot is not None
        slots.release(ADA, slot)
        other.acquire(ADA)
        assert count(ADA) == 4


@pytest.mark.django_db
def test_a_key_has_as_many_as_it_says_beside_those_of_its_person() -> None:
    slots, key = ConnectionSlots(), key_with(3)
    person_of_it = Holder(key.user_id)
    with limited(connections_per_user=1):
        assert sorted(filter(None, [slots.acquire(key) for _ in range(3)])) == [1, 2, 3]
        with pytest.raises(TooManyConnections):
            slots.acquire(key)
        assert slots.acquire(person_of_it) == 1
        assert (count(key), count(person_of_it)) == (3, 1)


@pytest.mark.django_db
def test_many_keys_of_one_person_have_twice_as_many_as_one() -> None:
    slots, first = ConnectionSlots(), key_with(2)
    user_id = first.user_id
    others = [
        Holder(
            user_id,
            ApiKey.objects.create(user_id=user_id, name="k", prefix=f"o{n}", digest=b"", scopes=[], connections=2).pk,
        )
        for n in range(3)
    ]
    for holder in (first, first, others[0], others[0]):
        slots.acquire(holder)
    for holder in others[1:]:
        with pytest.raises(TooManyConnections):
            slots.acquire(holder)


@pytest.mark.django_db
def test_zero_is_no_limit() -> None:
    slots = ConnectionSlots()
    assert [slots.acquire(key_with(0)), slots.acquire(Holder(1, UUID(int=1)))] == [None, None], "or a key that is gone"
    with limited(connections_per_user=0):
        assert slots.acquire(ADA) is None


def test_connections_that_open_at_once_are_as_many_as_may_be(transactional_db: None) -> None:
    processes = [ConnectionSlots(), ConnectionSlots()]
    for slots in processes:
        slots.renew_if_due()
    with limited(connections_per_user=5):
        outcomes = side_by_side(*[lambda slots=slots: slots.acquire(ADA) for slots in processes * 5])
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [1, 2, 3, 4, 5]
    assert all(isinstance(outcome, int | RateLimited) for outcome in outcomes), outcomes


@pytest.mark.django_db
def test_the_connections_of_a_killed_process_are_free_again() -> None:
    with limited(connections_per_user=2):
        killed, other = ConnectionSlots(), ConnectionSlots()
        killed.acquire(ADA)
        killed.acquire(ADA)
        with pytest.raises(TooManyConnections):
            other.acquire(ADA)
        run_out(killed)
        assert {other.acquire(ADA), other.acquire(ADA)} == {1, 2}
        killed.release(ADA, 1)  # it was only paused: what is not its own any more stays
        assert count(ADA) == 2


@pytest.mark.django_db
def test_a_slot_that_is_left_while_it_is_acquired_is_not_held() -> None:
    lease = ConnectionSlots().lease(Actor.user(user_id=1, name="ada"))
    lease.cancel()
    lease.acquire()
    assert not lease.is_acquired
    assert count(ADA) == 0


@pytest.mark.django_db
def test_a_lease_that_nobody_ended_is_freed_when_it_is_collected() -> None:
    slots = ConnectionSlots()
    lease = slots.lease(Actor.user(user_id=1, name="ada"))
    lease.acquire()
    assert count(ADA) == 1
    del lease
    gc.collect()
    slots.renew()
    assert count(ADA) == 0


@pytest.mark.django_db
def test_many_are_freed_by_one_statement() -> None:
    slots, key = ConnectionSlots(), key_with(5)
    for holder in (ADA, ADA, key, key):
        slot = slots.acquire(holder)
        assert slot is not None
        slots.release_later(holder, slot)
    kept = slots.acquire(ADA)
    with CaptureQueriesContext(connection) as queries:
        slots.release_pending()
    assert len(queries) == 1
    assert list(ConnectionSlot.objects.values_list("user_id", "slot")) == [(1, kept)]


@pytest.mark.django_db
def test_rows_of_processes_that_are_long_gone_are_forgotten() -> None:
    gone, here = ConnectionSlots(), ConnectionSlots()
    gone.acquire(ADA)
    here.acquire(ADA)
    run_out(gone)
    purge_lost_slots()
    assert [slot.process_id for slot in ConnectionSlot.objects.all()] == [here.process_id]
