"""Models for the embedder's process that cost nothing, and do what a text tells them to."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Sequence

from memory.embeddings.fake import FakeEmbedder

HANG, FAIL, DIE, GROW, UNREADABLE = "[[hang]]", "[[fail]]", "[[die]]", "[[grow]]", "[[unreadable]]"


class ObedientModel:
    """Vectors of the embedder without a model; a token is a word."""

    name = "obedient"
    dimensions = FakeEmbedder.dimensions
    variant = "tests"

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._memory: list[bytearray] = []

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if any(UNREADABLE in text for text in texts):
            raise ValueError("unreadable")
        start = len(self._texts)
        self._texts += texts
        return [[start + number] * (len(text.split()) + 1) for number, text in enumerate(texts)]

    def embed(self, tokens: Sequence[Sequence[int]]) -> list[bytes]:
        texts = [self._texts[numbers[0]] for numbers in tokens]
        for text in texts:
            self._obey(text)
        return [array("f", vector).tobytes() for vector in FakeEmbedder().embed(texts, timeout=1)]

    def _obey(self, text: str) -> None:
        if HANG in text:
            time.sleep(600)
        elif FAIL in text:
            raise RuntimeError("it was told to fail")
        elif DIE in text:
            os._exit(9)
        elif GROW in text:
            self._memory.append(bytearray(os.urandom(1024 * 1024) * 200))


def load_obedient() -> ObedientModel:
    return ObedientModel()


def load_nothing() -> ObedientModel:
    raise FileNotFoundError("there is no model")
