"""The gateway: from routes to models."""

from __future__ import annotations

import pytest

from agents.llm.errors import BadModelRequest
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.offline import OfflineModel
from agents.llm.port import ChatMessage, Finished, ModelRequest
from foundation.http import AddressRefused
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401


@pytest.mark.parametrize(("route", "model"), [("offline:", ""), ("offline", ""), ("offline:any", "any")])
async def test_the_offline_model_is_always_there(route: str, model: str) -> None:
    llm, name = Gateway(GatewayConfig()).resolve(route)

    assert isinstance(llm, OfflineModel)
    assert name == model


async def test_a_route_to_openai_asks_the_configured_server_for_that_model(provider: Provider) -> None:  # noqa: F811
    gateway = Gateway(GatewayConfig(openai_api_key="sk-1", openai_base_url=provider.base_url))
    llm, name = gateway.resolve("openai:org/model:latest")

    events = [event async for event in llm.stream(ModelRequest(name, (ChatMessage("user", "Hello"),)))]
    await gateway.aclose()

    assert isinstance(events[-1], Finished)
    assert provider.requests[0].body["model"] == "org/model:latest"


@pytest.mark.parametrize("route", ["", "openai:", "openai", "nobody:model", "OPENAI:x", "://"])
async def test_a_route_to_nowhere_is_a_bad_request(route: str) -> None:
    with pytest.raises(BadModelRequest):
        Gateway(GatewayConfig()).resolve(route)


async def test_a_base_url_that_is_no_address_is_refused_at_the_start() -> None:
    with pytest.raises(AddressRefused):
        Gateway(GatewayConfig(openai_base_url="localhost:11434/v1"))


async def test_the_key_is_in_no_representation() -> None:
    assert "sk-1" not in repr(GatewayConfig(openai_api_key="sk-1"))
