"""From a route of a release (`offline:`, `openai:gpt-5-mini`) to the model behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from agents.domain.budgets import FREE_CALL, CallPrice
from agents.domain.usage import FREE, costs_nothing
from agents.llm.dialect_settings import Dialects
from agents.llm.errors import BadModelRequest
from agents.llm.installation_prices import open_prices
from agents.llm.interface import LLM, Deadlines, Usage
from agents.llm.model_catalog import Rates
from agents.llm.offline import OfflineModel
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.llm.pydantic_ai import VendorConfig, VendorModel
from agents.llm.routes import OFFLINE, OPENAI, OPENAI_BASE_URL, route_error
from agents.llm.stored_prices import StoredPrices
from foundation.http import GuardedClient, allowed_origin

# The offline model reads whatever it is sent; this is what large models can take.
OFFLINE_WINDOW = 128_000


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What the environment says about providers. Pauses are seconds."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    vendors: tuple[VendorConfig, ...] = ()
    offline_pace_seconds: float = 0
    prices: Mapping[str, Rates] = field(default_factory=dict)
    dialects: Dialects = field(default_factory=Dialects)

    def identities(self) -> dict[str, str]:
        """By provider, what makes its credential another one: address and key. Secret."""
        openai = f"{self.openai_base_url or OPENAI_BASE_URL}\n{self.openai_api_key or ''}"
        vendors = {
            vendor.provider: "\n".join((vendor.base_url or "", vendor.region or "", vendor.api_key or ""))
            for vendor in self.vendors
        }
        return {OPENAI: openai, **vendors}


class Gateway:
    """The models of this process."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        client: GuardedClient | None = None,
        stored_prices: StoredPrices | None = None,
    ) -> None:
        """`client` is closed by its owner; without one the gateway has its own, which may reach the configured server.
        `stored_prices` are those that owners have entered, which their owner keeps up to date.

        Raises `AddressRefused` for a base URL that is not a plain http(s) address.
        """
        base_url = config.openai_base_url or OPENAI_BASE_URL
        self._client = client or GuardedClient(allow_origins=frozenset({allowed_origin(base_url)}))
        self._owns_client = client is None
        self._dialects = config.dialects
        openai = OpenAIModel(OpenAIConfig(config.openai_api_key, base_url, config.dialects), self._client)
        self._providers: dict[str, LLM] = {
            OFFLINE: OfflineModel(pace_seconds=config.offline_pace_seconds),
            OPENAI: openai,
            **{vendor.provider: VendorModel(vendor) for vendor in config.vendors},
        }
        self.prices = open_prices(config.openai_base_url, config.prices, stored_prices)

    def resolve(self, route: str) -> tuple[LLM, str]:
        """The client for `route`, and the provider's name of the model. Raises `BadModelRequest` for a route that
        cannot be used here."""
        provider, _, model = route.partition(":")
        llm = self._providers.get(provider)
        fault = route_error(route)
        if llm is None or fault is not None:
            raise BadModelRequest(
                "The agent's model is not available here.", provider_detail=fault or f"route {route!r}"
            )
        return llm, model

    def deadlines(self, route: str) -> Deadlines:
        """How long a call of `route` may take."""
        return self._dialects.deadlines_for(route)

    async def window(self, route: str) -> int | None:
        """Tokens that the model behind `route` can take, its answer among them; None if unknown. What the installation
        sets comes before the table of models.

        A process's first question about a model waits until that table is loaded.
        """
        provider, _, model = route.partition(":")
        if (window := self._dialects.window_for(route)) is not None:
            return window
        return OFFLINE_WINDOW if provider == OFFLINE else await self.prices.window(provider=provider, model=model)

    async def price_bound(self, route: str, *, input_tokens: int) -> CallPrice | None:
        """What a call costs at most at today's prices, whose request has no more tokens than that; None if unknown."""
        if costs_nothing(route):
            return FREE_CALL
        provider, _, model = route.partition(":")
        return await self.prices.bound(provider=provider, model=model, input_tokens=input_tokens)

    def cost(self, route: str, usage: Usage | None, *, response_model: str | None) -> Decimal | None:
        """US dollars for what a model behind `route` has used, by the model that answered; None if unknown."""
        if costs_nothing(route):
            return FREE
        provider, _, model = route.partition(":")
        if usage is None:
            return None
        return self.prices.cost(provider=provider, model=response_model or model, usage=usage, route_model=model)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for llm in self._providers.values():
            await llm.aclose()
        if self._owns_client:
            await self._client.aclose()
