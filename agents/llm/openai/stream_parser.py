"""Parse the events of one streamed answer, in the spellings of many servers.

It reads what can be read, and calls nothing an answer that is none: the end must be marked, and its reason understood.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from agents.llm.errors import ContentFiltered, ModelError, TransientModelError
from agents.llm.interface import Finished, FinishReason, ReasoningDelta, TextDelta, Usage
from agents.llm.openai.error_mapping import clean_detail, error_from_payload, find_error
from agents.llm.openai.finish_reasons import End, is_set, is_standard, parse_finish_reason
from agents.llm.openai.reported_usage import parse_usage
from agents.llm.openai.think_tags import ThinkTags
from agents.llm.openai.tool_call_fragments import ToolCallFragments
from foundation.storable_text import storable_text

# The fields that hold reasoning: DeepSeek's, which most follow; OpenRouter's, Groq's and newer vLLM's; Ollama's.
_REASONING = ("reasoning_content", "reasoning", "thinking")
# What providers send with a message and want back with it: OpenRouter's, LiteLLM's, Gemini's.
_RETURNED_LISTS = ("reasoning_details", "thinking_blocks")
_RETURNED_FIELDS = ("extra_content", "provider_specific_fields")
_TEXT_TYPES = frozenset({"text", "output_text"})
_BROKEN_OFF = "The model broke off its answer."
UNREADABLE = "The model's answer cannot be read."
_MALFORMED = (TypeError, AttributeError, KeyError, ValueError, IndexError, RecursionError)


class StreamParser:
    """Takes the data of events, returns their text and reasoning, and at the end the `Finished`.

    `is_usage_old`: more of the answer has come than `usage` counts. `is_done` is set by the provider's own end mark;
    `has_reason` by a finish reason, after which usage may follow; `has_started` by the first text, tool call or
    reasoning; `failure` by the first event that breaks the stream, after which no event is read: the text before it
    still counts.
    """

    def __init__(
        self,
        *,
        secret: str | None = None,
        tools: Collection[str] = (),
        starts_reasoning: bool = False,
        needs_finish_reason: bool = False,
    ) -> None:
        """`tools` are the names of the tools that were offered."""
        self.is_done = False
        self.has_started = False
        self.failure: ModelError | None = None
        self.usage: Usage | None = None
        self.is_usage_old = False
        self.model: str | None = None
        self._secret = secret
        self._needs_finish_reason = needs_finish_reason
        self._calls = ToolCallFragments(tools)
        self._tags: ThinkTags | None = ThinkTags(is_open=starts_reasoning)
        # The choice that is read: the first one that says something.
        self._choice: int | None = None
        self._reason: str | None = None
        # Whether a finish reason came before the end of the answer, as from servers that write it into every chunk.
        self._is_early = False
        self._refusal = ""
        self._has_text = False
        self._extra_fields: dict[str, Any] = {}
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._has_split_pairs = False
        self._pending_half = ""

    @property
    def is_finished(self) -> bool:
        return self.is_done or self.failure is not None

    @property
    def has_reason(self) -> bool:
        return self._reason is not None and not self._is_early

    def take(self, events: list[bytes]) -> list[ReasoningDelta | TextDelta]:
        """The reasoning and the text of `events`, one delta of each at most."""
        for data in events:
            try:
                chunk = orjson.loads(data)
                if not self._take_plain(chunk):
                    self._take(chunk)
            except orjson.JSONDecodeError:
                self._take_odd(data)
            except _MALFORMED:
                self.failure = _malformed(data)
            if self.failure is not None or self.is_done:
                break
        return self._drain() if self._text or self._reasoning else []

    def rest(self) -> list[ReasoningDelta | TextDelta]:
        """What was held back, because it might have become a tag. To be called once, at the end."""
        if self._tags is not None:
            self._keep(*self._tags.finish())
            self._tags = None
        return self._drain()

    def finish(self) -> Finished:
        """The end of the answer. Raises `ModelError` for a broken, filtered or refused one."""
        if self.failure is not None:
            raise self.failure
        end = parse_finish_reason(self._reason) if self._reason is not None else None
        if end is End.FILTERED or self._refusal:
            raise ContentFiltered(provider_detail=clean_detail(self._refusal or self._reason or "", self._secret))
        if end is End.FAILED:
            raise error_from_payload({"code": self._reason}, secret=self._secret, message=_BROKEN_OFF)
        notes: dict[str, Any] = {}
        if self._reason is not None and not is_standard(self._reason):
            notes["finish_reason"] = storable_text(self._reason)[:100]
        if end is None:
            if not self.is_done or self._needs_finish_reason:
                missing = "no finish reason" if self.is_done else "no end mark"
                raise TransientModelError(_BROKEN_OFF, provider_detail=missing)
            notes["unconfirmed_end"] = True
        calls, extras = self._calls.finish(_join_pairs if self._has_split_pairs else str)
        if extras:
            self._extra_fields["calls"] = extras
        return Finished(calls, self.usage, _finish_reason(end, bool(calls)), self.model, self._extra_fields, notes)

    # --- one event ---

    def _take_plain(self, chunk: Any) -> bool:
        """Take what nearly every chunk is: more text, and nothing else. False if it is anything else."""
        if self._tags is not None or self._reason is not None or type(chunk) is not dict:
            return False
        choices = chunk.get("choices")
        if not choices or len(choices) != 1 or chunk.get("usage") or chunk.get("error"):
            return False
        choice = choices[0]
        delta = choice.get("delta")
        if not delta or len(delta) != 1 or choice.get("finish_reason") or choice.get("index") != self._choice:
            return False
        content = delta.get("content")
        if type(content) is not str or choice.get("error") or choice.get("usage"):
            return False
        self._text.append(content)
        self.is_usage_old = True
        return True

    def _take(self, chunk: Any) -> None:
        if isinstance(chunk, list):
            # Gemini writes its errors so.
            if (error := find_error(chunk)) is None:
                raise ValueError("a list that is no error")
            self.failure = error_from_payload(error, secret=self._secret)
            return
        if chunk is None or isinstance(chunk, str | int | float):
            # Signs of life, such as "ping".
            return
        choices = chunk.get("choices")
        if not choices and (error := find_error(chunk)) is not None:
            self.failure = error_from_payload(error, secret=self._secret)
            return
        if choices and (error := chunk.get("error")):
            self.failure = error_from_payload(error, secret=self._secret)
        if self.model is None and isinstance(model := chunk.get("model"), str):
            self.model = storable_text(model)
        if choices and any(_has_words(choice) for choice in choices):
            self.is_usage_old = True
        if usage := chunk.get("usage") or ("x_groq" in chunk and (chunk["x_groq"] or {}).get("usage")):
            self._take_usage(usage)
        if choices:
            # We ask for one; of several, which no server sends by itself, the first counts.
            for choice in choices if len(choices) == 1 else sorted(choices, key=_index):
                self._take_choice(choice)

    def _take_usage(self, usage: Any) -> None:
        if (parsed := parse_usage(usage)) is not None:
            self.usage, self.is_usage_old = parsed, False

    def _take_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index") or 0
        if self._choice != index and self._choice is not None:
            return
        if delta := choice.get("delta"):
            self._is_early = self._is_early or (self._reason is not None and bool(delta.get("content")))
            self._take_message(delta)
        if (message := choice.get("message")) and not (self._has_text or self._text or self._calls):
            # An answer that is not streamed, or is sent whole at its end.
            self._take_message(message)
        elif choice.get("text") and not delta and isinstance(choice["text"], str):
            self._add_text(choice["text"])
        if self.has_started and self._choice is None:
            self._choice = index
        if usage := choice.get("usage"):
            self._take_usage(usage)
        if error := choice.get("error"):
            self.failure = error_from_payload(error, secret=self._secret)
        if is_set(reason := choice.get("finish_reason")):
            self._reason = str(reason)

    def _take_message(self, message: dict[str, Any]) -> None:
        """The fields of a message, or of a fragment of one."""
        if content := message.get("content"):
            if isinstance(content, str):
                self._add_text(content)
            else:
                self._take_parts(content)
        if len(message) == 1 and content:
            return
        # Some servers send the same in two of these fields.
        if reasoning := next((message[name] for name in _REASONING if message.get(name)), None):
            self._take_reasoning(reasoning)
        if calls := message.get("tool_calls"):
            self.has_started = True
            for call in calls:
                self._calls.take(call)
        elif call := message.get("function_call"):
            self.has_started = True
            self._calls.take({"index": 0, "function": call})
        if refusal := message.get("refusal"):
            self.has_started = True
            self._refusal += str(refusal)
        if error := message.get("error"):
            self.failure = error_from_payload(error, secret=self._secret)
        self._take_extra_fields(message)

    def _take_extra_fields(self, message: dict[str, Any]) -> None:
        for name in _RETURNED_LISTS:
            if isinstance(items := message.get(name), list):
                self._add_details(name, items)
        for name in _RETURNED_FIELDS:
            if value := message.get(name):
                self._extra_fields.setdefault("message", {})[name] = value

    def _take_parts(self, parts: Any) -> None:
        """Text as a list of typed parts."""
        for part in parts if isinstance(parts, list) else [parts]:
            if isinstance(part, str):
                self._add_text(part)
            elif part.get("type") in _TEXT_TYPES:
                self._add_text(_plain(part["text"]))
            elif part.get("type") in ("thinking", "reasoning"):
                self._take_reasoning(part.get("thinking") or part.get("reasoning") or part.get("text") or "")

    def _take_reasoning(self, reasoning: Any) -> None:
        if isinstance(reasoning, list):
            for part in reasoning:
                self._take_reasoning(part)
        elif text := _plain(reasoning):
            self._keep(text, "")

    def _add_text(self, text: str) -> None:
        if self._tags is None:
            self._text.append(text)
            self.has_started = True
            return
        self._keep(*self._tags.feed(text))
        if self._tags.is_done:
            self._tags = None

    def _keep(self, reasoning: str, text: str) -> None:
        if reasoning:
            self._reasoning.append(reasoning)
        if text:
            self._text.append(text)
        self.has_started = self.has_started or bool(reasoning or text)

    def _add_details(self, name: str, items: list[Any]) -> None:
        """Add fragments of a list whose items are told apart by their index and type; text in them is continued."""
        details: list[Any] = self._extra_fields.setdefault("message", {}).setdefault(name, [])
        for item in items:
            known = next(
                (
                    old
                    for old in reversed(details)
                    if isinstance(item, dict) and item.get("index") is not None and _key(old) == _key(item)
                ),
                None,
            )
            if known is None:
                details.append(item)
                continue
            for field, value in item.items():
                is_continued = field in ("text", "summary", "data", "thinking") and isinstance(known.get(field), str)
                known[field] = known[field] + value if is_continued and isinstance(value, str) else value

    # --- odd events, and text that needs care ---

    def _take_odd(self, data: bytes) -> None:
        """An event that is no JSON: the end mark, a keep-alive, an error in plain words, or JSON that only `json` reads
        (some servers split text inside a UTF-16 surrogate pair, as of an emoji)."""
        word = data.strip()
        if word.upper() == b"[DONE]":
            self.is_done = True
        elif word[:1] in (b"{", b"["):
            self._has_split_pairs = True
            try:
                self._take(json.loads(data))
            except _MALFORMED:
                self.failure = _malformed(data)
        elif b"error" in word[:200].lower():
            self.failure = error_from_payload(word[:2000].decode("utf-8", "replace"), secret=self._secret)

    def _drain(self) -> list[ReasoningDelta | TextDelta]:
        if not (self._reasoning or self._has_split_pairs):
            text = "".join(self._text)
            self._text.clear()
            if "\x00" in text:
                text = storable_text(text)
            if not text:
                return []
            self._has_text = True
            return [TextDelta(text)]
        deltas: list[ReasoningDelta | TextDelta] = []
        if self._reasoning:
            reasoning = "".join(self._reasoning)
            self._reasoning.clear()
            deltas.append(ReasoningDelta(storable_text(_join_pairs(reasoning) if self._has_split_pairs else reasoning)))
        text = "".join(self._text)
        self._text.clear()
        if self._has_split_pairs:
            text = self._pending_half + text
            self._pending_half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
            text = _join_pairs(text[: len(text) - len(self._pending_half)])
        if text:
            self._has_text = True
            deltas.append(TextDelta(storable_text(text) if "\x00" in text else text))
        return deltas


def _index(choice: Mapping[str, Any]) -> int:
    return int(choice.get("index") or 0)


def _finish_reason(end: End | None, has_calls: bool) -> FinishReason:
    if end is End.LENGTH:
        return "length"
    # Some servers say "stop" after tool calls too, and "tool_calls" where there are none.
    if has_calls:
        return "tool_calls"
    return "repetition" if end is End.REPETITION else "stop"


def _plain(value: Any) -> str:
    """Text that may be wrapped in an object, as in `{"type": "text", "text": …}`."""
    if isinstance(value, Mapping):
        value = value.get("text") or value.get("value") or value.get("content") or ""
    return value if isinstance(value, str) else ""


def _key(item: Any) -> Any:
    return (item.get("index"), item.get("type")) if isinstance(item, dict) else None


def _join_pairs(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _malformed(data: bytes) -> TransientModelError:
    return TransientModelError(UNREADABLE, provider_detail=f"malformed event of {len(data)} bytes")


def _has_words(choice: dict[str, Any]) -> bool:
    """Whether it has more of the answer than the role that begins it."""
    delta = choice.get("delta") or choice.get("message") or choice
    return any(delta.get(name) for name in ("content", "text", "tool_calls", *_REASONING))
