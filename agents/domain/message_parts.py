"""The typed parts that a message consists of, as JSON objects in rows and on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agents.domain.response_fallbacks import FALLBACK_NOTES
from foundation.errors import InvalidInput, TooLarge

MAX_TEXT_BYTES = 64 * 1024
# Of the reasoning in one message.
MAX_REASONING_BYTES = 256 * 1024
REASONING_CUT = "\n\n(The rest of the reasoning was too long to keep.)"

# Why a model stopped before its text was complete: a limit of tokens, or its provider since it repeated itself.
CUT_REASONS = {
    "length": "Cut off: the answer reached its limit of tokens.",
    "repetition": "The model stopped because it repeated itself.",
}

SCHEDULE_NOTE = "Sent by a schedule."
# In place of the name of somebody who has none.
SOME_PERSON = "A person"

Part = dict[str, Any]


def text_part(
    text: str, *, cut: str = "", fallback: str = "", answered_at: str = "", schedule: str = "", by: str = ""
) -> Part:
    """A part that is text. `cut`: why the model stopped before it was complete, see `CUT_REASONS`. `fallback`: what it
    is in place of an answer of the agent's models; one that was given before says when (`answered_at`). `schedule`: the
    id of the schedule that sent it for its user. `by`: the name of the person who wrote it in place of the agent, or of
    the user whose session it was copied from, for another one."""
    part = {"type": "text", "text": text}
    marks = {"cut": cut, "fallback": fallback, "answered_at": answered_at, "schedule": schedule, "by": by}
    return part | {name: mark for name, mark in marks.items() if mark}


def reasoning_part(text: str) -> Part:
    """The reasoning of a model before its text: people may read it, but it is no part of the answer."""
    return {"type": "reasoning", "text": text}


def tool_call_part(*, call_id: str, name: str, arguments: str) -> Part:
    """`arguments` is the JSON text as the model wrote it, which may be broken."""
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}


def tool_result_part(*, call_id: str, content: str, is_error: bool, outcome: str = "") -> Part:
    """`outcome`: "unknown" where nobody knows whether the call took effect, "refused" where it was not let run."""
    part = {"type": "tool_result", "call_id": call_id, "content": content, "is_error": is_error}
    return {**part, "outcome": outcome} if outcome else part


def part_notes(part: Mapping[str, Any]) -> list[str]:
    """What people must know of a text besides what it says: that it was cut short, is no answer of the agent's models,
    or was sent by a schedule."""
    notes = [CUT_REASONS[part["cut"]]] if part.get("cut") in CUT_REASONS else []
    if part.get("schedule"):
        notes.append(SCHEDULE_NOTE)
    if part.get("fallback") in FALLBACK_NOTES:
        given = f" It was given at {part['answered_at'][:16].replace('T', ' ')} UTC." if "answered_at" in part else ""
        notes.append(FALLBACK_NOTES[part["fallback"]] + given)
    return notes


def human_author(parts: Iterable[Mapping[str, Any]]) -> str:
    """The name of the person who wrote a message in place of the agent, on one line; "" where users do not read it."""
    name = next((str(part["by"]) for part in parts if part.get("by")), "")
    return "" if name == SOME_PERSON else " ".join(name.split())


def plain_text(parts: Iterable[Mapping[str, Any]]) -> str:
    """The text of a message: its text parts, joined, without the model's reasoning."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


def check_text(text: Any, *, pointer: str = "/input", max_bytes: int | None = MAX_TEXT_BYTES) -> str:
    """Return `text` unchanged if a person may send it as a message.

    Raises `InvalidInput` when it is empty, only white space or cannot be stored (NUL, lone surrogates), `TooLarge`
    above `max_bytes` of UTF-8.
    """
    if not isinstance(text, str):
        raise InvalidInput("Text is expected.", pointer=pointer)
    if not text.strip():
        raise InvalidInput("The message is empty.", pointer=pointer)
    if "\x00" in text:
        raise InvalidInput("NUL cannot be stored.", pointer=pointer)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput("Lone surrogates cannot be stored.", pointer=pointer) from None
    if max_bytes is not None and size > max_bytes:
        raise TooLarge(f"A message may have at most {max_bytes} bytes.", pointer=pointer)
    return text
