"""Parse the events of one streamed answer from pydantic-ai."""

from __future__ import annotations

import json

from pydantic_ai.messages import (
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import StreamedResponse

from agents.llm.errors import ContentFiltered, TransientModelError
from agents.llm.interface import Finished, FinishReason, ReasoningDelta, TextDelta, ToolCall, Usage
from agents.llm.pydantic_ai.extras import extra_fields
from foundation.storable_text import storable_text

MAX_TOOL_CALLS = 128
MAX_ARGUMENT_CHARACTERS = 1024 * 1024
# The prefix of ids that pydantic-ai invents when the vendor sent none.
_INVENTED = "pyd_ai_"


class VendorAnswer:
    """Takes events, returns their text and reasoning, and at the end the `Finished`. `has_started` is set by the first
    text, call or reasoning."""

    def __init__(self, *, calls_before: int) -> None:
        self.has_started = False
        self._calls_before = calls_before
        self._argument_characters = 0

    def take(self, event: ModelResponseStreamEvent) -> TextDelta | ReasoningDelta | None:
        """The text or reasoning in `event`, if any. Raises `TransientModelError` for calls that do not end."""
        if isinstance(event, PartStartEvent):
            self.has_started = self.has_started or isinstance(event.part, TextPart | ToolCallPart | ThinkingPart)
            if isinstance(event.part, TextPart):
                return self._text(event.part.content)
            if isinstance(event.part, ThinkingPart):
                return _reasoning(event.part.content)
        elif isinstance(event, PartDeltaEvent):
            self.has_started = self.has_started or isinstance(
                event.delta, TextPartDelta | ToolCallPartDelta | ThinkingPartDelta
            )
            if isinstance(event.delta, TextPartDelta):
                return self._text(event.delta.content_delta)
            if isinstance(event.delta, ThinkingPartDelta):
                return _reasoning(event.delta.content_delta)
            if isinstance(event.delta, ToolCallPartDelta):
                self._count(event.delta)
        return None

    def finish(self, stream: StreamedResponse, usage: Usage | None) -> Finished:
        """The end of the answer. Raises `ModelError` for a broken or filtered one."""
        response = stream.get()
        if response.finish_reason == "content_filter":
            raise ContentFiltered
        if response.finish_reason is None or response.finish_reason == "error":
            raise TransientModelError("The model broke off its answer.", provider_detail="no finish reason")
        calls = self._tool_calls([part for part in response.parts if isinstance(part, ToolCallPart)])
        reason: FinishReason = "tool_calls" if calls else "stop"
        if response.finish_reason == "length":
            reason = "length"
        model = storable_text(response.model_name) if response.model_name else None
        return Finished(calls, usage, reason, model, extra_fields=extra_fields(response, calls))

    def _text(self, text: str) -> TextDelta | None:
        return TextDelta(storable_text(text)) if text else None

    def _count(self, delta: ToolCallPartDelta) -> None:
        piece = delta.args_delta
        self._argument_characters += len(piece) if isinstance(piece, str) else 0
        if self._argument_characters > MAX_ARGUMENT_CHARACTERS:
            raise TransientModelError("The model's answer cannot be read.", provider_detail="arguments too long")

    def _tool_calls(self, parts: list[ToolCallPart]) -> tuple[ToolCall, ...]:
        """The calls in their order, with ids that are set and unique: results are matched by them."""
        if len(parts) > MAX_TOOL_CALLS:
            raise TransientModelError("The model's answer cannot be read.", provider_detail="too many calls")
        seen: set[str] = set()
        calls = []
        for number, part in enumerate(parts, start=self._calls_before + 1):
            invented = not part.tool_call_id or part.tool_call_id.startswith(_INVENTED)
            call_id = f"call_{number}" if invented else part.tool_call_id
            while call_id in seen:
                call_id += "_"
            seen.add(call_id)
            calls.append(ToolCall(*map(storable_text, (call_id, part.tool_name, _arguments(part)))))
        return tuple(calls)


def _reasoning(text: str | None) -> ReasoningDelta | None:
    return ReasoningDelta(storable_text(text)) if text else None


def _arguments(part: ToolCallPart) -> str:
    """As the model wrote them; no arguments at all are an empty object."""
    if isinstance(part.args, str):
        return part.args or "{}"
    return json.dumps(part.args or {}, ensure_ascii=False)
