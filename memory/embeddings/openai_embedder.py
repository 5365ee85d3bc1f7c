"""Embeddings of an OpenAI-compatible server: `POST …/embeddings`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson
from yarl import URL

from foundation.db_threads import in_db_thread
from foundation.http import AddressRefused, GuardedClient, allowed_origin
from memory.embeddings.embedding_budget import EmbeddingBudget, EmbeddingReservation, add_sizes
from memory.embeddings.interface import EmbeddingPayer, EmbeddingUnavailable

if TYPE_CHECKING:
    from memory.embeddings.embedding_settings import EmbeddingSettings

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
_TEXTS_PER_REQUEST: Final = 64
# The models read 8,192 tokens and refuse longer texts, instead of cutting them. A token has a byte at least.
_MAX_BYTES: Final = 8_000
# Models set marks before and after each text, which servers count: `[CLS]` and `[SEP]`, `<s>` and `</s>`.
_MARKS_PER_TEXT: Final = 2
# A number in JSON takes up to 25 bytes.
_BYTES_PER_NUMBER: Final = 32
_ANSWER_BYTES: Final = 64 * 1024
# More than any server reads in one request.
_MAX_TOKENS: Final = 20_000_000


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


@dataclass(slots=True)
class _Meter:
    """The tokens that a server has reported for the requests of one call; `is_known`: for all of them."""

    tokens: int = 0
    is_known: bool = True
    _has_gap: bool = False

    def add(self, answer: Any) -> None:
        """Count an answer's usage, if it has one that can be."""
        usage = answer.get("usage") if isinstance(answer, dict) else None
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if type(tokens) is int and 0 <= tokens <= _MAX_TOKENS:
            self.tokens += tokens
            self.is_known = True
        else:
            self._has_gap = True

    @property
    def total(self) -> int | None:
        """All tokens; None where a request may have been billed for nobody knows how many."""
        return self.tokens if self.is_known and not self._has_gap else None


@dataclass(slots=True)
class _EmbeddingCall:
    """Texts as the server takes them, the tokens of each payer at most, and what they draw on. `reserve` and `report`
    are for threads that use the database."""

    route: str
    texts: Sequence[str]
    sizes: Mapping[EmbeddingPayer, int]
    seconds: float
    budget: EmbeddingBudget | None
    meter: _Meter = field(default_factory=_Meter)
    reservation: EmbeddingReservation | None = None

    def reserve(self) -> None:
        """Reserve what the call may cost. Raises `EmbeddingBudgetExceeded`."""
        if self.budget is not None and self.texts:
            self.reservation = self.budget.reserve(self.route, self.sizes, seconds=self.seconds)

    def report(self) -> None:
        """Say what it has used."""
        if self.budget is not None and self.reservation is not None:
            self.budget.report(self.reservation, self.meter.total)


class OpenAIEmbedder:
    """One model of a server. Nothing is retried: a search goes by text alone then, and the rest is a job's."""

    def __init__(
        self, config: OpenAIEmbeddingsConfig, *, find_budget: Callable[[], EmbeddingBudget | None] = lambda: None
    ) -> None:
        """`find_budget` returns what calls draw on at the moment. Raises `AddressRefused` for a base URL that is not a
        plain http(s) address."""
        self._find_budget = find_budget
        self.dimensions = config.dimensions
        # Vectors of two lengths are of two models, whoever made them.
        self.model = f"openai:{config.server_model}@{config.dimensions}"
        self._config = config
        self._allow = frozenset({allowed_origin(config.base_url)})
        base = URL(config.base_url)
        self._url = base.with_path(base.raw_path.rstrip("/") + "/embeddings", encoded=True, keep_query=True)
        # For event loops that live on: it keeps connections, and one pool of them for each loop.
        self._client = GuardedClient(allow_origins=self._allow)

    def embed(
        self, texts: Sequence[str], *, timeout: float, payers: Sequence[EmbeddingPayer] = ()
    ) -> list[list[float]]:
        """See `Embedder.embed`. Not for the thread of an event loop."""
        call = self._begin(texts, payers, timeout)
        call.reserve()
        try:
            return asyncio.run(self._embed_apart(call))
        finally:
            call.report()

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        """See `Embedder.aembed`."""
        call = self._begin(texts, payers, timeout)
        if call.budget is None:
            return await self._embed(self._client, call)
        await in_db_thread(call.reserve)
        try:
            return await self._embed(self._client, call)
        finally:
            if call.reservation is not None:
                # Also when the caller is cancelled: what is not reported counts whole.
                await asyncio.shield(in_db_thread(call.report))

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._client.aclose()

    def _begin(self, texts: Sequence[str], payers: Sequence[EmbeddingPayer], seconds: float) -> _EmbeddingCall:
        cleaned = [_acceptable(text) for text in texts]
        sizes = add_sizes([len(text.encode()) + _MARKS_PER_TEXT for text in cleaned], payers)
        return _EmbeddingCall(f"openai:{self._config.server_model}", cleaned, sizes, seconds, self._find_budget())

    async def _embed_apart(self, call: _EmbeddingCall) -> list[list[float]]:
        async with GuardedClient(allow_origins=self._allow) as client:
            return await self._embed(client, call)

    async def _embed(self, client: GuardedClient, call: _EmbeddingCall) -> list[list[float]]:
        vectors: list[list[float]] = []
        try:
            async with asyncio.timeout(call.seconds):
                for start in range(0, len(call.texts), _TEXTS_PER_REQUEST):
                    texts = call.texts[start : start + _TEXTS_PER_REQUEST]
                    vectors += await self._request(client, texts, call.meter)
        except TimeoutError:
            raise EmbeddingUnavailable("The server of the embedding model did not answer in time.") from None
        except (aiohttp.ClientError, AddressRefused, OSError, ValueError) as error:
            raise EmbeddingUnavailable(
                f"The server of the embedding model cannot be used ({type(error).__name__})."
            ) from error
        return vectors

    async def _request(self, client: GuardedClient, texts: Sequence[str], meter: _Meter) -> list[list[float]]:
        body: dict[str, Any] = {
            "model": self._config.server_model,
            "input": list(texts),
            "encoding_format": "float",
        }
        if self._config.requested_dimensions:
            body["dimensions"] = self._config.requested_dimensions
        headers = {"Content-Type": "application/json"}
        if self._config.api_key:
            headers["Authorization"] = f"Bearer {self._config.api_key}"
        request = client.session().post(self._url, data=orjson.dumps(body), headers=headers, allow_redirects=False)
        # From here on it may be billed.
        meter.is_known = False
        try:
            async with request as response:
                if response.status != 200:
                    meter.is_known = True
                    raise EmbeddingUnavailable(f"The server of the embedding model refuses ({response.status}).")
                content = await _read(response, len(texts) * self.dimensions * _BYTES_PER_NUMBER + _ANSWER_BYTES)
        except (aiohttp.ClientConnectorError, AddressRefused):
            meter.is_known = True
            raise
        answer = orjson.loads(content)
        meter.add(answer)
        return self._read_vectors(answer, len(texts))

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
