"""What the models that live releases ask cost now, and where nobody knows it though a budget in dollars needs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings

from agents.domain.budgets import BudgetUnit
from agents.domain.configuration import AgentConfiguration
from agents.domain.usage import costs_nothing
from agents.llm.model_catalog import Prices, PriceSource, Rates
from agents.models import Agent, Budget
from foundation.errors import BandstandError
from memory.embeddings.embedding_settings import EmbedderKind

# Who asks the model that embeds.
EMBEDDINGS = "embeddings"


@dataclass(slots=True)
class RoutePrice:
    """A route and who asks it. `source` and `rates` are None where nobody knows its price, and both are where it is
    always free."""

    route: str
    is_free: bool
    source: PriceSource | None = None
    rates: Rates | None = None
    askers: list[str] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether a call of it may be made where a budget in dollars applies."""
        return self.is_free or self.rates is not None


def configured_routes(configuration: AgentConfiguration) -> tuple[str, ...]:
    """All routes that turns of a release and their side work may ask, each once."""
    return tuple(dict.fromkeys((*configuration.routes, *configuration.utility_chain)))


def read_live_routes() -> list[tuple[str, AgentConfiguration]]:
    """The slug and the live release of each agent that is not archived. One statement."""
    rows = Agent.objects.filter(archived_at=None, live_release__isnull=False).order_by("slug")
    live = []
    for slug, stored in rows.values_list("slug", "live_release__configuration"):
        try:
            live.append((slug, AgentConfiguration.parse(stored)))
        except BandstandError:
            continue  # another check says so
    return live


def price_routes(prices: Prices, live: Iterable[tuple[str, AgentConfiguration]]) -> list[RoutePrice]:
    """The prices of the routes of these releases and of the embedding model, where that is a server's; unknown ones
    first."""
    priced: dict[str, RoutePrice] = {}
    for slug, configuration in live:
        for route in configured_routes(configuration):
            row = priced.get(route) or priced.setdefault(route, _price(prices, route))
            row.askers.append(slug)
    embeddings = settings.BANDSTAND.embeddings
    if embeddings.kind is EmbedderKind.OPENAI:
        route = f"openai:{embeddings.server_model}"
        row = priced.get(route) or priced.setdefault(route, _price(prices, route, has_output=False))
        row.askers.append(EMBEDDINGS)
    return sorted(priced.values(), key=lambda row: (row.is_known, row.route))


def has_dollar_budget() -> bool:
    """Whether there is a budget in US dollars: then calls whose price nobody knows are refused where it applies."""
    return Budget.objects.filter(unit=BudgetUnit.USD).exists()


def unknown_routes(priced: Iterable[RoutePrice]) -> Sequence[RoutePrice]:
    """Those whose price nobody knows."""
    return [row for row in priced if not row.is_known]


def _price(prices: Prices, route: str, *, has_output: bool = True) -> RoutePrice:
    if costs_nothing(route):
        return RoutePrice(route, is_free=True)
    provider, _, model = route.partition(":")
    source, rates = prices.find(provider=provider, model=model, has_output=has_output) or (None, None)
    return RoutePrice(route, is_free=False, source=source, rates=rates)
