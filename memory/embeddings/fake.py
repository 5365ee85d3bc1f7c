"""An embedder without a model: deterministic, and texts that share words are near each other. For tests."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from memory.embeddings.interface import EmbeddingPayer

_WORD: Final = re.compile(r"\w+")
_GRAM: Final = 3
# Parts of words count less than words, so that "painted" is near "painting" and nearer to "painted".
_GRAM_WEIGHT: Final = 0.25


class FakeEmbedder:
    """A hashed bag of words and of their parts."""

    model = "fake-bag-of-words"
    dimensions = 256

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ARG002
        payers: Sequence[EmbeddingPayer] = (),  # noqa: ARG002
    ) -> list[list[float]]:
        """See `Embedder.embed`; never fails."""
        return [self._vector(text) for text in texts]

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),  # noqa: ARG002
    ) -> list[list[float]]:
        """See `Embedder.aembed`; never fails."""
        return self.embed(texts, timeout=timeout)

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        for feature, weight in _features(text):
            index, sign = _place(feature, self.dimensions)
            vector[index] += sign * weight
        length = math.sqrt(sum(value * value for value in vector))
        if not length:
            # A text without words; a vector of nothing has no angle to any other.
            return [1.0] + [0.0] * (self.dimensions - 1)
        return [value / length for value in vector]


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text.lower()):
        yield word, 1.0
        for start in range(len(word) - _GRAM + 1):
            yield f"~{word[start : start + _GRAM]}", _GRAM_WEIGHT


@lru_cache(maxsize=50_000)
def _place(feature: str, dimensions: int) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest()
    number = int.from_bytes(digest)
    return number % dimensions, 1.0 if digest[0] & 1 else -1.0
