"""Splits long messages, so that each part fits an embedding: at ends of paragraphs, sentences or words."""

from __future__ import annotations

import re

# Embedding models read some 256 tokens, which are about as many characters in most languages.
CHUNK_CHARACTERS = 1_000
# What is longer than this many parts is not remembered to its end.
MAX_CHUNKS = 64

# From the best place to cut to the worst.
_BREAKS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|[。！？]|\n"),  # noqa: RUF001 - the ends of sentences in Chinese and Japanese
    re.compile(r"\s+"),
)


def split_text(text: str, *, size: int = CHUNK_CHARACTERS, limit: int = MAX_CHUNKS) -> list[str]:
    """The first `limit` parts of `text`, each of at most `size` characters without outer white space; none is empty."""
    chunks: list[str] = []
    start, end = 0, len(text)
    while start < end and len(chunks) < limit:
        stop = end if end - start <= size else _find_break(text, start, start + size)
        if chunk := text[start:stop].strip():
            chunks.append(chunk)
        start = stop
    return chunks


def _find_break(text: str, start: int, stop: int) -> int:
    """Where a part that begins at `start` ends, at `stop` or before. In the first half nothing is looked for: parts
    would become small."""
    middle = start + (stop - start) // 2
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, middle, stop)]
        if ends:
            return ends[-1]
    return stop
