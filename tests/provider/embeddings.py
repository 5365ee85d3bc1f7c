"""Vectors as OpenAI's `/embeddings` gives them, and as it never should: of any length, out of order, no numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

DIMENSIONS = 32

_FAULTS: dict[str, Callable[[list[dict[str, Any]]], list[Any]]] = {
    "fewer": lambda data: data[:-1],
    "reversed": lambda data: data[::-1],
    "longer": lambda data: [{**entry, "embedding": [*entry["embedding"], 0.5]} for entry in data],
    "zeros": lambda data: [{**entry, "embedding": [0.0] * len(entry["embedding"])} for entry in data],
    "huge": lambda data: [{**entry, "embedding": [1e308] * len(entry["embedding"])} for entry in data],
    "words": lambda data: [{**entry, "embedding": ["x"] * len(entry["embedding"])} for entry in data],
    "rubbish": lambda _: [1, None, "x"],
    "flood": lambda data: [*data, {"index": 99, "padding": "x" * 3_000_000}],
}


def answer(body: dict[str, Any], fault: str = "") -> dict[str, Any]:
    """The answer's body. The vectors are no longer than asked for, and their lengths are not 1."""
    dimensions = int(body.get("dimensions") or DIMENSIONS)
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, dimensions)}
        for index, text in enumerate(body["input"])
    ]
    data = _FAULTS.get(fault, list)(data)
    return {"object": "list", "data": data, "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _vector(text: str, dimensions: int) -> list[float]:
    vector = [0.01] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[hashlib.sha256(word.encode()).digest()[0] % dimensions] += 3.0
    return vector
