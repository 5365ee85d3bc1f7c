"""Embeddings of a server draw on budgets as calls of models do. They wait for nobody: without money there are none, and
memories are found by their text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

import structlog

from agents.budgets.budget_index import BudgetIndex
from agents.budgets.reservations import BudgetRequest, Refused, Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import RefusalReason
from agents.llm.interface import Usage
from agents.llm.model_catalog import Prices
from agents.models import Budget
from foundation.db_threads import DATABASE_FAULTS
from memory.embeddings.embedding_budget import EmbeddingBudgetExceeded, EmbeddingReservation
from memory.embeddings.interface import EmbeddingPayer

log = structlog.get_logger(__name__)

PURPOSE: Final = "embeddings"
# A call that has not reported so long after it should have ended never will.
_GRACE_SECONDS: Final = 60.0
# How long a process that hears of no budgets may not know of the first one.
_RECHECK_SECONDS: Final = 1.0
# Whom the ledger names for what is no user's.
NO_USER: Final = 0


class CountUsage(Protocol):
    """Adds a call to what is used of the day; None for what is unknown."""

    def __call__(
        self,
        *,
        user_id: int,
        agent_id: UUID | None,
        purpose: str,
        input_tokens: int | None,
        output_tokens: int | None,
        cost_usd: Decimal | None,
    ) -> None: ...


class EmbeddingLedger:
    """An `EmbeddingBudget` on the ledger. `open_prices` returns prices that know what owners have entered.
    `count_usage` adds each call to what is used of the day, whether or not a budget applies. `index` knows whose calls
    draw on a budget; a process without one looks each second whether there is any."""

    def __init__(
        self,
        open_prices: Callable[[], Prices],
        *,
        count_usage: CountUsage | None = None,
        index: BudgetIndex | None = None,
    ) -> None:
        self._open_prices = open_prices
        self._count_usage = count_usage
        self._index = index
        self._unlimited_until = 0.0

    def reserve(self, route: str, sizes: Mapping[EmbeddingPayer, int], *, seconds: float) -> EmbeddingReservation:
        """See `EmbeddingBudget`."""
        payers = [payer for payer in sizes if self._applies(payer)]
        if not payers:
            return EmbeddingReservation(route, {}, sizes)
        provider, _, model = route.partition(":")
        priced = self._open_prices().find(provider=provider, model=model, has_output=False)
        requests = [
            BudgetRequest(
                user_id=_user_id(payer),
                agent_id=payer.agent_id,
                route=route,
                price=priced[1].call_price() if priced else None,
                estimated_tokens=sizes[payer],
                bytes=sizes[payer],
                output_tokens=0,
                least_output_tokens=0,
                purpose=PURPOSE,
                lease_seconds=seconds + _GRACE_SECONDS,
            )
            for payer in payers
        ]
        replies = dict(zip(payers, settle_and_reserve(requests).replies, strict=True))
        ids = {payer: reply.id for payer, reply in replies.items() if isinstance(reply, Reserved) and reply.id}
        refusals = {payer: reply for payer, reply in replies.items() if isinstance(reply, Refused)}
        if refusals:
            if ids:
                settle_and_reserve([], list(ids.values()))
            raise EmbeddingBudgetExceeded(_explain(route, refusals), refused=frozenset(refusals))
        return EmbeddingReservation(route, ids, sizes)

    def report(self, reservation: EmbeddingReservation, tokens: int | None) -> None:
        """See `EmbeddingBudget`. What cannot be reported counts whole, by and by."""
        if not reservation.ids and (self._count_usage is None or tokens == 0):
            return
        try:
            for payer, usage, usd in self._price(reservation, tokens):
                used = usage.input_tokens if usage else None
                if (reservation_id := reservation.ids.get(payer)) is not None:
                    report_usage(reservation_id, usd=usd, tokens=used)
                if self._count_usage is not None and used != 0:
                    self._count_usage(
                        user_id=_user_id(payer),
                        agent_id=payer.agent_id,
                        purpose=PURPOSE,
                        input_tokens=used,
                        output_tokens=0,
                        cost_usd=usd,
                    )
        except DATABASE_FAULTS as error:
            log.warning("embeddings.not_reported", error=str(error)[:200])

    def _price(
        self, reservation: EmbeddingReservation, tokens: int | None
    ) -> Iterator[tuple[EmbeddingPayer, Usage | None, Decimal | None]]:
        """What each payer has used, and what it costs in US dollars; None for what nobody knows."""
        if tokens is None:
            yield from ((payer, None, None) for payer in reservation.sizes)
            return
        prices = self._open_prices()
        provider, _, model = reservation.route.partition(":")
        for payer, share in _split(tokens, reservation.sizes).items():
            usage = Usage(share, 0)
            yield payer, usage, prices.cost(provider=provider, model=model, usage=usage)

    def _applies(self, payer: EmbeddingPayer) -> bool:
        if self._index is not None:
            return self._index.applies(user_id=_user_id(payer), agent_id=payer.agent_id)
        if time.monotonic() < self._unlimited_until:
            return False
        if Budget.objects.exists():
            return True
        self._unlimited_until = time.monotonic() + _RECHECK_SECONDS
        return False


def _user_id(payer: EmbeddingPayer) -> int:
    return NO_USER if payer.user_id is None else payer.user_id


def _split(tokens: int, sizes: Mapping[EmbeddingPayer, int]) -> dict[EmbeddingPayer, int]:
    """The share of each payer by the length of its texts, together `tokens`."""
    shares: dict[EmbeddingPayer, int] = {}
    remaining, size_left = tokens, sum(sizes.values())
    for payer, size in sizes.items():
        shares[payer] = remaining * size // size_left if size_left else 0
        remaining, size_left = remaining - shares[payer], size_left - size
    return shares


def _explain(route: str, refusals: Mapping[EmbeddingPayer, Refused]) -> str:
    if any(reply.reason is RefusalReason.PRICE_UNKNOWN for reply in refusals.values()):
        return f"Nobody knows the price of {route}, and a budget in dollars applies."
    return "The budget for embeddings is used up."
