"""Parse the events of one streamed answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

from agents.llm.errors import ContentFiltered, ModelError, TransientModelError
from agents.llm.interface import Finished, FinishReason, ToolCall, Usage
from agents.llm.openai.error_mapping import clean_detail, error_from_exception
from foundation.storable_text import storable_text

MAX_TOOL_CALLS = 128
MAX_ARGUMENT_CHARACTERS = 1024 * 1024
MAX_NAME_CHARACTERS = 100
_REASONS: dict[str, FinishReason] = {"tool_calls": "tool_calls", "function_call": "tool_calls", "length": "length"}


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


class StreamParser:
    """Takes the data of events, returns their text, and at the end the `Finished`.

    `done` is set by the provider's own end mark; `has_started` by the first text, tool call or reasoning; `failure` by
    the first event that breaks the stream, after which no event is read: the text before it still counts.
    """

    def __init__(self, *, secret: str | None = None) -> None:
        self.done = False
        self.has_started = False
        self.failure: ModelError | None = None
        self._secret = secret
        self._calls: dict[int, _Call] = {}
        self.usage: Usage | None = None
        self._reason: str | None = None
        self.model: str | None = None
        self._refusal = ""
        self._has_split_pairs = False
        self._pending_half = ""

    @property
    def is_finished(self) -> bool:
        return self.done or self.failure is not None

    def take(self, events: list[bytes]) -> str:
        """The text of `events`; "" when they have none."""
        pieces: list[str] = []
        for data in events:
            if data == b"[DONE]":
                self.done = True
                break
            try:
                self._take(orjson.loads(data), pieces)
            except orjson.JSONDecodeError:
                self._take_split_pairs(data, pieces)
            except (TypeError, AttributeError, KeyError, ValueError, IndexError):
                self.failure = _malformed(data)
            if self.failure is not None:
                break
        text = "".join(pieces)
        if self._has_split_pairs:
            text = self._pending_half + text
            self._pending_half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
            text = _join_pairs(text[: len(text) - len(self._pending_half)])
        return storable_text(text) if "\x00" in text else text

    def finish(self) -> Finished:
        """The end of the answer. Raises `ModelError` for a broken, filtered or refused one."""
        if self.failure is not None:
            raise self.failure
        if self._reason == "content_filter" or self._refusal:
            raise ContentFiltered(provider_detail=clean_detail(self._refusal, self._secret))
        if not self.done:
            raise TransientModelError("The model broke off its answer.", provider_detail="no end mark")
        if self._reason is None:
            raise TransientModelError("The model broke off its answer.", provider_detail="no finish reason")
        calls = self._tool_calls()
        reason = _REASONS.get(self._reason, "stop")
        if calls and reason == "stop":
            # Some servers say "stop" after tool calls too.
            reason = "tool_calls"
        elif not calls and reason == "tool_calls":
            reason = "stop"
        return Finished(calls, self.usage, reason, self.model)

    def _take(self, chunk: dict[str, Any], pieces: list[str]) -> None:
        if chunk.get("error"):
            self.failure = error_from_exception(chunk["error"], secret=self._secret)
            return
        if self.model is None and isinstance(model := chunk.get("model"), str):
            self.model = storable_text(model)
        if usage := chunk.get("usage"):
            self.usage = _usage(usage)
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue
            if delta := choice.get("delta"):
                if content := delta.get("content"):
                    self.has_started = True
                    pieces.append(content if isinstance(content, str) else _join_text_parts(content))
                if calls := delta.get("tool_calls"):
                    self.has_started = True
                    for call in calls:
                        self._take_call(call)
                if not self.has_started:
                    self.has_started = bool(delta.get("reasoning_content") or delta.get("reasoning"))
                if refusal := delta.get("refusal"):
                    self.has_started = True
                    self._refusal += str(refusal)
            if reason := choice.get("finish_reason"):
                self._reason = str(reason)

    def _take_call(self, delta: dict[str, Any]) -> None:
        """One fragment of a call: the first has its name, the later ones only continue its arguments."""
        function = delta.get("function") or {}
        call = self._calls.setdefault(self._index(delta), _Call())
        if len(self._calls) > MAX_TOOL_CALLS:
            raise ValueError("too many calls")
        call.id = call.id or str(delta.get("id") or "")
        call.name = call.name or str(function.get("name") or "")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            # Some local servers send the object itself.
            arguments = orjson.dumps(arguments).decode()
        call.arguments += arguments or ""
        if len(call.arguments) > MAX_ARGUMENT_CHARACTERS:
            raise ValueError("arguments too long")

    def _index(self, delta: dict[str, Any]) -> int:
        index = delta.get("index")
        if index is not None:
            return int(index)
        # Without an index, a fragment with an id of its own begins a call, any other continues the last one.
        call_id = delta.get("id")
        for index, call in self._calls.items():
            if call_id and call.id == call_id:
                return index
        return len(self._calls) if call_id or not self._calls else max(self._calls)

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls in their order, with ids that are set and unique: results are matched by them."""
        seen: set[str] = set()
        calls = []
        for index, call in sorted(self._calls.items()):
            call_id = call.id[:MAX_NAME_CHARACTERS] or f"call_{index}"
            while call_id in seen:
                call_id += "_"
            seen.add(call_id)
            texts = (
                call_id,
                call.name[:MAX_NAME_CHARACTERS],
                _join_pairs(call.arguments) if self._has_split_pairs else call.arguments,
            )
            calls.append(ToolCall(*map(storable_text, texts)))
        return tuple(calls)

    def _take_split_pairs(self, data: bytes, pieces: list[str]) -> None:
        """Some servers split text inside a UTF-16 surrogate pair, as of an emoji, which `orjson` refuses and `json`
        reads."""
        self._has_split_pairs = True
        try:
            self._take(json.loads(data), pieces)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
            self.failure = _malformed(data)


def _join_pairs(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _malformed(data: bytes) -> TransientModelError:
    return TransientModelError(
        "The model's answer cannot be read.", provider_detail=f"malformed event of {len(data)} bytes"
    )


def _join_text_parts(parts: Any) -> str:
    """Text given as a list of typed parts."""
    return "".join(part["text"] for part in parts if part.get("type") == "text")


def _usage(usage: dict[str, Any]) -> Usage | None:
    """The token counts; None when they are no valid counts."""
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(read) is not int or type(written) is not int or min(read, written) < 0:
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(read, written, cached_tokens=cached if type(cached) is int and 0 <= cached <= read else 0)
