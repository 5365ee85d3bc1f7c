"""What the embedder and those who ask it say to each other, over a private socket, in the frames of the compute pool.

```
→ {"texts": [...], "seconds": 2.5}          ← {"vectors": "<base64 of 32-bit floats>"} or {"fault": "…"}
→ {"status": true}                          ← {"status": {"model": …, "variant": …, …}}
```
One question at a time on each connection.
"""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

FOLDER: Final = "embedder"
SOCKET: Final = "embedder.sock"
LOCK: Final = "embedder.lock"
# The process that has the lock, as the supervisor records its own.
RECORD: Final = "embedder.json"
# Why the last one could not start.
FAULT: Final = "fault.txt"

MAX_TEXTS: Final = 32
# A model reads the beginning of a text only.
MAX_CHARACTERS: Final = 8_000
# Six bytes for each character that is not ASCII, at most.
MAX_QUESTION_BYTES: Final = MAX_TEXTS * MAX_CHARACTERS * 6 + 4096
MAX_ANSWER_BYTES: Final = MAX_TEXTS * 4096 * 4 * 2
MAX_SECONDS: Final = 3600.0


class EmbeddingFault(StrEnum):
    """Why there are no vectors."""

    OVERLOADED = "overloaded"
    LATE = "late"
    FAILED = "failed"


def read_texts(message: dict[str, Any]) -> tuple[list[str], float]:
    """The texts of a question and the seconds for which somebody waits. Raises `ValueError` for what is no question."""
    texts, seconds = message.get("texts"), message.get("seconds")
    if not isinstance(texts, list) or not 0 < len(texts) <= MAX_TEXTS:
        raise ValueError("no texts")
    if not all(isinstance(text, str) and len(text) <= MAX_CHARACTERS for text in texts):
        raise ValueError("no text")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_SECONDS:
        raise ValueError("no seconds")
    return texts, float(seconds)


def write_vectors(vectors: Sequence[bytes]) -> dict[str, Any]:
    """The answer with `vectors`."""
    return {"vectors": base64.b64encode(b"".join(vectors)).decode("ascii")}


def read_vectors(answer: dict[str, Any], count: int, dimensions: int) -> list[array[float]]:
    """The `count` vectors of an answer. Raises `ValueError` for another number of them."""
    try:
        data = base64.b64decode(answer["vectors"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise ValueError("no vectors") from None
    if len(data) != count * dimensions * 4:
        raise ValueError("another number of vectors")
    numbers = array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return [numbers[start : start + dimensions] for start in range(0, count * dimensions, dimensions)]
