"""The embedder of this process, as the environment sets it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings

from memory.embeddings.embedding_budget import registered_embedding_budget
from memory.embeddings.embedding_settings import EmbedderKind
from memory.embeddings.interface import Embedder


@cache
def configured_embedder() -> Embedder:
    """The embedder of this process: always the same one. Starts and loads nothing until it is used."""
    config = settings.BANDSTAND
    if config.embeddings.kind is EmbedderKind.FAKE:
        from memory.embeddings.fake import FakeEmbedder

        return FakeEmbedder()
    if config.embeddings.kind is EmbedderKind.MINILM:
        from memory.embeddings.minilm.minilm_embedder import minilm_embedder

        return minilm_embedder(Path(config.data_dir))
    from memory.embeddings.openai_embedder import OpenAIEmbedder, OpenAIEmbeddingsConfig

    return OpenAIEmbedder(
        OpenAIEmbeddingsConfig.of_settings(
            config.embeddings,
            dimensions=config.embedding_dimensions,
            api_key=config.openai_api_key.get_secret_value() if config.openai_api_key else None,
            base_url=config.openai_base_url,
        ),
        find_budget=registered_embedding_budget,
    )
