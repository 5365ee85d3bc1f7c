"""A conversation as text for a model that summarises it, in pieces that it can read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.domain.message_parts import Part, human_author
from agents.domain.prompt import Item
from agents.domain.shortening import cut_middle
from agents.domain.token_estimates import Count

# Of a chunk, what one message may have: the others are to be read, too.
_LARGEST_MESSAGE_SHARE: Final = 0.25
_RESULT_CHARACTERS: Final = 400


@dataclass(frozen=True, slots=True)
class TranscriptChunk:
    """Some messages as text; `last` is the last of them."""

    text: str
    last: Item


def split_transcript(history: Sequence[Item], tokens: int, count: Count) -> list[TranscriptChunk]:
    """`history` as chunks of at most so many `tokens`, oldest first; the texts of long messages are cut in the
    middle."""
    chunks: list[TranscriptChunk] = []
    lines, size = list[str](), 0
    for index, item in enumerate(history):
        line = cut_middle(_describe(item), int(_LARGEST_MESSAGE_SHARE * tokens), count)
        needed = count(line) + 1
        if lines and size + needed > tokens:
            chunks.append(TranscriptChunk("\n".join(lines), history[index - 1]))
            lines, size = [], 0
        lines.append(line)
        size += needed
    return [*chunks, TranscriptChunk("\n".join(lines), history[-1])] if lines else []


def _describe(item: Item) -> str:
    said = " ".join(text for part in item.parts if (text := _describe_part(part)))
    speaker = item.author
    if item.author == "human":
        speaker = f"{human_author(item.parts) or 'somebody'} (a person, in place of the agent)"
    return f"{speaker}: {said or '(nothing)'}"


def _describe_part(part: Part) -> str:
    match part["type"]:
        case "text":
            return str(part["text"])
        case "tool_call":
            return f"[calls {part['name']}]"
        case "tool_result":
            return f"[result: {part['content'][:_RESULT_CHARACTERS]}]"
    return ""
