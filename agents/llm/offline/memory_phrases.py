"""What the offline model makes of memory: recalled memories in its prompt, and sentences about what it should know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

# How a prompt marks what is recalled: before the text of the user's message.
_BLOCK = re.compile(r"<recalled_memories>\n(.*?)</recalled_memories>\n*", re.DOTALL)
_REMEMBER = re.compile(
    r"(?<!you )(?<!you still )\bremember\b(?:,? that\b| this\b)?[:,]?\s++(\S.*)", re.IGNORECASE | re.DOTALL
)
_FORGET = re.compile(r"^\s*+(?:please,? )?forget\b(?:,? that\b)?[:,]?\s++(\S.*)", re.IGNORECASE | re.DOTALL)
_TASK = re.compile(r"^\s*+(?:todo|add (?:a |the )?task)\b[:,]?\s++(\S.*)", re.IGNORECASE | re.DOTALL)
_ABOUT_USER = re.compile(
    r"\b(?:what|who|where|when|which|how|do you)\b[^.!?\n]{0,80}\b(?:I|my|me|mine)\b", re.IGNORECASE
)
# What was said begins with its day and who said it; a fact does not.
_SAID = re.compile(r"\d{4}-\d\d-\d\d, [^\n]{1,200}?: ")
# Where the model's own reminder begins, in an answer of its that is recalled.
_OWN_REMINDER = "_(Offline model."
_MAX_MEMORIES = 5


def split_memories(text: str) -> tuple[list[str], str]:
    """The recalled memories that precede a message, and the message itself."""
    block = _BLOCK.match(text)
    if block is None:
        return [], text
    items = block[1].split("</memory>")[:-1]
    return [unescape(item.partition("<memory>")[2]) for item in items], text[block.end() :]


def is_about_user(text: str) -> bool:
    """Whether this is a question that something remembered of the user may answer."""
    return _ABOUT_USER.search(text) is not None


def memory_calls(text: str, offered: frozenset[str]) -> list[tuple[str, dict[str, str]]]:
    """The tools on offer that `text` asks for, with arguments: to remember, to forget, to keep a task."""
    if "remember" in offered and (match := _REMEMBER.search(text)) and not text.rstrip().endswith("?"):
        return [("remember", {"text": match[1].strip()})]
    if "forget" in offered and (match := _FORGET.match(text)):
        return [("forget", {"memory": match[1].strip()})]
    if "add_task" in offered and (match := _TASK.match(text)):
        return [("add_task", {"text": match[1].strip()})]
    return []


def describe_memories(memories: Sequence[str]) -> str:
    """The best memories as an answer to a question about the user: facts, or what was said where there are none."""
    facts = [memory for memory in memories if not _SAID.match(memory)] or memories
    lines = [" ".join(memory.partition(_OWN_REMINDER)[0].split()) for memory in facts[:_MAX_MEMORIES]]
    return "From what I remember:\n\n" + "\n".join(f"- {line}" for line in lines)
