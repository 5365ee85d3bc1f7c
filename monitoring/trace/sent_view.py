"""What a model was sent and what came back, as the console shows it. Pure but for the texts of messages being cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from agents.admin.transcript.steps import shorten
from agents.domain.context_window import PromptPart
from agents.domain.marked_blocks import MemoryBlock, memories_text
from agents.domain.model_messages import ChatMessage, ToolSpec
from agents.engine.rebuilt_request import RebuiltRequest

# Of one text on the page, and of all texts together; the export has them whole.
MAX_TEXT: Final = 20_000
MAX_PAGE: Final = 400_000
PROVED: Final = (
    "This is exactly what was sent, as this platform puts it: the hashes of the request that was sent and of this one "
    "are equal. Only how it was written for its provider's interface is not in them."
)


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message of a request. `calls` are the tools that it calls, each as name and arguments; `answers` is the id of
    the call that it answers; `memories` are those that stood before its text."""

    role: str
    text: str
    calls: Sequence[tuple[str, str]] = ()
    answers: str = ""
    memories: Sequence[MemoryBlock] = ()
    has_extras: bool = False


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request for the page. `verdict` says in words whether it is what was sent, `level` how good that is."""

    model: str
    verdict: str
    level: str
    differences: Sequence[str]
    hash: str
    messages: Sequence[SentMessage]
    tools: Sequence[tuple[str, str, str]]
    options: Sequence[tuple[str, str]]
    shortened: bool


def view_request(rebuilt: RebuiltRequest) -> SentRequest:
    """The view of a request that was built again."""
    request = rebuilt.assembled.request
    block = memories_text(rebuilt.memories)
    room, messages, shortened = MAX_PAGE, list[SentMessage](), False
    for message in request.messages:
        view = _message(message, block, rebuilt.memories)
        cut = shorten(view.text, min(MAX_TEXT, max(room, 0)))
        shortened |= cut != view.text
        room -= len(cut)
        messages.append(_with_text(view, cut))
    verdict, level = _verdict(rebuilt)
    return SentRequest(
        model=request.model,
        verdict=verdict,
        level=level,
        differences=rebuilt.differences,
        hash=rebuilt.sent_hash or rebuilt.rebuilt_hash,
        messages=messages,
        tools=[(tool.name, tool.description, _json(tool.parameters)) for tool in request.tools],
        options=_options(rebuilt),
        shortened=shortened,
    )


def request_json(rebuilt: RebuiltRequest, *, with_memories: bool) -> dict[str, Any]:
    """The request as JSON, whole. Without the texts of memories unless `with_memories`."""
    request = rebuilt.assembled.request
    block = memories_text(rebuilt.memories)
    messages = []
    for message in request.messages:
        text = message.text
        if block and not with_memories and text.startswith(block):
            text = "(memories left out)\n\n" + text[len(block) :]
        messages.append(
            {"role": message.role, "text": text}
            | (
                {"tool_calls": [_call(call.id, call.name, call.arguments) for call in message.tool_calls]}
                if message.tool_calls
                else {}
            )
            | ({"tool_call_id": message.tool_call_id} if message.tool_call_id else {})
        )
    return {
        "model": request.model,
        "equal": rebuilt.is_equal,
        "hash": rebuilt.sent_hash or None,
        "differences": list(rebuilt.differences),
        "messages": messages,
        "tools": [_tool(tool) for tool in request.tools],
        "options": dict(_options(rebuilt)),
    }


def _call(call_id: str, name: str, arguments: str) -> dict[str, str]:
    return {"id": call_id, "name": name, "arguments": arguments}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _message(message: ChatMessage, block: str, memories: Sequence[MemoryBlock]) -> SentMessage:
    text, recalled = message.text, list[MemoryBlock]()
    if block and message.role == "user" and text.startswith(block):
        text, recalled = text[len(block) :], list(memories)
    return SentMessage(
        role=message.role,
        text=text,
        calls=[(call.name, shorten(call.arguments)) for call in message.tool_calls],
        answers=message.tool_call_id or "",
        memories=recalled,
        has_extras=message.extras is not None,
    )


def _with_text(view: SentMessage, text: str) -> SentMessage:
    return SentMessage(view.role, text, view.calls, view.answers, view.memories, view.has_extras)


def _verdict(rebuilt: RebuiltRequest) -> tuple[str, str]:
    if rebuilt.is_equal:
        return PROVED, "good"
    if rebuilt.is_equal is None:
        return "This is how it would be put together; whether it was sent so is not known.", "warn"
    return "This is not quite what was sent:", "warn"


def _options(rebuilt: RebuiltRequest) -> list[tuple[str, str]]:
    request, assembled = rebuilt.assembled.request, rebuilt.assembled
    prompt = assembled.prompt
    options = [
        ("route", rebuilt.route),
        ("most tokens of the answer", str(request.max_output_tokens or "")),
        ("ends before", ", ".join(request.stop)),
        ("must call a tool", "yes" if request.must_call else ""),
        ("one call at most", "yes" if request.one_call else ""),
        ("answers in JSON", (request.json.name if request.json.schema else "any object") if request.json else ""),
        ("tokens of its own per estimated one", f"{assembled.inputs.token_factor:g}"),
        ("left out of the history", f"{len(prompt.dropped_messages)} messages" if prompt.dropped_messages else ""),
        ("shortened", f"{len(prompt.shortened_messages)} messages" if prompt.shortened_messages else ""),
        ("memories left out", str(len(prompt.dropped_memories) or "")),
        ("rounds of calls left out", str(prompt.dropped_rounds or "")),
        ("estimated tokens", ", ".join(f"{_part(part)} {number:,}" for part, number in prompt.tokens.items())),
    ]
    return [(name, value) for name, value in options if value]


def _part(part: PromptPart) -> str:
    return part.value


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONEncodeError:
        return str(value)
