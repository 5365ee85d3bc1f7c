"""The services that the engine uses in a runner's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from agents.budgets.budget_index import BudgetIndex
from agents.budgets.reserver import BudgetReserver
from agents.domain.fallback import Policy
from agents.domain.retry_adaptation import RetryAdaptation
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.journal.usage_rollups import count_usage_of_call
from agents.llm.embedding_ledger import EmbeddingLedger
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.stored_prices import StoredPrices
from agents.routing.fingerprints import credential_fingerprints
from agents.routing.guard import ProcessRouteGuard
from agents.routing.guard_settings import GuardSettings, RouteFigures
from agents.runner.budget_waker import wake_for_budget
from agents.sessions.handoffs import request_human
from agents.sessions.storage import guard_session_storage
from agents.sessions.tool_memory import SessionMemory
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from foundation.pg_listener import RowListener
from memory.embeddings.embedding_budget import use_embedding_budget
from memory.recall import arecall

_CLOSE_SECONDS = 5.0


@asynccontextmanager
async def open_services(
    models: GatewayConfig,
    *,
    policy: Policy,
    adapts: bool,
    data_dir: Path,
    compute_memory_mb: int,
    guard: GuardSettings,
    figures: RouteFigures,
    pepper: str,
) -> AsyncIterator[tuple[Services, ProcessRouteGuard, Sequence[RowListener]]]:
    """The services of the running loop, the guard of its routes, and all that has to listen for rows of other
    processes; their connections are closed on leaving. `policy` says how often models are asked for one answer,
    `adapts` whether pauses adapt to how retries went lately; `data_dir` is for tools that store files,
    `compute_memory_mb` what one call of an isolated tool may use, `pepper` the key of fingerprints.

    Raises `ToolLoadFailed`, `AddressRefused`.
    """

    def figures_for(route: str) -> RouteFigures:
        # A model that may take long for its first token takes long in a probe, too.
        first_token_seconds = models.dialects.deadlines_for(route).first_token_seconds
        probe_seconds = min(max(figures.probe_seconds, first_token_seconds / 4), first_token_seconds)
        own = {"probe_seconds": probe_seconds, **models.dialects.figures_for(route)}
        return replace(figures, max_probe_seconds=first_token_seconds, **own)

    prices = StoredPrices()
    gateway = Gateway(models, stored_prices=prices)
    toolbox = Toolbox(
        data_dir=data_dir,
        compute_memory_mb=compute_memory_mb,
        guard_storage=guard_session_storage,
        open_memory=SessionMemory,
        request_human=request_human,
    )
    credentials = credential_fingerprints(models.identities(), pepper=pepper)
    routes = ProcessRouteGuard(credentials, guard, figures=figures_for)
    index = BudgetIndex()
    loop = asyncio.get_running_loop()
    wakes: set[asyncio.Task[int]] = set()

    def wake(turns: Sequence[tuple[UUID, UUID]]) -> None:
        task = loop.create_task(in_db_thread(wake_for_budget, turns), name="wake for budget")
        wakes.add(task)
        task.add_done_callback(wakes.discard)

    budgets = BudgetReserver(index, on_wake=wake)
    try:
        services = Services(
            models=gateway,
            tools=toolbox,
            deltas=BatchingDeltaWriter(),
            routes=routes,
            budgets=budgets,
            policy=policy,
            retry_adaptation=RetryAdaptation(is_on=adapts),
            memories=arecall,
        )
        with use_embedding_budget(
            EmbeddingLedger(lambda: gateway.prices, count_usage=count_usage_of_call, index=index)
        ):
            yield services, routes, (routes, index, prices)
    finally:
        await budgets.aclose()
        if wakes:
            await asyncio.wait(wakes, timeout=_CLOSE_SECONDS)
        await routes.aclose()
        await toolbox.aclose()
        await gateway.aclose()
