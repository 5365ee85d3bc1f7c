"""Jobs for owners with many memories: how often each word occurs, and an index of their vectors.

A search scores every memory of an owner up to `score_statement.LARGE_OWNER`. Beyond that it needs to know how rare the
words are, which `count_lexemes` stores, and finds the nearest vectors by reading all: 12 ms for 10,000. So an owner
above `INDEXED_OWNER` gets an index of its own vectors alone, up to `MAX_INDEXES` owners. There is no index over the
vectors of all owners: filtered by owner it returns a tenth of what it should, and makes every insert nine times slower.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.db import connection, transaction
from django.db.models import F

from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from memory.models import MemoryOwner, OwnerLexeme
from memory.recall.score_statement import INDEXED_OWNER, LARGE_OWNER

log = structlog.get_logger(__name__)

# An owner that has shrunk keeps its index until here, so that it is not built again and again.
INDEX_DROPPED_BELOW: Final = 15_000
MAX_INDEXES: Final = 50
# Lexemes are counted anew once an owner has so much more or less than at the last count.
DRIFT: Final = 0.1
STATEMENT_SECONDS: Final = 600
_HAS_TRANSACTION_TIMEOUT: Final = 170_000
_PREFIX: Final = "memory_vectors_"
_NAME: Final = re.compile(rf"{_PREFIX}(\d+)_(\d+)_(\d+)\Z")

_CURRENT = "owner_id = {owner:d} AND superseded_by_id IS NULL AND trust >= 2"
_STORE_LEXEMES = """
INSERT INTO memory_ownerlexeme (owner_id, lexeme, own_count, context_count)
SELECT %(owner)s, near.word, coalesce(own.ndoc, 0), near.ndoc
FROM ts_stat(%(near)s) near LEFT JOIN ts_stat(%(own)s) own USING (word)
"""
_DUE_LEXEMES = """
SELECT id FROM memory_memoryowner
WHERE memories > %(large)s AND abs(memories - lexemes_counted) > %(drift)s * greatest(lexemes_counted, 1)
ORDER BY lexemes_counted, id
"""
_INDEXES = f"""
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'memory_memory'::regclass AND starts_with(c.relname, '{_PREFIX}')
"""
# An owner whose vectors are all of another model waits until some are made anew.
_LARGEST = """
SELECT o.id, e.id, e.dimensions FROM memory_memoryowner o
JOIN LATERAL (SELECT m.embedding_model_id FROM memory_memory m
              WHERE m.owner_id = o.id AND m.embedding_model_id IS NOT NULL LIMIT 1) m ON true
JOIN memory_embeddingmodel e ON e.id = m.embedding_model_id
WHERE o.memories > %(least)s ORDER BY o.memories DESC, o.id LIMIT %(limit)s
"""
# pgvector's limit for an index over half-precision vectors.
_MAX_INDEX_DIMENSIONS: Final = 4_000


def count_lexemes(owner_id: int) -> int:
    """Count anew in how many memories of an owner each word stands; return how many words there are."""
    condition = _CURRENT.format(owner=owner_id)
    params: dict[str, Any] = {
        "owner": owner_id,
        "near": f"SELECT context_words FROM memory_memory WHERE {condition}",
        "own": f"SELECT words FROM memory_memory WHERE {condition}",
    }
    with transaction.atomic():
        OwnerLexeme.objects.filter(owner=owner_id)._raw_delete("default")
        with connection.cursor() as cursor:
            cursor.execute(_STORE_LEXEMES, params)
            stored = int(cursor.rowcount)
        MemoryOwner.objects.filter(pk=owner_id).update(lexemes_counted=F("memories"))
    return stored


def count_due_lexemes(*, seconds: float = 20.0) -> int:
    """Count the lexemes of large owners that have changed by a tenth since the last time, and drop those of owners
    that are large no more; for `seconds` at most. Returns how many owners were counted."""
    small = MemoryOwner.objects.filter(lexemes_counted__gt=0, memories__lte=LARGE_OWNER // 2)
    for owner_id in list(small.values_list("pk", flat=True)):
        OwnerLexeme.objects.filter(owner=owner_id).delete()
        MemoryOwner.objects.filter(pk=owner_id).update(lexemes_counted=0)
    with connection.cursor() as cursor:
        cursor.execute(_DUE_LEXEMES, {"large": LARGE_OWNER, "drift": DRIFT})
        due = [row[0] for row in cursor.fetchall()]
    stop_at = time.monotonic() + seconds
    counted = 0
    for owner_id in due:
        if time.monotonic() >= stop_at:
            break
        count_lexemes(owner_id)
        counted += 1
    return counted


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """The index of one owner's vectors of one model."""

    owner_id: int
    model_id: int
    dimensions: int

    @property
    def name(self) -> str:
        return f"{_PREFIX}{self.owner_id}_{self.model_id}_{self.dimensions}"

    @property
    def statement(self) -> str:
        # The expression and the condition are those of `score_statement`, else no search uses it.
        return (
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {self.name} ON memory_memory"
            f" USING hnsw ((embedding::halfvec({self.dimensions:d})) halfvec_cosine_ops)"
            f" WHERE owner_id = {self.owner_id:d} AND embedding_model_id = {self.model_id:d}"
        )


def sync_vector_indexes(*, seconds: float = 300.0) -> int:
    """Build the indexes of owners that have grown, and drop those of owners that have shrunk or gone, and what a broken
    build has left; no further build begins after `seconds`. Returns how many were built and dropped.

    Must run outside of a transaction. Searches and writes go on meanwhile.
    """
    with _long_statements(), try_advisory_lock(AdvisoryLock.SYNC_VECTOR_INDEXES) as is_ours:
        return _sync_vector_indexes(time.monotonic() + seconds) if is_ours else 0


def _sync_vector_indexes(stop_at: float) -> int:
    existing = _existing_indexes()
    kept_owners = {index.owner_id for index in _largest_owners(INDEX_DROPPED_BELOW)}
    wanted = {index.name: index for index in _largest_owners(INDEXED_OWNER)}
    changes = 0
    for name, is_valid in existing.items():
        match = _NAME.match(name)
        if match is None or not is_valid or (name not in wanted and int(match[1]) not in kept_owners):
            _execute(f"DROP INDEX CONCURRENTLY IF EXISTS {connection.ops.quote_name(name)}")
            log.info("vector_index.dropped", index=name, valid=is_valid)
            changes += 1
    present = {name for name, is_valid in existing.items() if is_valid}
    for name, index in wanted.items():
        if name in present or len(present) >= MAX_INDEXES or index.dimensions > _MAX_INDEX_DIMENSIONS:
            continue
        if time.monotonic() >= stop_at:
            break
        started_at = time.monotonic()
        _execute(index.statement)
        present.add(name)
        log.info("vector_index.created", index=name, seconds=round(time.monotonic() - started_at, 1))
        changes += 1
    return changes


def _existing_indexes() -> dict[str, bool]:
    with connection.cursor() as cursor:
        cursor.execute(_INDEXES)
        return dict(cursor.fetchall())


def _largest_owners(least: int) -> list[VectorIndex]:
    with connection.cursor() as cursor:
        cursor.execute(_LARGEST, {"least": least, "limit": MAX_INDEXES})
        return [VectorIndex(*row) for row in cursor.fetchall()]


def _execute(statement: str) -> None:
    if connection.in_atomic_block:
        raise RuntimeError("Indexes are built outside of a transaction.")
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def _long_statements() -> Iterator[None]:
    """Let statements of this connection take long: an index over 100,000 vectors takes a minute."""
    settings = {"statement_timeout": f"{STATEMENT_SECONDS}s", "lock_timeout": "60s"}
    connection.ensure_connection()
    if connection.connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
        settings["transaction_timeout"] = "0"
    with connection.cursor() as cursor:
        # Not by RESET: it knows nothing of what our backend sets after it has connected.
        cursor.execute("SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name", [list(settings)])
        before = cursor.fetchall()
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
    try:
        yield
    finally:
        if connection.is_usable():
            with connection.cursor() as cursor:
                for name, value in before:
                    cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
