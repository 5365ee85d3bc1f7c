"""The pydantic-ai models of one vendor, on our own HTTP client. Importing this module imports the libraries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.usage import RequestUsage

from agents.llm.errors import ModelError
from agents.llm.interface import ModelRequest, Usage
from agents.llm.pydantic_ai.answer import VendorAnswer
from agents.llm.pydantic_ai.config import VendorConfig
from agents.llm.pydantic_ai.error_mapping import map_exception
from agents.llm.pydantic_ai.http import Exchange, open_http
from agents.llm.pydantic_ai.parameters import check_format, model_settings, request_parameters
from agents.llm.pydantic_ai.request import model_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2
    from botocore.loaders import Loader

_MAX_CACHED_MODELS = 100
# What vendors call the tokens of reasoning among the details of the usage.
_REASONING = ("reasoning_tokens", "thoughts_tokens", "thinking_tokens")


class VendorClient:
    """The models of one vendor in one event loop; may be created in any thread."""

    def __init__(self, config: VendorConfig) -> None:
        self._config = config
        self._http = open_http()
        self._make = _MAKERS[config.provider](config, self._http)
        self._models: dict[str, Model] = {}

    async def aclose(self) -> None:
        await self._http.aclose()

    def exchange(self, request: ModelRequest) -> Exchange:
        return Exchange(request.deadlines.connect_seconds)

    @asynccontextmanager
    async def open(self, request: ModelRequest, exchange: Exchange) -> AsyncIterator[StreamedResponse]:
        """The stream of an answer; entering sends the request, leaving closes it."""
        exchange.begin()
        try:
            async with self._ask(request) as stream:
                yield stream
        finally:
            await exchange.aclose()

    def _ask(self, request: ModelRequest) -> AbstractAsyncContextManager[StreamedResponse]:
        model = self._model(request.model)
        check_format(request, self._config.provider, model.profile)
        return model_request_stream(
            model,
            model_messages(request),
            model_settings=model_settings(request, self._config.provider),
            model_request_parameters=request_parameters(request),
            instrument=False,
        )

    def answer(self, request: ModelRequest) -> VendorAnswer:
        return VendorAnswer(calls_before=sum(len(message.tool_calls) for message in request.messages))

    def usage(self, stream: StreamedResponse) -> Usage | None:
        """The usage that the vendor has reported so far; None if it has not."""
        usage = stream.usage
        if not (usage.input_tokens or usage.output_tokens):
            return None
        return Usage(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            _reasoning_tokens(usage),
        )

    def map_error(self, error: Exception) -> ModelError:
        return map_exception(error, self._config.api_key)

    def _model(self, name: str) -> Model:
        if name not in self._models:
            if len(self._models) >= _MAX_CACHED_MODELS:
                self._models.clear()
            self._models[name] = self._make(name)
        return self._models[name]


def _reasoning_tokens(usage: RequestUsage) -> int:
    """The part of the output that is reasoning; 0 if the vendor does not say. The library has a field for
    it, which not all of its adapters fill; its `details` have it under the vendor's own name."""
    named = usage.output_reasoning_tokens or next(
        (usage.details[name] for name in _REASONING if name in usage.details), 0
    )
    return min(named, usage.output_tokens)


def _anthropic(config: VendorConfig, http: httpx2.AsyncClient) -> Callable[[str], Model]:
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    sdk = AsyncAnthropic(api_key=config.api_key, base_url=config.base_url, http_client=http, max_retries=0)
    provider = AnthropicProvider(anthropic_client=sdk)
    return lambda name: AnthropicModel(name, provider=provider)


def _google(config: VendorConfig, http: httpx2.AsyncClient) -> Callable[[str], Model]:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    provider = GoogleProvider(api_key=config.api_key, base_url=config.base_url, http_client=http)
    return lambda name: GoogleModel(name, provider=provider)


@cache
def _botocore_data() -> Loader:
    """Descriptions of services and regions. Each session would read them anew: 50 ms for every route and event loop."""
    from botocore.loaders import create_loader

    return create_loader()


def _bedrock(config: VendorConfig, http: httpx2.AsyncClient) -> Callable[[str], Model]:  # noqa: ARG001 - has its own
    from botocore.config import Config
    from botocore.session import get_session
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    # Its reads block a thread each; the read timeout frees the thread of an abandoned one.
    limits = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, max_pool_connections=64)
    session = get_session()
    session.register_component("data_loader", _botocore_data())
    runtime = session.create_client(
        "bedrock-runtime", region_name=config.region, config=limits, endpoint_url=config.base_url
    )
    provider = BedrockProvider(bedrock_client=runtime)
    return lambda name: BedrockConverseModel(name, provider=provider)


_MAKERS = {"anthropic": _anthropic, "google": _google, "bedrock": _bedrock}
