"""A runner's services, put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.domain.fallback import Policy
from agents.llm.dialect_settings import read_dialects
from agents.llm.gateway import GatewayConfig
from agents.routing.guard_settings import GuardSettings, RouteFigures
from agents.runner.wiring import open_services

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_the_engine_asks_the_guard_that_listens_and_each_route_has_its_figures(tmp_path: Path) -> None:
    dialects = read_dialects("openai:slow=+first_token_seconds=600,openai:o3=+slow_seconds=180+probe_seconds=50")
    config = GatewayConfig(openai_api_key="sk-1", dialects=dialects)
    figures = RouteFigures(slow_seconds=60, probe_seconds=15)
    async with open_services(
        config,
        policy=Policy(),
        adapts=True,
        data_dir=tmp_path,
        compute_memory_mb=512,
        guard=GuardSettings(),
        figures=figures,
        pepper="pepper",
    ) as (services, routes, _):
        assert services.routes is routes
        assert routes._figures("openai:gpt") == figures
        # A model that may be silent for ten minutes is not tried for fifteen seconds.
        assert routes._figures("openai:slow") == RouteFigures(60, 150, 600)
        assert routes._figures("openai:o3") == RouteFigures(180, 50, 60)
