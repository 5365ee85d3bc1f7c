"""The embedder without a model: near is what shares words."""

from __future__ import annotations

import math

import pytest

from memory.embeddings.fake import FakeEmbedder


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_texts_that_share_words_are_near() -> None:
    question, fact, other = FakeEmbedder().embed(
        ["Which colour does Anna like?", "Anna likes the colour green", "The train leaves at nine"], timeout=1
    )
    assert cosine(question, fact) > 0.4
    assert cosine(question, other) < 0.2


def test_the_same_text_has_the_same_vector_in_every_process() -> None:
    (vector,) = FakeEmbedder().embed(["a"], timeout=1)
    assert [index for index, value in enumerate(vector) if value] == [47]


@pytest.mark.parametrize("text", ["", " ", "!?", "\ud800", "\x00", "x" * 100_000])
def test_every_text_has_a_vector_of_length_one(text: str) -> None:
    (vector,) = FakeEmbedder().embed([text], timeout=1)
    assert math.isclose(cosine(vector, vector), 1.0)
