"""Memories as rows, with vectors of the fake embedder, and the text that a search embeds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from memory.embeddings.fake import FakeEmbedder
from memory.enums import MemorySource, Tier
from memory.models import EmbeddingModel, Memory, MemoryBody, MemoryKey
from memory.ownership import OwnerKey, get_or_create_owner

EMBEDDER = FakeEmbedder()
SAID = datetime(2026, 5, 4, 12, tzinfo=UTC)


def embedding_model() -> EmbeddingModel:
    return EmbeddingModel.objects.get_or_create(name=EMBEDDER.model, dimensions=EMBEDDER.dimensions)[0]


def vector(text: str) -> list[float]:
    return EMBEDDER.embed([text], timeout=1)[0]


def store(
    owner: OwnerKey,
    text: str,
    *,
    actor: str = "",
    context: Sequence[str] = (),
    embedded: bool = True,
    keys: Sequence[str] = (),
    message: UUID | None = None,
    metadata: Any = None,
    **columns: Any,
) -> UUID:
    """A memory of `owner`, and its id. `context` are the texts before it; further columns are those of `Memory`."""
    owner_id = get_or_create_owner(owner)
    model = embedding_model() if embedded else None
    memory = Memory(
        owner_id=owner_id,
        actor=actor,
        **{"tier": Tier.EPISODIC.value, "occurred_at": SAID, "valid_from": SAID, "created_at": SAID, **columns},
    )
    memory.embedding = vector(f"{actor}: {text}" if actor else text) if embedded else None
    memory.embedding_model = model
    memory.words = memory.context_words = ""
    memory.save(force_insert=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE memory_memory SET words = to_tsvector('english', %s), context_words = to_tsvector('english', %s)"
            " WHERE id = %s",
            [text, "\n".join([*context, text]), memory.pk],
        )
        cursor.execute("UPDATE memory_memoryowner SET memories = memories + 1 WHERE id = %s", [owner_id])
    MemoryBody.objects.create(
        memory=memory,
        owner_id=owner_id,
        text=text,
        source=MemorySource.TURN.value,
        message=message,
        metadata=metadata or {},
    )
    for key in keys:
        MemoryKey.objects.create(
            memory=memory, owner_id=owner_id, text=key, embedding=vector(key), embedding_model=model
        )
    return memory.pk
