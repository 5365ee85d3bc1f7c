"""The services that the engine uses in a runner's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.gateway import Gateway, GatewayConfig
from agents.sessions.storage import guard_session_storage
from agents.tools.toolbox import Toolbox


@asynccontextmanager
async def open_services(models: GatewayConfig, *, data_dir: Path, compute_memory_mb: int) -> AsyncIterator[Services]:
    """The services of the running loop; their connections are closed on leaving. `data_dir` is for tools that store
    files, `compute_memory_mb` what one call of an isolated tool may use.

    Raises `ToolLoadFailed`, `AddressRefused`.
    """
    gateway = Gateway(models)
    toolbox = Toolbox(data_dir=data_dir, compute_memory_mb=compute_memory_mb, guard_storage=guard_session_storage)
    try:
        yield Services(models=gateway, tools=toolbox, deltas=BatchingDeltaWriter())
    finally:
        await toolbox.aclose()
        await gateway.aclose()
