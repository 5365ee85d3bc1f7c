"""From a route of a release (`offline:`, `openai:gpt-5-mini`) to the model behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.llm.errors import BadModelRequest
from agents.llm.offline import OfflineModel
from agents.llm.openai import DEFAULT_BASE_URL, OpenAIConfig, OpenAIModel
from agents.llm.port import LLM
from foundation.http import GuardedClient, allowed_origin


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What the environment says about providers. Pauses are seconds."""

    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    offline_pace_seconds: float = 0


class Gateway:
    """The models of this process. It is the one place where retry, breaker and fallback will stand."""

    def __init__(self, config: GatewayConfig, *, client: GuardedClient | None = None) -> None:
        """`client` is closed by its owner; without one the gateway has its own, which may reach the configured server.

        Raises `AddressRefused` for a base URL that is not a plain http(s) address.
        """
        base_url = config.openai_base_url or DEFAULT_BASE_URL
        self._client = client or GuardedClient(allow_origins=frozenset({allowed_origin(base_url)}))
        self._owns_client = client is None
        openai = OpenAIModel(OpenAIConfig(api_key=config.openai_api_key, base_url=base_url), self._client)
        self._providers: dict[str, LLM] = {
            "offline": OfflineModel(pace_seconds=config.offline_pace_seconds),
            "openai": openai,
        }

    def resolve(self, route: str) -> tuple[LLM, str]:
        """The model behind `route` and the name it has there. Raises `BadModelRequest` for a route we cannot take."""
        provider, _, model = route.partition(":")
        llm = self._providers.get(provider)
        if llm is None:
            raise BadModelRequest("There is no such provider of models here.", provider_detail=f"route {route!r}")
        if not model and provider != "offline":
            raise BadModelRequest("The route does not name a model.", provider_detail=f"route {route!r}")
        return llm, model

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        for llm in self._providers.values():
            await llm.aclose()
        if self._owns_client:
            await self._client.aclose()
