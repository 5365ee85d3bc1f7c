"""Turns over routes with circuit breakers, as a runner's process has them, before a real provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agents.domain.backoff import Backoff
from agents.domain.circuit_breaker import BreakerPolicy
from agents.domain.fallback import Policy
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.engine.turn import UnfinishedTurn
from agents.llm.gateway import Gateway, GatewayConfig
from agents.models import RouteHealth
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.provider import Provider, RequestLimit
from tests.provider.fixture import provider  # noqa: F401
from tests.support.conversations import Conversation
from tests.support.guarded import LATER, SOON, processes
from tests.support.scripted import ScriptedTools
from tests.support.turns import begin, end_of, run

pytestmark = pytest.mark.usefixtures("transactional_db")

CHAIN = ["openai:fake", "offline:"]
AT_ONCE = Policy(backoff=Backoff(base_seconds=0))


@asynccontextmanager
async def guarded(provider: Provider, breaker: BreakerPolicy = LATER) -> AsyncIterator[Services]:  # noqa: F811
    gateway = Gateway(GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url))
    async with processes(provider, breaker=breaker) as [one]:
        try:
            yield Services(gateway, ScriptedTools(), BatchingDeltaWriter(), routes=one.guard, policy=AT_ONCE)
        finally:
            await gateway.aclose()


async def turn(services: Services, ada: Conversation) -> dict[str, Any]:
    """Run a further turn; the data of its end."""
    await in_db_thread(ada.ask, "Again")
    await run(services)
    return await end_of(ada)


async def state() -> str:
    return (await in_db_thread(RouteHealth.objects.get, model="fake")).state


async def test_after_five_failures_turns_go_to_the_next_route_at_once(provider: Provider) -> None:  # noqa: F811
    provider.defaults["fault"] = "503"
    async with guarded(provider) as services:
        ada = await begin(model_chain=CHAIN)
        await run(services)
        for _ in range(4):
            end = await turn(services, ada)
            assert (end["answered_by"], end["fallback"]) == ("offline:", None)
        # Two attempts a turn until it was open.
        assert provider.count == 5
        assert await state() == "open"


async def test_a_turn_probes_and_is_answered_by_the_route_that_works_again(provider: Provider) -> None:  # noqa: F811
    async with guarded(provider, SOON) as services:
        provider.defaults["fault"] = "503"
        ada = await begin(model_chain=CHAIN)
        await run(services)
        for _ in range(2):
            await turn(services, ada)
        provider.defaults.pop("fault")
        guard = services.routes
        for expected in ("half_open", "closed", "closed"):
            await until(lambda: guard.blocked_until("openai:fake") is None, seconds=5, what="it may be tried")
            assert (await turn(services, ada))["answered_by"] == "openai:fake"
            assert await state() == expected


async def test_with_all_routes_open_a_turn_waits_without_a_runner(provider: Provider) -> None:  # noqa: F811
    provider.defaults["fault"] = "503"
    async with guarded(provider) as services:
        ada = await begin(model_chain=["openai:fake"])
        await run(services)
        await in_db_thread(ada.ask, "Again")
        # The breaker opens at its second attempt.
        assert await run(services) is UnfinishedTurn.PARKED
        assert await state() == "open"
        count = provider.count
        assert (await in_db_thread(ada.statuses))[-1] == "retry_wait"
        assert provider.count == count


async def test_what_a_provider_says_of_its_limit_reaches_the_guard(provider: Provider) -> None:  # noqa: F811
    provider.limit = RequestLimit(5, window_seconds=30)
    async with guarded(provider) as services:
        ada = await begin(model_chain=CHAIN)
        await run(services)
        for _ in range(7):
            assert (await turn(services, ada))["answered_by"] in CHAIN
        assert provider.limit.refused == 0
        stored = await in_db_thread(RouteHealth.objects.get, model="fake")
        assert stored.rate_limits is not None
        assert stored.rate_limits["requests"]["remaining"] == 0
