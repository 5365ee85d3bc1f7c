"""The embedder of this process, as the environment sets it."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from memory.embeddings.embedding_settings import EmbedderKind
from memory.embeddings.interface import Embedder


@cache
def configured_embedder() -> Embedder:
    """The embedder of this process: always the same one. Starts and loads nothing until it is used."""
    config = settings.BANDSTAND
    if config.embeddings.kind is EmbedderKind.FAKE:
        from memory.embeddings.fake import FakeEmbedder

        return FakeEmbedder()
    raise NotImplementedError(config.embeddings.kind)
