"""The names of embedding models as the database knows them."""

from __future__ import annotations

from memory.embeddings.interface import Embedder
from memory.models import EmbeddingModel


def stored_model(embedder: Embedder) -> EmbeddingModel:
    """The row of the embedder's model, made when it is needed first."""
    row, _ = EmbeddingModel.objects.get_or_create(name=embedder.model, defaults={"dimensions": embedder.dimensions})
    return row
