"""How much each signal counts in the score of a memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

LARGEST_WEIGHT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Weights:
    """The score of a memory is the sum of its signals, each from 0 to 1, times these.

    | signal | |
    | --- | --- |
    | meaning | the cosine of the question's vector and the memory's |
    | words | words of the question in the memory, rare ones counting most; 1 for the best |
    | context | the same in the memory and the two messages before it |
    | speaker | the one person whom the question names said it |
    | date | it was said on the day, or half in the month, that the question names |
    | reply | the cosine of the next message of its conversation |
    | conversation | the best score of its conversation: evidence comes in clusters |
    | time | it speaks of a time, where the question asks when |
    | detail | how much it says: many different words |
    | question | subtracted: it asks something, and so states little |
    """

    meaning: float = 1.0
    words: float = 0.1
    context: float = 0.4
    speaker: float = 0.2
    date: float = 0.5
    reply: float = 0.2
    conversation: float = 0.35
    time: float = 0.25
    detail: float = 0.15
    question: float = 0.15


SIGNALS: Final = tuple(field.name for field in fields(Weights))


def read_weights(value: str) -> Weights:
    """The weights of `name=number,name=number`; the others keep their defaults. Raises `ValueError`."""
    weights: dict[str, float] = {}
    for part in filter(None, (item.strip() for item in value.split(","))):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in SIGNALS or name in weights:
            raise ValueError(f"must name each of {', '.join(SIGNALS)} at most once, as words=0.2")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ValueError(f"must give a number for {name}") from None
        if not math.isfinite(weights[name]) or not 0 <= weights[name] <= LARGEST_WEIGHT:
            raise ValueError(f"must give {name} a number from 0 to {LARGEST_WEIGHT:g}")
    return Weights(**weights)
