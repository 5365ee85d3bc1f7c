"""Embeddings of an OpenAI-compatible server: `POST …/embeddings`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson
from yarl import URL

from foundation.http import AddressRefused, GuardedClient, allowed_origin
from memory.embeddings.interface import EmbeddingUnavailable

if TYPE_CHECKING:
    from memory.embeddings.embedding_settings import EmbeddingSettings

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
_TEXTS_PER_REQUEST: Final = 64
# The models read 8,192 tokens and refuse longer texts, instead of cutting them. A token has a byte at least.
_MAX_BYTES: Final = 8_000
# A number in JSON takes up to 25 bytes.
_BYTES_PER_NUMBER: Final = 32
_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class OpenAIEmbeddingsConfig:
    """Where the server is, and which model. `requested_dimensions` is named in each request if it is set."""

    server_model: str
    dimensions: int
    requested_dimensions: int | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str = DEFAULT_BASE_URL

    @classmethod
    def of_settings(
        cls, settings: EmbeddingSettings, *, dimensions: int | None, api_key: str | None, base_url: str | None
    ) -> OpenAIEmbeddingsConfig:
        """The configuration that the environment makes. Raises `ValueError` where its parts do not fit."""
        return cls(
            server_model=settings.server_model,
            dimensions=settings.server_dimensions(dimensions),
            requested_dimensions=settings.requested_dimensions(dimensions),
            api_key=api_key,
            base_url=base_url or DEFAULT_BASE_URL,
        )


class OpenAIEmbedder:
    """One model of a server. Nothing is retried: a search goes by text alone then, and the rest is a job's."""

    def __init__(self, config: OpenAIEmbeddingsConfig) -> None:
        """Raises `AddressRefused` for a base URL that is not a plain http(s) address."""
        self.dimensions = config.dimensions
        # Vectors of two lengths are of two models, whoever made them.
        self.model = f"openai:{config.server_model}@{config.dimensions}"
        self._config = config
        self._allow = frozenset({allowed_origin(config.base_url)})
        base = URL(config.base_url)
        self._url = base.with_path(base.raw_path.rstrip("/") + "/embeddings", encoded=True, keep_query=True)
        # For event loops that live on: it keeps connections, and one pool of them for each loop.
        self._client = GuardedClient(allow_origins=self._allow)

    def embed(self, texts: Sequence[str], *, timeout: float) -> list[list[float]]:
        """See `Embedder.embed`. Not for the thread of an event loop."""
        return asyncio.run(self._embed_apart(texts, timeout))

    async def aembed(self, texts: Sequence[str], *, timeout: float) -> list[list[float]]:  # noqa: ASYNC109
        """See `Embedder.aembed`."""
        return await self._embed(self._client, texts, timeout)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._client.aclose()

    async def _embed_apart(self, texts: Sequence[str], seconds: float) -> list[list[float]]:
        async with GuardedClient(allow_origins=self._allow) as client:
            return await self._embed(client, texts, seconds)

    async def _embed(self, client: GuardedClient, texts: Sequence[str], seconds: float) -> list[list[float]]:
        vectors: list[list[float]] = []
        try:
            async with asyncio.timeout(seconds):
                for start in range(0, len(texts), _TEXTS_PER_REQUEST):
                    vectors += await self._request(client, texts[start : start + _TEXTS_PER_REQUEST])
        except TimeoutError:
            raise EmbeddingUnavailable("The server of the embedding model did not answer in time.") from None
        except (aiohttp.ClientError, AddressRefused, OSError, ValueError) as error:
            raise EmbeddingUnavailable(
                f"The server of the embedding model cannot be used ({type(error).__name__})."
            ) from error
        return vectors

    async def _request(self, client: GuardedClient, texts: Sequence[str]) -> list[list[float]]:
        body: dict[str, Any] = {
            "model": self._config.server_model,
            "input": [_acceptable(text) for text in texts],
            "encoding_format": "float",
        }
        if self._config.requested_dimensions:
            body["dimensions"] = self._config.requested_dimensions
        headers = {"Content-Type": "application/json"}
        if self._config.api_key:
            headers["Authorization"] = f"Bearer {self._config.api_key}"
        request = client.session().post(self._url, data=orjson.dumps(body), headers=headers, allow_redirects=False)
        async with request as response:
            if response.status != 200:
                raise EmbeddingUnavailable(f"The server of the embedding model refuses ({response.status}).")
            content = await _read(response, len(texts) * self.dimensions * _BYTES_PER_NUMBER + _ANSWER_BYTES)
        return self._read_vectors(orjson.loads(content), len(texts))

    def _read_vectors(self, answer: Any, count: int) -> list[list[float]]:
        try:
            # The order is by `index`, whatever that in the list is.
            entries = {int(entry["index"]): entry["embedding"] for entry in answer["data"]}
            vectors = [[float(number) for number in entries[index]] for index in range(count)]
        except (KeyError, TypeError, ValueError):
            raise EmbeddingUnavailable("The server gave something that is no vector.") from None
        if any(len(vector) != self.dimensions for vector in vectors):
            raise EmbeddingUnavailable("The server gave vectors of another length than the settings say.")
        return [_normalise(vector) for vector in vectors]


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > max_bytes:
            response.close()
            raise EmbeddingUnavailable("The server gave more than the vectors.")
    return bytes(content)


def _normalise(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(number * number for number in vector))
    if not length or not math.isfinite(length):
        raise EmbeddingUnavailable("The server gave something that is no vector.")
    return [number / length for number in vector]


def _acceptable(text: str) -> str:
    """`text` as a server takes it: its beginning, without halves of characters, and never nothing."""
    return text[:_MAX_BYTES].encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore") or " "
