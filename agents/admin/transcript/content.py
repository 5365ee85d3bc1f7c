"""The content of messages as the console shows it: texts, and each tool call together with its result."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from django.utils.safestring import SafeString, mark_safe

from agents.admin.badges import rating_badge
from agents.admin.transcript.steps import TranscriptStep, shorten
from agents.domain.message_parts import Part, part_notes
from agents.domain.steps import REFUSED
from agents.models import Feedback, Message
from console.formatting import badge
from foundation.graphemes import cut_text
from markdown_rendering import render

SUMMARY_CHARACTERS: Final = 200
# Clients may write some megabytes; the export has all of it.
MAX_TEXT_CHARACTERS: Final = 64 * 1024
# What a model wrote is no JSON, escapes half a character, or is nested too deep to be written again.
_UNREADABLE: Final = (orjson.JSONDecodeError, orjson.JSONEncodeError)


@dataclass(slots=True)
class ToolView:
    """A tool call. `step` is None for calls of a client's own tools; `result` is None until there is one."""

    name: str
    arguments: str
    summary: str
    status: SafeString
    result: str | None = None
    step: TranscriptStep | None = None


@dataclass(frozen=True, slots=True)
class PartView:
    """A text or the model's reasoning as HTML, or a tool call. `notes`: what people must know of a text besides."""

    html: SafeString | None = None
    tool: ToolView | None = None
    is_reasoning: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MessageContent:
    """A message. `created_at` is None while it is written; `partial` when it was cut short; `rating` as a badge, ""
    without one."""

    author: str
    created_at: datetime | None
    parts: list[PartView]
    partial: bool = False
    supplied_by_client: bool = False
    rating: SafeString | str = ""
    comment: str = ""
    # The name of the person who wrote it in place of the agent.
    person: str = ""


def message_contents(
    message: Message, steps: Iterable[TranscriptStep] = (), rating: Feedback | None = None
) -> MessageContent:
    """The content of `message`; `steps` are those of its turn."""
    parts = part_views(message.parts, steps, finished=True)
    return MessageContent(
        message.author,
        message.created_at,
        parts,
        message.partial,
        message.supplied_by_client,
        rating=rating_badge(rating.value) if rating else "",
        comment=rating.comment if rating else "",
        person=next((part["by"] for part in message.parts if part.get("by")), ""),
    )


def part_views(parts: Sequence[Part], steps: Iterable[TranscriptStep], *, finished: bool) -> list[PartView]:
    """The parts in their order, each tool result merged into its call.

    `finished`: no more steps will come. Some models reuse call ids, so equal ids are matched in order.
    """
    steps_by_call: dict[str, deque[TranscriptStep]] = defaultdict(deque)
    for step in steps:
        steps_by_call[step.row.call_id].append(step)
    calls: dict[str, ToolView] = {}
    views: list[PartView] = []
    for part in parts:
        match part["type"]:
            case "text":
                # The renderer emits only an allow-list of tags; see `markdown_rendering`.
                html = mark_safe(render(shorten(part["text"], MAX_TEXT_CHARACTERS)))  # noqa: S308
                views.append(PartView(html=html, notes=part_notes(part)))
            case "reasoning":
                html = mark_safe(render(shorten(part["text"])))  # noqa: S308
                views.append(PartView(html=html, is_reasoning=True))
            case "tool_call":
                call_steps = steps_by_call[part["id"]]
                calls[part["id"]] = tool = _call(part, call_steps.popleft() if call_steps else None, finished=finished)
                views.append(PartView(tool=tool))
            case "tool_result" if (call := calls.pop(part["call_id"], None)) is not None:
                _add_result(call, part)
            case "tool_result":
                # The result of a client's own tool, whose call is in the previous answer.
                orphan = ToolView("result", "", part["call_id"], badge("from the client"))
                _add_result(orphan, part)
                views.append(PartView(tool=orphan))
    return views


def _call(part: Part, step: TranscriptStep | None, *, finished: bool) -> ToolView:
    fallback = badge("handed to the client") if finished else badge("running", "good")
    status = step.status if step is not None else fallback
    arguments = part["arguments"]
    return ToolView(
        part["name"], shorten(_unescape_letters(arguments)), _summarize_arguments(arguments), status, step=step
    )


def _add_result(tool: ToolView, part: Part) -> None:
    tool.result = shorten(part["content"])
    if tool.step is None and part["is_error"]:
        tool.status = badge(REFUSED) if part.get("outcome") == REFUSED else badge("failed", "bad")


def _unescape_letters(arguments: str) -> str:
    """The JSON `arguments` with the letters that many models write as `\\u0645` in every script but Latin."""
    if "\\u" not in arguments:
        return arguments
    try:
        return orjson.dumps(orjson.loads(arguments)).decode()
    except _UNREADABLE:
        return arguments


def _summarize_arguments(arguments: str) -> str:
    """The argument values as one short text, shown without opening the call."""
    try:
        parsed: Any = orjson.loads(arguments)
        values = parsed.values() if isinstance(parsed, dict) else [parsed]
        text = ", ".join(value if isinstance(value, str) else orjson.dumps(value).decode() for value in values)
    except _UNREADABLE:
        text = arguments
    return cut_text(text, SUMMARY_CHARACTERS)
