"""What BANDSTAND_EMBEDDINGS says: which embedding model there is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# What a column of half-precision vectors can have an index for.
MAX_DIMENSIONS: Final = 4000
# Models whose own number of dimensions is known; those of version 3 can be asked for fewer.
OPENAI_DIMENSIONS: Final = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
_SHORTENED: Final = "text-embedding-3-"
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")


class EmbedderKind(StrEnum):
    MINILM = "minilm"
    OPENAI = "openai"
    FAKE = "fake"


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """The kind of embedder; `server_model` is what an OpenAI-compatible server calls its model."""

    kind: EmbedderKind = EmbedderKind.MINILM
    server_model: str = ""

    def server_dimensions(self, dimensions: int | None) -> int:
        """The length of the server's vectors, where `dimensions` is what the environment says. Raises `ValueError`."""
        known = OPENAI_DIMENSIONS.get(self.server_model)
        if dimensions is None and known is None:
            raise ValueError("must be set for this model, whose number of dimensions is not known")
        if known is not None and dimensions is not None and dimensions != known:
            if not self.server_model.startswith(_SHORTENED):
                raise ValueError(f"must be {known} for this model")
            if dimensions > known:
                raise ValueError(f"must be at most {known} for this model")
        return dimensions or known or 0

    def requested_dimensions(self, dimensions: int | None) -> int | None:
        """What a request names, of a model that can be asked for fewer dimensions than it has; else None."""
        known = OPENAI_DIMENSIONS.get(self.server_model)
        return dimensions if known is not None and dimensions not in {None, known} else None


def read_embeddings(value: str) -> EmbeddingSettings:
    """The settings of `minilm`, `fake` or `openai:<model>`. Raises `ValueError`."""
    name, _, model = value.strip().partition(":")
    if name == EmbedderKind.OPENAI and _MODEL.fullmatch(model):
        return EmbeddingSettings(EmbedderKind.OPENAI, model)
    if name in {EmbedderKind.MINILM, EmbedderKind.FAKE} and not model:
        return EmbeddingSettings(EmbedderKind(name))
    raise ValueError("must be minilm, openai:<model> or fake")
