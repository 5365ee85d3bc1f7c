"""The jobs of memory: expiry, limits, duplicates, counts; each may run twice and stop anywhere."""

from __future__ import annotations

import math
from datetime import timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.test import override_settings

from accounts.actor import Actor
from accounts.roles import Role
from foundation.clock import now
from foundation.ids import new_id
from foundation.job_registry import jobs
from memory.apps import JOBS
from memory.enums import MemoryScope, MemorySource, Trust
from memory.lifecycle.consolidation import consolidate
from memory.lifecycle.expiry import sweep_expired
from memory.lifecycle.hits import HIT_BATCH, HitCounter
from memory.lifecycle.owner_upkeep import count_memories, evict_excess
from memory.models import EmbeddingModel, Memory, MemoryOwner, SimilarPair
from memory.ownership import OwnerKey
from memory.writing import confirm_memory, remember
from tests.support.people import person

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")


@pytest.fixture
def owner() -> OwnerKey:
    return OwnerKey(MemoryScope.USER, user_id=person("ada", Role.USER).pk, agent_id=new_id())


def fact(owner: OwnerKey, text: str, *, angle: float | None = None, speaker: str = "Ada", slot: str = "") -> UUID:
    """A fact, with a vector at this angle to the first axis."""
    stored = remember(SYSTEM, owner, text, source=MemorySource.API, speaker=speaker, slot=slot)
    if angle is not None:
        model, _ = EmbeddingModel.objects.get_or_create(name="plane", defaults={"dimensions": 2})
        vector = [math.cos(angle), math.sin(angle)]
        Memory.objects.filter(pk=stored.id).update(embedding=vector, embedding_model=model)
    return stored.id


def current() -> list[str]:
    rows = Memory.objects.filter(superseded_by=None).order_by("pk")
    return list(rows.values_list("body__text", flat=True))


def test_every_job_is_registered_and_can_be_loaded() -> None:
    assert all(callable(job.load()) for job in JOBS)
    assert {job.name for job in JOBS} <= set(jobs.names())


def test_expired_memories_are_erased_with_what_was_made_of_them(owner: OwnerKey) -> None:
    expired = fact(owner, "The code is 17.")
    remember(SYSTEM, owner, "Ada knows a code.", source=MemorySource.EXTRACTION, derived_from=[expired])
    fact(owner, "I like tea.")
    Memory.objects.filter(pk=expired).update(expires_at=now() - timedelta(seconds=1))
    assert (sweep_expired(), sweep_expired()) == (2, 0)
    assert current() == ["I like tea."]


def test_owners_beyond_their_limit_lose_the_least_valuable(owner: OwnerKey) -> None:
    ids = [fact(owner, f"Fact {number}") for number in range(13)]
    confirm_memory(SYSTEM, ids[0])
    Memory.objects.filter(pk=ids[1]).update(importance=0.9)
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"memory_facts_per_owner": 10})):
        assert (evict_excess(), evict_excess()) == (3, 0)
    assert {"Fact 0", "Fact 1"} <= set(current())
    assert len(current()) == 10


def test_counts_are_put_right(owner: OwnerKey) -> None:
    fact(owner, "I like tea.")
    MemoryOwner.objects.update(memories=77)
    assert count_memories() == 1
    assert MemoryOwner.objects.get().memories == 1


def test_nearly_equal_facts_of_one_speaker_are_merged_into_the_newer(owner: OwnerKey) -> None:
    fact(owner, "I like tea.", angle=0)
    fact(owner, "I like: tea.", angle=0.1)
    fact(owner, "I like coffee.", angle=1.5)
    assert consolidate() == 1
    assert current() == ["I like: tea.", "I like coffee."]
    assert consolidate() == 0


def test_what_somebody_confirmed_stays(owner: OwnerKey) -> None:
    confirm_memory(SYSTEM, fact(owner, "I like tea.", angle=0))
    fact(owner, "I like: tea.", angle=0.1)
    consolidate()
    assert current() == ["I like tea."]
    assert Memory.objects.get(superseded_by=None).trust == Trust.CONFIRMED


def test_similar_facts_and_equal_ones_of_two_speakers_are_noted_once(owner: OwnerKey) -> None:
    fact(owner, "I like tea.", angle=0)
    fact(owner, "I like black tea.", angle=0.35)
    fact(owner, "He likes tea.", angle=0.05, speaker="Bob")
    assert consolidate() == 3
    assert len(current()) == SimilarPair.objects.count() == 3
    assert consolidate() == 0


def test_facts_of_two_names_are_not_merged(owner: OwnerKey) -> None:
    fact(owner, "Bern.", angle=0, slot="home_city")
    fact(owner, "Bern!", angle=0.01, slot="birth_city")
    consolidate()
    assert len(current()) == 2


def test_hits_are_counted_in_batches(owner: OwnerKey) -> None:
    one, other = fact(owner, "I like tea."), fact(owner, "I like coffee.")
    counter = HitCounter()
    assert not counter.record([one, other])
    assert not counter.record([one, new_id()])
    assert counter.record([new_id() for _ in range(HIT_BATCH)])
    assert (counter.flush(), counter.flush()) == (2, 0)
    assert dict(Memory.objects.values_list("pk", "hits")) == {one: 2, other: 1}
    assert Memory.objects.get(pk=one).last_hit_at is not None
