"""What every embedder does, whatever is behind it: nothing, a process with the real model, or a server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from memory.embeddings.embedder_process.folder import embedder_folder
from memory.embeddings.embedder_process.launcher import kill_embedder
from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder
from memory.embeddings.fake import FakeEmbedder
from memory.embeddings.interface import Embedder
from memory.embeddings.minilm.minilm_embedder import minilm_embedder
from memory.embeddings.openai_embedder import OpenAIEmbedder, OpenAIEmbeddingsConfig
from tests.provider import Provider
from tests.provider import embeddings as served
from tests.provider.fixture import provider  # noqa: F401

SECONDS = 60.0


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessEmbedder]:
    """The real model: a second to load."""
    data_dir = tmp_path_factory.mktemp("installation")
    yield (embedder := minilm_embedder(data_dir))
    embedder.close()
    kill_embedder(embedder_folder(data_dir))


@pytest_asyncio.fixture(params=["fake", "minilm", "openai"])
async def embedder(
    request: pytest.FixtureRequest,
    minilm: ProcessEmbedder,
    provider: Provider,  # noqa: F811
) -> AsyncIterator[Embedder]:
    config = OpenAIEmbeddingsConfig("embed", served.DIMENSIONS, api_key="sk-canary", base_url=provider.base_url)
    openai = OpenAIEmbedder(config)
    by_kind: dict[str, Embedder] = {"fake": FakeEmbedder(), "minilm": minilm, "openai": openai}
    yield by_kind[request.param]
    await openai.aclose()


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_an_embedder_keeps_what_it_promises(embedder: Embedder) -> None:
    texts = [
        "Anna likes the colour green",
        "Which colour does Anna like?",
        "The train to Oslo leaves at nine",
        "",
        "\x00 \ud800 \U0001f600 \u202e",
        "word " * 4000,
        "x" * 20_000,
        *(f"line {number}" for number in range(70)),
    ]
    vectors = await embedder.aembed(texts, timeout=SECONDS)
    assert [len(vector) for vector in vectors] == [embedder.dimensions] * len(texts)
    assert all(math.isclose(cosine(vector, vector), 1.0, abs_tol=1e-4) for vector in vectors)
    # What is near is near, in the order of the texts.
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.2
    # Alone or among others, blocking or not: the same vector.
    for number in (0, 3, 5, 76):
        [alone] = await asyncio.to_thread(embedder.embed, texts[number : number + 1], timeout=SECONDS)
        assert cosine(alone, vectors[number]) > 0.998
    assert await embedder.aembed([], timeout=SECONDS) == []
    assert embedder.model
    assert 0 < len(embedder.model) <= 150


async def test_the_real_model_knows_what_texts_mean(minilm: ProcessEmbedder) -> None:
    question, fact, other = await minilm.aembed(
        ["Where does she work?", "Her job is at the hospital", "He bought a red bicycle"], timeout=SECONDS
    )
    assert cosine(question, fact) > cosine(question, other) + 0.2
    # Of 256 tokens the last one counts, and none after it.
    near, far, same = await minilm.aembed(
        ["a " * 252 + "hospital", "a " * 300 + "hospital", "a " * 300], timeout=SECONDS
    )
    assert cosine(far, same) == pytest.approx(1.0, abs=1e-3)
    assert cosine(near, same) < 0.99
    status = minilm.status(timeout=SECONDS)
    assert status is not None
    assert (status["model"], status["dimensions"], status["waiting_texts"]) == (minilm.model, minilm.dimensions, 0)


def test_a_data_directory_has_one_embedder_of_each_process(tmp_path: Path) -> None:
    """Nothing is made, and nothing started, before the first question."""
    minilm_embedder(tmp_path)
    assert list(tmp_path.iterdir()) == []
