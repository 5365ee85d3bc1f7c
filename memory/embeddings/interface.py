"""The port of embeddings: from texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol
from uuid import UUID

from foundation.errors import Unavailable


class EmbeddingUnavailable(Unavailable):
    """The embedding model does not answer just now; searches go by text alone."""

    code: ClassVar[str] = "embedding_unavailable"


@dataclass(frozen=True, slots=True)
class EmbeddingPayer:
    """On whose budgets a vector draws that costs something: a user's and an agent's. None: on those of all together
    only."""

    user_id: int | None = None
    agent_id: UUID | None = None


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

    def embed(
        self, texts: Sequence[str], *, timeout: float, payers: Sequence[EmbeddingPayer] = ()
    ) -> list[list[float]]:
        """One vector of length 1 for each of `texts`, in their order; blocks for `timeout` seconds at most.

        Any text has a vector, the empty one too; of a text that is too long for the model, its beginning counts.
        `payers` are whose budgets each text draws on, where that costs something; none: nobody's. Raises
        `EmbeddingUnavailable`, of which `EmbeddingBudgetExceeded` names the payers for whom there is no money.
        """
        ...

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        """`embed` without blocking the event loop. Raises `EmbeddingUnavailable`."""
        ...
