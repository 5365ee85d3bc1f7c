"""What was said, as the console shows it: texts, and each tool call together with what came of it."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils.safestring import SafeString, mark_safe

from agents.admin.transcript.steps import StepView, shorten
from agents.domain.message_parts import Part
from agents.models import Message
from console.formatting import badge
from markdown_rendering import render

GIST_CHARACTERS: Final = 200


@dataclass(slots=True)
class ToolView:
    """A call of a tool. `step` is missing for calls of a client's own tools; `result` is None until there is one."""

    name: str
    arguments: str
    gist: str
    state: SafeString
    result: str | None = None
    step: StepView | None = None


@dataclass(frozen=True, slots=True)
class PartView:
    """A text as HTML, or a tool call."""

    html: SafeString | None = None
    tool: ToolView | None = None


@dataclass(frozen=True, slots=True)
class MessageContent:
    author: str
    at: datetime | None
    parts: list[PartView]
    partial: bool = False
    supplied: bool = False


def message_contents(message: Message, steps: Iterable[StepView] = ()) -> MessageContent:
    """`steps` are those of the message's turn."""
    parts = part_views(message.parts, steps, ended=True)
    return MessageContent(message.author, message.created_at, parts, message.partial, message.supplied_by_client)


def part_views(parts: Sequence[Part], steps: Iterable[StepView], *, ended: bool) -> list[PartView]:
    """Each result stands with its call. Some models use the ids of calls again, so they are met in their order."""
    of_call: dict[str, deque[StepView]] = defaultdict(deque)
    for step in steps:
        of_call[step.row.call_id].append(step)
    calls: dict[str, ToolView] = {}
    shown: list[PartView] = []
    for part in parts:
        match part["type"]:
            case "text":
                # The renderer lets only a closed list of tags through; see `markdown_rendering`.
                shown.append(PartView(html=mark_safe(render(part["text"]))))  # noqa: S308
            case "tool_call":
                there = of_call[part["id"]]
                calls[part["id"]] = tool = _call(part, there.popleft() if there else None, ended=ended)
                shown.append(PartView(tool=tool))
            case "tool_result" if (asked := calls.pop(part["call_id"], None)) is not None:
                _put(asked, part)
            case "tool_result":
                # Of a program's own tool, whose call stands in the answer before.
                lone = ToolView("result", "", part["call_id"], badge("from the client"))
                _put(lone, part)
                shown.append(PartView(tool=lone))
    return shown


def _call(part: Part, step: StepView | None, *, ended: bool) -> ToolView:
    unknown = badge("handed to the client") if ended else badge("running", "good")
    state = step.state if step is not None else unknown
    return ToolView(part["name"], shorten(part["arguments"]), _gist(part["arguments"]), state, step=step)


def _put(tool: ToolView, part: Part) -> None:
    tool.result = shorten(part["content"])
    if tool.step is None and part["is_error"]:
        tool.state = badge("failed", "bad")


def _gist(arguments: str) -> str:
    """The values of the arguments in a few words, so that nobody need open every call."""
    try:
        read: Any = json.loads(arguments)
    except ValueError:
        return arguments[:GIST_CHARACTERS]
    values = read.values() if isinstance(read, dict) else [read]
    words = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
    return ", ".join(words)[:GIST_CHARACTERS]
