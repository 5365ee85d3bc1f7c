"""The port of embeddings: from texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from foundation.errors import Unavailable


class EmbeddingUnavailable(Unavailable):
    """The embedding model does not answer just now; searches go by text alone."""

    code: ClassVar[str] = "embedding_unavailable"


class Embedder(Protocol):
    """One embedding model. Safe to use from several threads and event loops."""

    @property
    def model(self) -> str:
        """The name that is stored with each vector. Vectors of different names are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of every vector."""
        ...

    def embed(self, texts: Sequence[str], *, timeout: float) -> list[list[float]]:
        """One vector of length 1 for each of `texts`, in their order; blocks for `timeout` seconds at most.

        Any text has a vector, the empty one too; of a text that is too long for the model, its beginning counts. Raises
        `EmbeddingUnavailable`.
        """
        ...

    async def aembed(self, texts: Sequence[str], *, timeout: float) -> list[list[float]]:  # noqa: ASYNC109
        """`embed` without blocking the event loop. Raises `EmbeddingUnavailable`."""
        ...
