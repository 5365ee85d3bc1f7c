"""A provider that keeps to the bound of an answer, and counts for itself what its answers cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from agents.domain.backoff import Backoff
from agents.domain.fallback import Policy
from agents.engine.ports import Services
from agents.llm.gateway import GatewayConfig
from agents.llm.model_catalog import Rates
from agents.routing.guard_settings import GuardSettings, RouteFigures
from agents.runner.wiring import open_services
from foundation.pg_listener import RowListener
from tests.provider import Provider

# Dollars per million tokens.
INPUT, OUTPUT = Decimal(1_000), Decimal(3_000)


@dataclass
class Meter:
    """Chooses each answer of `provider`: `answer_tokens` long, or as long as its bound where that is None or less; and
    counts them. `ignores_bound`: they are longer than they may be."""

    provider: Provider
    answer_tokens: int | None = 50
    ignores_bound: bool = False
    spent: Decimal = Decimal(0)
    tokens: int = 0

    def __post_init__(self) -> None:
        self.provider.choose = self.answer

    def take(self) -> tuple[Decimal, int]:
        """The dollars and tokens so far, which begin anew."""
        taken = self.spent, self.tokens
        self.spent, self.tokens = Decimal(0), 0
        return taken

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The settings of the answer to `body`, which is counted as if it will be read to its end."""
        asked = sum(len(str(message.get("content") or "")) // 4 + 4 for message in body["messages"]) + 3
        bound = body.get("max_completion_tokens", body.get("max_tokens"))
        tokens = self.answer_tokens if self.answer_tokens is not None else int(bound or 0)
        if bound is not None and not self.ignores_bound:
            tokens = min(tokens, int(bound))
        self.spent += (asked * INPUT + tokens * OUTPUT) / 1_000_000
        self.tokens += asked + tokens
        return {"tokens": tokens, "input_tokens": asked, "finish": "length" if tokens == bound else "stop"}


@asynccontextmanager
async def budgeted(
    provider: Provider, data_dir: Path, *, prices: dict[str, Rates] | None = None
) -> AsyncIterator[tuple[Services, Sequence[RowListener]]]:
    """The services of a runner whose models stand behind `provider`, at its prices."""
    config = GatewayConfig(
        openai_api_key="sk-test",
        openai_base_url=provider.base_url,
        prices={"openai:fake": Rates(INPUT, INPUT, INPUT, OUTPUT)} if prices is None else prices,
    )
    async with open_services(
        config,
        policy=Policy(backoff=Backoff(base_seconds=0)),
        adapts=False,
        data_dir=data_dir,
        compute_memory_mb=512,
        guard=GuardSettings(),
        figures=RouteFigures(slow_seconds=60, probe_seconds=15),
        pepper="pepper",
    ) as (services, _, listeners):
        yield services, listeners
