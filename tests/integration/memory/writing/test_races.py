"""Writers at the same moment: a fact is stored once, a slot has one value, what is erased stays erased."""

from __future__ import annotations

import pytest

from accounts.actor import Actor
from accounts.roles import Role
from foundation.errors import NotFound
from foundation.ids import new_id
from memory.enums import MemoryScope, MemorySource
from memory.models import Memory, MemoryBody, MemoryOwner
from memory.ownership import OwnerKey
from memory.writing import Remembered, forget_memory, remember, revise
from tests.support.conversations import side_by_side
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")
SYSTEM = Actor.system("tests")


@pytest.fixture
def owner() -> OwnerKey:
    return OwnerKey(MemoryScope.USER, user_id=person("ada", Role.USER).pk, agent_id=new_id())


def tell(owner: OwnerKey, text: str, slot: str = "") -> Remembered:
    return remember(SYSTEM, owner, text, source=MemorySource.API, slot=slot)


def test_the_same_fact_from_several_connections_is_stored_once(owner: OwnerKey) -> None:
    outcomes = side_by_side(*[lambda: tell(owner, "I live in Bern.")] * 5)
    assert sorted(outcome.is_new for outcome in outcomes if isinstance(outcome, Remembered)) == [False] * 4 + [True]
    assert Memory.objects.count() == MemoryOwner.objects.get().memories == 1


def test_a_slot_has_one_value_whoever_writes(owner: OwnerKey) -> None:
    cities = ["Bern", "Basel", "Chur", "Genf"]
    outcomes = side_by_side(*[lambda city=city: tell(owner, f"I live in {city}.", "home") for city in cities])
    assert all(isinstance(outcome, Remembered) for outcome in outcomes)
    assert Memory.objects.filter(superseded_by=None, valid_until=None).count() == 1
    assert Memory.objects.count() == 4


def test_two_corrections_of_one_version_leave_one(owner: OwnerKey) -> None:
    fact = tell(owner, "I live in Born.")
    outcomes = side_by_side(
        *[lambda text=text: revise(SYSTEM, fact.id, text, expected_version=1) for text in ("Bern.", "Basel.")]
    )
    assert sum(isinstance(outcome, Remembered) for outcome in outcomes) == 1
    assert Memory.objects.filter(superseded_by=None).count() == 1


def test_what_is_forgotten_and_corrected_at_once_is_gone_or_not_found(owner: OwnerKey) -> None:
    fact = tell(owner, "I live in Born.")
    outcomes = side_by_side(
        lambda: revise(SYSTEM, fact.id, "I live in Bern.", expected_version=1), lambda: forget_memory(SYSTEM, fact.id)
    )
    texts = list(MemoryBody.objects.values_list("text", flat=True))
    assert "I live in Born." not in texts or isinstance(outcomes[1], NotFound)
    assert Memory.objects.count() == len(texts)
