"""What the clients ask: each message says which answer the model will give, so that the right one can be told."""

from __future__ import annotations

import json
import random
import uuid
from dataclasses import dataclass
from typing import Any

INTERRUPTING = 0.1
_WORDS = "the quick brown fox jumps over the lazy dog while nobody on the other side of the river looks"


@dataclass(frozen=True, slots=True)
class Question:
    """`key` is its idempotency key, `answer` the exact text of a completed answer.

    `interrupts`: the session's open turns are to be stopped for it.
    """

    key: str
    text: str
    answer: str
    interrupts: bool = False


def ask(rng: random.Random, *, interrupts: bool, slow: bool) -> Question:
    """A new question: short, long, at once, or with tools. With `interrupts`, a few stop what is open; with `slow`, all
    answers take some seconds."""
    key = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    kind = rng.choices(["short", "at once", "note", "tools", "long"], [45, 10, 20, 15, 10])[0]
    length = rng.randint(60, 120) if kind == "long" or slow else rng.randint(4, 24)
    speed = 30 if slow else 0 if kind == "at once" else rng.choice([40, 60, 100])
    answer = f"The answer to {key}: " + " ".join(rng.choices(_WORDS.split(), k=length)) + "."
    settings: dict[str, Any] = {"text": answer, "tps": speed}
    if kind == "note":
        settings["calls"] = [_note(key)]
    elif kind == "tools":
        settings["calls"] = [_note(key), ["calculator", {"expression": "6*7"}], ["clock", {}]]
    directive = " ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())
    text = f"Question {key}? [[provider {directive}]]"
    return Question(key, text, answer, interrupts and rng.random() < INTERRUPTING)


def _note(key: str) -> list[Any]:
    return ["notebook_add", {"text": f"note for {key}"}]
