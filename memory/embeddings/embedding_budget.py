"""The port by which embeddings that cost money draw on budgets. Without one they are limited by nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

from memory.embeddings.interface import EmbeddingPayer, EmbeddingUnavailable


class EmbeddingBudgetExceeded(EmbeddingUnavailable):
    """The budget for embeddings is used up; searches go by text alone."""

    code: ClassVar[str] = "embedding_budget_exceeded"

    def __init__(self, detail: str | None = None, *, refused: frozenset[EmbeddingPayer] = frozenset()) -> None:
        """`refused` are those for whom there is no money; what is for others may be embedded."""
        super().__init__(detail)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class EmbeddingReservation:
    """What may be embedded: in `sizes` how many tokens each payer has of it at most, and in `ids` its row in the
    ledger where a budget applies."""

    route: str
    ids: Mapping[EmbeddingPayer, int]
    sizes: Mapping[EmbeddingPayer, int]


class EmbeddingBudget(Protocol):
    """Reserves money and tokens before a server is asked. Not for the thread of an event loop."""

    def reserve(self, route: str, sizes: Mapping[EmbeddingPayer, int], *, seconds: float) -> EmbeddingReservation:
        """The reservation for texts of at most so many tokens for each payer, by a call that ends within `seconds`.

        Raises `EmbeddingBudgetExceeded`, with nothing reserved, and database errors."""
        ...

    def report(self, reservation: EmbeddingReservation, tokens: int | None) -> None:
        """What the call has used, of all payers together; None: nobody knows, and all that was reserved counts."""
        ...


_registered: list[EmbeddingBudget] = []


def register_embedding_budget(budget: EmbeddingBudget) -> None:
    """Let embeddings of servers draw on `budget`. Called once, when Django is ready."""
    _registered[:] = [budget]


@contextmanager
def use_embedding_budget(budget: EmbeddingBudget) -> Iterator[None]:
    """While it lasts, embeddings of this process draw on `budget`."""
    _registered.append(budget)
    try:
        yield
    finally:
        _registered.remove(budget)


def registered_embedding_budget() -> EmbeddingBudget | None:
    """The one that was registered last; None if there is none."""
    return _registered[-1] if _registered else None


def add_sizes(sizes: Sequence[int], payers: Sequence[EmbeddingPayer]) -> dict[EmbeddingPayer, int]:
    """The sum of each payer's texts; texts without payers are nobody's."""
    total: dict[EmbeddingPayer, int] = {}
    for size, payer in zip(sizes, payers or [EmbeddingPayer()] * len(sizes), strict=True):
        total[payer] = total.get(payer, 0) + size
    return total
