"""A conversation as a Markdown document."""

from __future__ import annotations

from typing import Any
from unicodedata import category

from agents.domain.message_parts import SOME_PERSON, Part, human_author, part_notes
from agents.domain.serialization import moment
from agents.domain.steps import REFUSED
from foundation.graphemes import cut_text
from foundation.text_lines import split_lines
from foundation.visible_text import visible_text

_MAX_NAME = 60
# Controls, separators of lines, and what has no meaning yet.
_NOT_IN_NAMES = frozenset({"Cc", "Cn", "Zl", "Zp"})
_NAMES = {"user": "You", "system": "System"}


def transcript_name(session: Any) -> str:
    """The file name for an export, without extension: the title without characters that some file systems refuse."""
    name = "".join(" " if char in r'\/:*?"<>|' or category(char) in _NOT_IN_NAMES else char for char in session.title)
    return cut_text(_one_line(visible_text(name)), _MAX_NAME).strip(". ") or "Conversation"


def transcript_heading(session: Any) -> str:
    """The heading of the document. `session` is a row of `AgentSession` with its agent."""
    title = session.title or "Conversation"
    return f"# {_one_line(title)}\n\nWith {_one_line(session.agent.name)}, begun {moment(session.created_at)}.\n"


def transcript_message(message: Any, *, agent_name: str) -> str:
    """One message as Markdown. `message` is a row of `Message`; the text of users and agents is not changed."""
    agent = (human_author(message.parts) or SOME_PERSON) if message.author == "human" else _one_line(agent_name)
    name = _NAMES.get(str(message.author), agent)
    body = "\n\n".join(text for part in message.parts if (text := _part(part)))
    cut = "\n\n*Cut short.*" if message.partial else ""
    return f"\n## {name}, {moment(message.created_at)}\n\n{body}{cut}\n"


def _part(part: Part) -> str:
    if part["type"] == "text":
        return "\n\n".join([str(part["text"]).strip("\n"), *(f"*{note}*" for note in part_notes(part))])
    if part["type"] == "reasoning":
        lines = ["*Reasoning:*", "", *split_lines(str(part["text"]).strip("\n"))]
        return "\n".join(f"> {line}".rstrip() for line in lines)
    if part["type"] == "tool_call":
        return f"*Called {_code(part['name'])} with* {_code(part['arguments'])}"
    if part.get("outcome") == REFUSED:
        return f"*The call was refused:* {_code(part['content'])}"
    outcome = "failed" if part["is_error"] else "answered"
    return f"*The tool {outcome}:* {_code(part['content'])}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    """`text` as inline code, between more backticks than it has in a row."""
    ticks, run = 0, 0
    for char in text:
        run = run + 1 if char == "`" else 0
        ticks = max(ticks, run)
    fence = "`" * (ticks + 1)
    return f"{fence} {_one_line(text)} {fence}" if ticks else f"`{_one_line(text)}`"
