"""What was said, as the console shows it: texts, and each tool call together with what came of it."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from agents.admin.transcript.steps import ShownStep, short
from agents.domain.message_parts import Part
from agents.models import Message
from console.formatting import tag
from markdown_rendering import render

GIST_CHARACTERS: Final = 200


@dataclass(slots=True)
class ShownTool:
    """A call of a tool. `step` is missing for calls of a client's own tools; `result` is None until there is one."""

    name: str
    arguments: str
    gist: str
    state: SafeString
    result: str | None = None
    step: ShownStep | None = None


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A text as HTML, or a tool call."""

    html: SafeString | None = None
    tool: ShownTool | None = None


@dataclass(frozen=True, slots=True)
class Said:
    author: str
    at: datetime | None
    parts: list[ShownPart]
    partial: bool = False
    supplied: bool = False


def said_in(message: Message, steps: Iterable[ShownStep] = ()) -> Said:
    """`steps` are those of the message's turn."""
    parts = shown_parts_of(message.parts, steps, ended=True)
    return Said(message.author, message.created_at, parts, message.partial, message.supplied_by_client)


def shown_parts_of(parts: Sequence[Part], steps: Iterable[ShownStep], *, ended: bool) -> list[ShownPart]:
    """Each result stands with its call. Some models use the ids of calls again, so they are met in their order."""
    of_call: dict[str, deque[ShownStep]] = defaultdict(deque)
    for step in steps:
        of_call[step.row.call_id].append(step)
    calls: dict[str, ShownTool] = {}
    shown: list[ShownPart] = []
    for part in parts:
        match part["type"]:
            case "text":
                # The renderer lets only a closed list of tags through; see `markdown_rendering`.
                shown.append(ShownPart(html=mark_safe(render(part["text"]))))  # noqa: S308
            case "tool_call":
                there = of_call[part["id"]]
                calls[part["id"]] = tool = _call(part, there.popleft() if there else None, ended=ended)
                shown.append(ShownPart(tool=tool))
            case "tool_result" if (asked := calls.pop(part["call_id"], None)) is not None:
                _put(asked, part)
            case "tool_result":
                # Of a program's own tool, whose call stands in the answer before.
                lone = ShownTool("result", "", part["call_id"], tag("from the client"))
                _put(lone, part)
                shown.append(ShownPart(tool=lone))
    return shown


def _call(part: Part, step: ShownStep | None, *, ended: bool) -> ShownTool:
    unknown = tag("handed to the client") if ended else tag("running", "good")
    state = step.state if step is not None else unknown
    return ShownTool(part["name"], short(part["arguments"]), _gist(part["arguments"]), state, step=step)


def _put(tool: ShownTool, part: Part) -> None:
    tool.result = short(part["content"])
    if tool.step is None and part["is_error"]:
        tool.state = tag("failed", "bad")


def _gist(arguments: str) -> str:
    """The values of the arguments in a few words, so that nobody need open every call."""
    try:
        read: Any = json.loads(arguments)
    except ValueError:
        return arguments[:GIST_CHARACTERS]
    values = read.values() if isinstance(read, dict) else [read]
    words = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
    return ", ".join(words)[:GIST_CHARACTERS]
