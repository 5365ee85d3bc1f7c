"""Makes the vectors that memories do not have yet, or have of another model than the one that is set.

Until then a memory is found by its text. No transaction is open while the model is asked: a batch is chosen, embedded,
and written. One process of an installation does it at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet

from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from foundation.batches import work_in_batches
from foundation.db_threads import in_db_thread
from memory.embeddings import (
    Embedder,
    EmbeddingBudgetExceeded,
    EmbeddingPayer,
    EmbeddingUnavailable,
    configured_embedder,
)
from memory.embeddings.stored_models import stored_model
from memory.lifecycle.pending_texts import KEYS, MEMORIES, EmbeddedTable, PendingText
from memory.models import EmbeddingModel, Memory

log = structlog.get_logger(__name__)

JOB_SECONDS: Final = 40.0
BATCH_ROWS: Final = 32
# For one batch, at the slowest: 32 texts of 256 tokens on an old machine, or a server that is far away.
_BATCH_SECONDS: Final = 20.0
# So many rows that could not be embedded, each alone and one after the other, are the model's fault, not theirs.
_MAX_FAILURES: Final = 3
# With more of them it is the budget of all that is used up.
_MAX_REFUSED: Final = 50
_TABLES: Final = (MEMORIES, KEYS)


def embed_pending(seconds: float = JOB_SECONDS) -> int:
    """Embed what is waiting, the newest first, for about `seconds`; return how many rows were written.

    Cheap when nothing is waiting. Not to be called in a transaction. While another process is at it, which then takes
    what is new along, this returns 0. Raises `EmbeddingUnavailable`.
    """
    deadline = time.monotonic() + seconds
    written = 0
    while True:
        with try_advisory_lock(AdvisoryLock.EMBED_MEMORIES) as acquired:
            if not acquired:
                return written
            run = _Run(configured_embedder(), deadline)
            try:
                run.embed_all()
            finally:
                written += run.written
        # Somebody may have written, and found the lock taken, after the run had looked for the last time.
        if time.monotonic() > deadline or not run.has_new():
            return written


async def embed_memories(ids: Sequence[UUID], *, timeout: float) -> int:  # noqa: ASYNC109
    """Embed these memories right after they were written, so that they are found by their meaning at once; return how
    many were written. What this cannot do is left to `embed_pending`. Raises `EmbeddingUnavailable`."""
    embedder = configured_embedder()
    new = Memory.objects.filter(pk__in=ids, embedding__isnull=True)
    texts = await in_db_thread(MEMORIES.read, new, len(ids))
    if not texts:
        return 0
    try:
        vectors = await embedder.aembed(**_as_call(texts), timeout=timeout)
    except EmbeddingBudgetExceeded as error:
        texts = [text for text in texts if text.payer not in error.refused]
        if not texts:
            raise
        vectors = await embedder.aembed(**_as_call(texts), timeout=timeout)
    return len(await in_db_thread(_write, MEMORIES, texts, vectors, embedder))


def _as_call(texts: Sequence[PendingText]) -> dict[str, Any]:
    return {"texts": [text.text for text in texts], "payers": [text.payer for text in texts]}


def _write(
    table: EmbeddedTable, texts: Sequence[PendingText], vectors: Sequence[Sequence[float]], embedder: Embedder
) -> set[Any]:
    return table.write(texts, vectors, stored_model(embedder))


@dataclass
class _Run:
    """One run, under the lock. `passed` are rows that it has left as they were, `refused` those for whom a budget has
    no money."""

    embedder: Embedder
    deadline: float
    written: int = 0
    passed: set[Any] = field(default_factory=set)
    refused: set[EmbeddingPayer] = field(default_factory=set)
    failures: int = 0

    def embed_all(self) -> None:
        for table in _TABLES:
            self._in_batches(partial(self._embed_new, table))
        if not EmbeddingModel.objects.exclude(name=self.embedder.model).exists():
            return
        model = stored_model(self.embedder)
        for table in _TABLES:
            self._in_batches(_OtherModels(self, table, model).embed)
        if time.monotonic() < self.deadline and not self.passed:
            _forget_other_models(model)

    def has_new(self) -> bool:
        """Whether rows without a vector are waiting that this run has not passed over."""
        return any(self._new(table).exists() for table in _TABLES)

    def _in_batches(self, step: Callable[[float], int]) -> None:
        work_in_batches(step, seconds=self.deadline - time.monotonic())

    def _new(self, table: EmbeddedTable) -> QuerySet[Any]:
        rows = table.rows().filter(embedding__isnull=True).exclude(pk__in=self.passed)
        return table.of_others(rows, self.refused)

    def _embed_new(self, table: EmbeddedTable, seconds: float) -> int:
        texts = table.read(self._new(table).order_by(table.newest_first), BATCH_ROWS)
        if texts:
            self.embed(table, texts, seconds)
        return len(texts)

    def embed(self, table: EmbeddedTable, texts: Sequence[PendingText], seconds: float) -> None:
        """Embed and write `texts`, but for those that the model does not take, that somebody holds, or for which there
        is no money."""
        texts = self._without_refused(texts)
        if not texts:
            return
        try:
            vectors = self.embedder.embed(**_as_call(texts), timeout=max(1.0, min(_BATCH_SECONDS, seconds)))
        except EmbeddingBudgetExceeded as error:
            self.refused |= error.refused
            if not error.refused or len(self.refused) > _MAX_REFUSED:
                raise
            log.warning("embedding.refused", payers=len(error.refused), error=error.detail)
            self.embed(table, texts, seconds)
            return
        except EmbeddingUnavailable:
            if len(texts) > 1:
                middle = len(texts) // 2
                for half in (texts[:middle], texts[middle:]):
                    self.embed(table, half, seconds)
                return
            self.failures += 1
            if self.failures >= _MAX_FAILURES:
                raise
            self.passed.add(texts[0].key)
            log.warning("embedding.failed", row=str(texts[0].key), table=table.model._meta.db_table)
            return
        self.failures = 0
        keys = table.write(texts, vectors, stored_model(self.embedder))
        self.written += len(keys)
        self.passed.update(text.key for text in texts if text.key not in keys)

    def _without_refused(self, texts: Sequence[PendingText]) -> Sequence[PendingText]:
        self.passed.update(text.key for text in texts if text.payer in self.refused)
        return [text for text in texts if text.payer not in self.refused]


@dataclass
class _OtherModels:
    """Goes through a table once, the newest row first, for vectors of another model."""

    run: _Run
    table: EmbeddedTable
    model: EmbeddingModel
    after: Any = None

    def embed(self, seconds: float) -> int:
        """Embed the next batch; return its size."""
        rows = self.table.rows().filter(embedding__isnull=False).exclude(embedding_model=self.model)
        if self.after is not None:
            rows = rows.filter(pk__lt=self.after)
        texts = self.table.read(rows.order_by("-pk"), BATCH_ROWS)
        if texts:
            self.after = texts[-1].key
            self.run.embed(self.table, texts, seconds)
        return len(texts)


def _forget_other_models(model: EmbeddingModel) -> None:
    """Delete the names of models that no vector has any more: then no run looks for such vectors."""
    for other in EmbeddingModel.objects.exclude(pk=model.pk):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("DELETE FROM memory_embeddingmodel WHERE id = %s", [other.pk])
        except IntegrityError:
            continue
        log.info("embeddings.replaced", model=model.name, before=other.name)
