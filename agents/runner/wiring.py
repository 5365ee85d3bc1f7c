"""The services that the engine uses in a runner's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from agents.domain.fallback import Policy
from agents.domain.retry_adaptation import RetryAdaptation
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.gateway import Gateway, GatewayConfig
from agents.routing.fingerprints import credential_fingerprints
from agents.routing.guard import ProcessRouteGuard
from agents.routing.guard_settings import GuardSettings, RouteFigures
from agents.sessions.handoffs import request_human
from agents.sessions.storage import guard_session_storage
from agents.sessions.tool_memory import SessionMemory
from agents.tools.toolbox import Toolbox
from memory.recall import arecall


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
) -> AsyncIterator[tuple[Services, ProcessRouteGuard]]:
    """The services of the running loop, and the guard among them, which has to listen; their connections are closed on
    leaving. `policy` says how often models are asked for one answer, `adapts` whether pauses adapt to how retries went
    lately; `data_dir` is for tools that store files, `compute_memory_mb` what one call of an isolated tool may use,
    `pepper` the key of fingerprints.

    Raises `ToolLoadFailed`, `AddressRefused`.
    """

    def figures_for(route: str) -> RouteFigures:
        # A model that may take long for its first token takes long in a probe, too.
        first_token_seconds = models.dialects.deadlines_for(route).first_token_seconds
        probe_seconds = min(max(figures.probe_seconds, first_token_seconds / 4), first_token_seconds)
        own = {"probe_seconds": probe_seconds, **models.dialects.figures_for(route)}
        return replace(figures, max_probe_seconds=first_token_seconds, **own)

    gateway = Gateway(models)
    toolbox = Toolbox(
        data_dir=data_dir,
        compute_memory_mb=compute_memory_mb,
        guard_storage=guard_session_storage,
        open_memory=SessionMemory,
        request_human=request_human,
    )
    credentials = credential_fingerprints(models.identities(), pepper=pepper)
    routes = ProcessRouteGuard(credentials, guard, figures=figures_for)
    try:
        services = Services(
            models=gateway,
            tools=toolbox,
            deltas=BatchingDeltaWriter(),
            routes=routes,
            policy=policy,
            retry_adaptation=RetryAdaptation(is_on=adapts),
            memories=arecall,
        )
        yield services, routes
    finally:
        await routes.aclose()
        await toolbox.aclose()
        await gateway.aclose()
