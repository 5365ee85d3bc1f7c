"""Embeddings of a server: what is asked, what is taken, and what is not."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from memory.embeddings.interface import EmbeddingUnavailable
from memory.embeddings.openai_embedder import OpenAIEmbedder, OpenAIEmbeddingsConfig
from tests.provider import Provider, embeddings
from tests.provider.fixture import provider  # noqa: F401
from tests.support.surroundings import free_port


def configured(provider: Provider, **changed: object) -> OpenAIEmbedder:  # noqa: F811
    values = {"server_model": "embed", "dimensions": embeddings.DIMENSIONS, "api_key": "sk-canary"}
    return OpenAIEmbedder(OpenAIEmbeddingsConfig(base_url=provider.base_url, **{**values, **changed}))  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def embedder(provider: Provider) -> AsyncIterator[OpenAIEmbedder]:  # noqa: F811
    yield (there := configured(provider))
    await there.aclose()


async def test_a_request_is_as_openai_takes_it(provider: Provider, embedder: OpenAIEmbedder) -> None:  # noqa: F811
    await embedder.aembed(["a", "", "\ud800"], timeout=5)
    [request] = provider.requests
    assert request.path == "/v1/embeddings"
    assert request.body == {"model": "embed", "input": ["a", " ", "?"], "encoding_format": "float"}
    assert "Authorization: Bearer sk-canary" in request.headers


async def test_a_text_is_cut_to_what_a_model_reads(provider: Provider, embedder: OpenAIEmbedder) -> None:  # noqa: F811
    await embedder.aembed(["\N{EURO SIGN}" * 10_000], timeout=5)
    assert provider.requests[0].body["input"] == ["\N{EURO SIGN}" * 2666]


async def test_a_shorter_vector_is_another_model(provider: Provider) -> None:  # noqa: F811
    shortened = configured(provider, dimensions=8, requested_dimensions=8)
    [vector] = await shortened.aembed(["a"], timeout=5)
    assert len(vector) == 8
    assert provider.requests[0].body["dimensions"] == 8
    assert (shortened.model, configured(provider).model) == ("openai:embed@8", "openai:embed@32")
    await shortened.aclose()


async def test_many_texts_are_several_requests(provider: Provider, embedder: OpenAIEmbedder) -> None:  # noqa: F811
    vectors = await embedder.aembed([f"text {number}" for number in range(130)], timeout=5)
    assert [len(request.body["input"]) for request in provider.requests] == [64, 64, 2]
    assert len(vectors) == 130


async def test_vectors_are_in_the_order_of_the_texts(provider: Provider, embedder: OpenAIEmbedder) -> None:  # noqa: F811
    expected = await embedder.aembed(["one", "two"], timeout=5)
    provider.queue.append({"fault": "reversed"})
    assert await embedder.aembed(["one", "two"], timeout=5) == expected
    assert math.isclose(sum(number**2 for number in expected[0]), 1.0)


FAULTS = (
    "401 429 500 503 hang stuck_headers stuck_error close reset garbage html json_error_200 big_error redirect "
    "fewer longer zeros huge words rubbish flood"
)


@pytest.mark.parametrize("fault", FAULTS.split())
async def test_what_is_no_vector_is_no_answer(
    provider: Provider,  # noqa: F811
    embedder: OpenAIEmbedder,
    fault: str,
) -> None:
    provider.defaults["fault"] = fault
    with pytest.raises(EmbeddingUnavailable) as failure:
        await embedder.aembed(["a", "b"], timeout=0.3)
    assert "canary" not in failure.value.detail
    assert "10.0.0.7" not in failure.value.detail


def test_a_server_that_is_not_there_cannot_be_used() -> None:
    nobody = OpenAIEmbedder(OpenAIEmbeddingsConfig("embed", 8, base_url=f"http://127.0.0.1:{free_port()}/v1"))
    with pytest.raises(EmbeddingUnavailable):
        nobody.embed(["a"], timeout=1)
