"""Embeddings behind a port: texts become vectors, by a model on this machine or by a server.

`configured_embedder` gives the embedder of this process; `Embedder` says what it does.
"""

from memory.embeddings.choice import configured_embedder
from memory.embeddings.embedding_budget import EmbeddingBudgetExceeded
from memory.embeddings.interface import Embedder, EmbeddingPayer, EmbeddingUnavailable

__all__ = [
    "Embedder",
    "EmbeddingBudgetExceeded",
    "EmbeddingPayer",
    "EmbeddingUnavailable",
    "configured_embedder",
]
