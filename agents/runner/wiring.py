"""The services that the engine uses in a runner's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agents.domain.fallback import Policy
from agents.domain.retry_adaptation import RetryAdaptation
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.gateway import Gateway, GatewayConfig
from agents.tools.toolbox import Toolbox


@asynccontextmanager
async def open_services(
    models: GatewayConfig, *, policy: Policy, adapts: bool, data_dir: Path, compute_memory_mb: int
) -> AsyncIterator[Services]:
    """The services of the running loop; their connections are closed on leaving. `policy` says how often models are
    asked for one answer, `adapts` whether pauses adapt to how retries went lately; `data_dir` is for tools that store
    files, `compute_memory_mb` what one call of an isolated tool may use.

    Raises `ToolLoadFailed`, `AddressRefused`.
    """
    gateway = Gateway(models)
    toolbox = Toolbox(data_dir=data_dir, compute_memory_mb=compute_memory_mb)
    try:
        yield Services(
            models=gateway,
            tools=toolbox,
            deltas=BatchingDeltaWriter(),
            policy=policy,
            retry_adaptation=RetryAdaptation(is_on=adapts),
        )
    finally:
        await toolbox.aclose()
        await gateway.aclose()
