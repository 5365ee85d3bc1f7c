"""Upkeep for owners with many memories: counts of words, and vector indexes of their own."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction

from memory.enums import MemoryScope, Trust
from memory.models import Memory, MemoryOwner, OwnerLexeme
from memory.ownership import OwnerKey
from memory.recall import RecallRequest, large_owners, recall, score_statement
from tests.support.memories import EMBEDDER, store

AGENT = OwnerKey(MemoryScope.AGENT, agent_id=UUID(int=1))
OTHER = OwnerKey(MemoryScope.AGENT, agent_id=UUID(int=2))


def owner_of(key: OwnerKey) -> MemoryOwner:
    return MemoryOwner.objects.get(key.condition())


def indexes() -> dict[str, bool]:
    return large_owners._existing_indexes()


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_owners, "LARGE_OWNER", 4)
    monkeypatch.setattr(score_statement, "LARGE_OWNER", 4)
    monkeypatch.setattr(large_owners, "INDEXED_OWNER", 4)
    monkeypatch.setattr(score_statement, "INDEXED_OWNER", 4)
    monkeypatch.setattr(large_owners, "INDEX_DROPPED_BELOW", 2)


@pytest.mark.django_db
@pytest.mark.usefixtures("small_bounds")
def test_the_words_of_large_owners_are_counted_when_they_have_changed() -> None:
    for number in range(6):
        store(AGENT, f"The cat number{number} sleeps.", context=["A dog barks."])
    store(AGENT, "The cat is a rumour.", trust=Trust.QUARANTINED.value)
    store(OTHER, "The cat sleeps.")
    assert large_owners.count_due_lexemes() == 1
    counts = OwnerLexeme.objects.filter(owner=owner_of(AGENT)).values_list("lexeme", "own_count", "context_count")
    assert {("cat", 6, 6), ("dog", 0, 6), ("number3", 1, 1)} <= set(counts)
    assert not OwnerLexeme.objects.filter(lexeme="rumour").exists()
    assert not OwnerLexeme.objects.filter(owner=owner_of(OTHER)).exists()
    assert large_owners.count_due_lexemes() == 0
    MemoryOwner.objects.filter(AGENT.condition()).update(memories=1)
    assert large_owners.count_due_lexemes() == 0
    assert not OwnerLexeme.objects.exists()


@pytest.mark.usefixtures("transactional_db", "small_bounds")
def test_the_vectors_of_the_largest_owners_get_an_index_that_searches_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        store(AGENT, f"The cat number{number} sleeps.")
    store(OTHER, "The cat sleeps.")
    assert large_owners.sync_vector_indexes() == 1
    [name] = indexes()
    assert name == f"memory_vectors_{owner_of(AGENT).pk}_{Memory.objects.first().embedding_model_id}_256"  # type: ignore[union-attr]
    assert large_owners.sync_vector_indexes() == 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        found = recall([AGENT], RecallRequest(query="cat number3"), embedder=EMBEDDER)
        cursor.execute("SELECT pg_stat_force_next_flush()")
    assert found.memories[0].text == "The cat number3 sleeps."
    with connection.cursor() as cursor:
        cursor.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s", [name])
        assert cursor.fetchone()[0] > 0
    # Shrunk, but not by so much that its index is not worth keeping.
    MemoryOwner.objects.filter(AGENT.condition()).update(memories=3)
    assert large_owners.sync_vector_indexes() == 0
    MemoryOwner.objects.filter(AGENT.condition()).update(memories=1)
    assert large_owners.sync_vector_indexes() == 1
    assert indexes() == {}


@pytest.mark.usefixtures("transactional_db", "small_bounds")
def test_what_a_broken_build_has_left_is_dropped() -> None:
    for number in range(6):
        store(AGENT, f"The cat number{number} sleeps.")
    with connection.cursor() as cursor, pytest.raises(IntegrityError):
        cursor.execute("CREATE UNIQUE INDEX CONCURRENTLY memory_vectors_1_1_1 ON memory_memory (tier)")
    assert indexes() == {"memory_vectors_1_1_1": False}
    assert large_owners.sync_vector_indexes() == 2, "dropped, and the right one built"
    [(name, is_valid)] = indexes().items()
    assert is_valid
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {name}")


@pytest.mark.django_db
@pytest.mark.usefixtures("small_bounds")
def test_indexes_are_not_built_in_a_transaction() -> None:
    for number in range(6):
        store(AGENT, f"The cat number{number} sleeps.")
    with pytest.raises(RuntimeError, match="outside of a transaction"):
        large_owners.sync_vector_indexes()


@pytest.mark.django_db
def test_connections_search_indexes_widely_enough() -> None:
    with connection.cursor() as cursor:
        for name, value in (("hnsw.ef_search", "200"), ("hnsw.iterative_scan", "relaxed_order"), ("jit", "off")):
            cursor.execute("SELECT '[1]'::vector, current_setting(%s)", [name])
            assert cursor.fetchone()[1] == value


def timeouts() -> list[str]:
    names = ["statement_timeout", "lock_timeout", "transaction_timeout"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(name, true) FROM unnest(%s::text[]) AS name", [names])
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.usefixtures("transactional_db")
def test_a_connection_has_its_timeouts_again_when_indexes_are_built() -> None:
    before = timeouts()
    with large_owners._long_statements():
        assert timeouts() != before
    assert timeouts() == before
