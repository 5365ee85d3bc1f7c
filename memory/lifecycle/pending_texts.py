"""The rows that have a text and a vector of it: read and written in batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Left

from memory.embeddings import EmbeddingPayer
from memory.models import EmbeddingModel, Memory, MemoryKey

_PAYER: Final = ("owner__user_id", "owner__agent")
# No model reads more than that of a text.
_MAX_CHARACTERS: Final = 8_000

# Rows that somebody holds just now are left as they are, so that nobody waits for anybody.
_WRITE: Final = """
WITH made AS (SELECT * FROM unnest(%(keys)s::{key_type}[], %(vectors)s::text[]) AS made (id, embedding)),
     free AS (SELECT id FROM {table} WHERE id = ANY(%(keys)s::{key_type}[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
UPDATE {table} AS stored SET embedding = made.embedding::halfvec, embedding_model_id = %(model)s
  FROM made JOIN free USING (id) WHERE stored.id = made.id
RETURNING stored.id
"""


@dataclass(frozen=True, slots=True)
class PendingText:
    """What is embedded of a row; `key` is its primary key."""

    key: Any
    text: str
    payer: EmbeddingPayer


@dataclass(frozen=True, slots=True)
class EmbeddedTable:
    """A table of texts with vectors. `fields` are the key, the actor if there is one, and the text."""

    model: type[Model]
    key_type: str
    fields: tuple[Any, ...]
    newest_first: str

    def rows(self) -> QuerySet[Any]:
        """All of them."""
        return self.model._default_manager.all()

    def read(self, rows: QuerySet[Any], count: int) -> list[PendingText]:
        """The texts of the first `count` of `rows`."""
        return [
            PendingText(
                key,
                embedded_text(texts[0], texts[1]) if len(texts) > 1 else texts[0],
                EmbeddingPayer(user_id, agent_id),
            )
            for user_id, agent_id, key, *texts in rows.values_list(*_PAYER, *self.fields)[:count]
        ]

    def of_others(self, rows: QuerySet[Any], payers: Iterable[EmbeddingPayer]) -> QuerySet[Any]:
        """Those of `rows` that none of `payers` would pay for."""
        for payer in payers:
            condition = _match("owner__user_id", payer.user_id) & _match("owner__agent", payer.agent_id)
            rows = rows.exclude(condition)
        return rows

    def write(
        self, texts: Sequence[PendingText], vectors: Sequence[Sequence[float]], model: EmbeddingModel
    ) -> set[Any]:
        """Store the `vectors` of `texts`, in a transaction; return the keys of those that were there and free."""
        statement = _WRITE.format(table=self.model._meta.db_table, key_type=self.key_type)
        values: dict[str, Any] = {
            "keys": [text.key for text in texts],
            "vectors": [_literal(vector) for vector in vectors],
            "model": model.pk,
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
            return {key for (key,) in cursor.fetchall()}


MEMORIES: Final = EmbeddedTable(Memory, "uuid", ("pk", "actor", Left("body__text", _MAX_CHARACTERS)), "-created_at")
KEYS: Final = EmbeddedTable(MemoryKey, "bigint", ("pk", "text"), "-pk")


def _match(column: str, value: Any) -> Q:
    return Q(**{f"{column}__isnull": True}) if value is None else Q(**{column: value})


def embedded_text(actor: str, text: str) -> str:
    """What is embedded of a memory: who said it is a part of what it means."""
    return f"{actor}: {text}" if actor else text


def _literal(vector: Sequence[float]) -> str:
    """As PostgreSQL reads it; half precision has fewer than five digits."""
    return "[" + ",".join(f"{number:.5g}" for number in vector) + "]"
