"""The catalog of models: the price of a call (what it costs) and the context window. Prices are those that owners have
entered, then those of the environment, then those of a table that comes with the program; nothing is fetched.

The table takes time to load and some memory, so only processes that call a paid model load it, in a thread, when they
first ask for its window. Prices are US dollars per million tokens.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from agents.domain.budgets import CallPrice
from agents.domain.usage import COST_QUANTUM

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, TieredPrices

    from agents.llm.interface import Usage
    from agents.llm.stored_prices import StoredPrices

log = structlog.get_logger(__name__)

_PER = Decimal(1_000_000)
# More than any model takes; a hundred such calls still fit into a turn's row.
_MAX_PRICE = Decimal(10_000)
_MAX_CALL_COST = Decimal(9_000)
_MAX_CACHED_MODELS = 1_000
_OVERRIDE = re.compile(r"(?P<model>[^\s=]+:[^\s=]+)=(?P<prices>[^\s=]+)")


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens, and per request. What was read from the provider's cache or written to it has a price
    of its own."""

    input: Decimal
    cached: Decimal
    cache_write: Decimal
    output: Decimal
    request: Decimal = Decimal(0)

    @property
    def is_free(self) -> bool:
        """Whether calls cost nothing."""
        return not (self.input or self.cached or self.cache_write or self.output or self.request)

    def call_price(self) -> CallPrice:
        """What bounds the cost of a call: by the dearest kind of input."""
        return CallPrice(max(self.input, self.cached, self.cache_write), self.output, self.request)


def read_overrides(text: str) -> dict[str, Rates]:
    """Configured prices by route: `provider:model=input/output` or `=input/cached/output`, separated by commas.

    `provider:*` stands for all its models. Raises `ValueError` with the number of the first entry that cannot be read.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    return dict(_override(entry, number) for number, entry in enumerate(entries, start=1))


def _override(entry: str, number: int) -> tuple[str, Rates]:
    match = _OVERRIDE.fullmatch(entry)
    prices = [_price(word) for word in match["prices"].split("/")] if match else []
    if match is None or len(prices) not in (2, 3) or None in prices:
        raise ValueError(
            f"entry {number} must read provider:model=input/output or provider:model=input/cached/output, in dollars "
            f"per million tokens from 0 to {_MAX_PRICE}"
        )
    values = [price for price in prices if price is not None]
    return match["model"], Rates(input=values[0], cached=values[-2], cache_write=values[0], output=values[-1])


def _price(word: str) -> Decimal | None:
    try:
        price = Decimal(word)
    except InvalidOperation:
        return None
    # NaN cannot be compared; infinity and negative numbers are no prices.
    return price if price.is_finite() and 0 <= price <= _MAX_PRICE else None


class PriceSource(StrEnum):
    """Whose price it is."""

    ENTERED = "entered"
    ENVIRONMENT = "environment"
    TABLE = "table"


@dataclass(slots=True)
class Prices:
    """What models cost. `providers` has the id or the address of a route's provider in the table; None: it is not in
    the table. `overrides` are those of the environment; `stored` those that owners have entered, which come first."""

    providers: Mapping[str, str | None]
    overrides: Mapping[str, Rates] = field(default_factory=dict)
    stored: StoredPrices | None = None
    _models: dict[str, ModelInfo | None] = field(default_factory=dict)
    _unpriced: set[tuple[str, str]] = field(default_factory=set)

    async def window(self, *, provider: str, model: str) -> int | None:
        """The context window of a model in tokens; None if unknown."""
        key = f"{provider}:{model}"
        if key not in self._models:
            await asyncio.to_thread(self._entry, provider, model)
        entry = self._entry(provider, model)
        return entry.context_window if entry else None

    async def bound(self, *, provider: str, model: str, input_tokens: int, has_output: bool = True) -> CallPrice | None:
        """The prices of a call whose request has no more tokens than that, by the dearest kind of input; None if
        unknown. Larger requests cost more for each token with some models, never less. Without output its price need
        not be known."""
        own = self._own(provider, (model,))
        if own is None and f"{provider}:{model}" not in self._models:
            await asyncio.to_thread(self._entry, provider, model)
        priced = self.find(provider=provider, model=model, input_tokens=input_tokens, has_output=has_output)
        return priced[1].call_price() if priced else None

    def find(
        self, *, provider: str, model: str, input_tokens: int = 0, has_output: bool = True
    ) -> tuple[PriceSource, Rates] | None:
        """Today's price of a route, and whose it is; None if unknown."""
        if (own := self._own(provider, (model,))) is not None:
            return own
        entry = self._entry(provider, model)
        rates = _rates(entry, input_tokens, has_output=has_output) if entry else None
        return (PriceSource.TABLE, rates) if rates else None

    def cost(self, *, provider: str, model: str, usage: Usage, route_model: str | None = None) -> Decimal | None:
        """What the call costs at today's prices, in US dollars with eight places; None if unknown. `model` is the one
        that answered, `route_model` the one that was asked: a price that people set for it also holds for its dated
        names."""
        own = self._own(provider, (model,) if route_model is None else (model, route_model))
        rates = own[1] if own else self._listed(provider, model, usage)
        if rates is None or not _is_consistent(usage):
            return None
        fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        tokens = (
            fresh * rates.input
            + usage.cached_tokens * rates.cached
            + usage.cache_write_tokens * rates.cache_write
            + usage.output_tokens * rates.output
        )
        cost = (tokens / _PER + rates.request).quantize(COST_QUANTUM)
        return cost if cost <= _MAX_CALL_COST else None

    def _own(self, provider: str, models: tuple[str, ...]) -> tuple[PriceSource, Rates] | None:
        """The price that people have set for the first of `models` that has one, or for all of the provider's."""
        names = [f"{provider}:{model}" for model in (*models, "*")]
        if self.stored is not None:
            at = datetime.now(UTC)
            for name in names:
                if (rates := self.stored.find(name, at)) is not None:
                    return PriceSource.ENTERED, rates
        for name in names:
            if (rates := self.overrides.get(name)) is not None:
                return PriceSource.ENVIRONMENT, rates
        return None

    def _listed(self, provider: str, model: str, usage: Usage) -> Rates | None:
        entry = self._entry(provider, model)
        if entry is None and (provider, model) not in self._unpriced:
            self._unpriced.add((provider, model))
            log.warning("price.not_found", provider=provider, model=model)
        return _rates(entry, usage.input_tokens, has_output=usage.output_tokens > 0) if entry else None

    def _entry(self, provider: str, model: str) -> ModelInfo | None:
        """The model's entry in the table, cached; None if it has none."""
        key = f"{provider}:{model}"
        if key not in self._models:
            if len(self._models) >= _MAX_CACHED_MODELS:
                self._models.clear()
                self._unpriced.clear()
            self._models[key] = _find(self.providers.get(provider), model)
        return self._models[key]


def _is_consistent(usage: Usage) -> bool:
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    return min(cached, written, usage.output_tokens, usage.input_tokens - cached - written) >= 0


def _find(provider: str | None, model: str) -> ModelInfo | None:
    """The model's entry in the table, whose names are patterns that also match dated names; None if it has none."""
    from genai_prices.data_snapshot import get_snapshot

    if not provider or not model:
        return None
    lookup = {"provider_api_url": provider} if "://" in provider else {"provider_id": provider}
    try:
        return get_snapshot().find_provider_model(
            model, None, lookup.get("provider_id"), lookup.get("provider_api_url")
        )[1]
    except LookupError:
        return None


def _rates(model: ModelInfo, input_tokens: int, *, has_output: bool = True) -> Rates | None:
    """Today's prices of a request with so many input tokens, on which some depend; None if there are none. That of the
    output may be missing where there is none."""
    listed = model.get_prices(datetime.now(UTC))
    input_price = _tier_price(listed.input_mtok, input_tokens)
    output_price = _tier_price(listed.output_mtok, input_tokens)
    if output_price is None and not has_output:
        output_price = Decimal(0)
    if input_price is None or output_price is None:
        return None
    cached_price, cache_write_price = (
        _tier_price(price, input_tokens) for price in (listed.cache_read_mtok, listed.cache_write_mtok)
    )
    requests = _tier_price(listed.requests_kcount, input_tokens)
    return Rates(
        input=input_price,
        cached=input_price if cached_price is None else cached_price,
        cache_write=input_price if cache_write_price is None else cache_write_price,
        output=output_price,
        request=Decimal(0) if requests is None else requests / 1000,
    )


def _tier_price(price: Decimal | TieredPrices | None, input_tokens: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base
