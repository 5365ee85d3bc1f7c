"""The gateway: from routes to models."""

from __future__ import annotations

import pytest

from agents.llm import routes
from agents.llm.errors import BadModelRequest
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.interface import ChatMessage, Finished, ModelRequest
from agents.llm.offline import OfflineModel
from agents.llm.routes import route_error
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


@pytest.mark.parametrize("route", ["offline:", "offline", "openai:gpt", "openai:llama3:8b"])
def test_a_route_that_leads_somewhere_has_no_fault(route: str) -> None:
    assert route_error(route) is None


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("gpt-5", "A route reads provider:model"),
        ("nobody:x", "There is no provider 'nobody' here; there are offline, openai, anthropic, google, bedrock."),
        ("openai:", "does not name a model"),
        ("google:gemini", "are not installed: start with `make run VENDORS=1`"),
    ],
)
def test_a_route_that_leads_nowhere_says_why(route: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "is_installed", lambda _: False)
    assert said in (route_error(route) or "")


async def test_a_base_url_that_is_no_address_is_refused_at_the_start() -> None:
    with pytest.raises(AddressRefused):
        Gateway(GatewayConfig(openai_base_url="localhost:11434/v1"))


async def test_the_key_is_in_no_representation() -> None:
    assert "sk-1" not in repr(GatewayConfig(openai_api_key="sk-1"))
