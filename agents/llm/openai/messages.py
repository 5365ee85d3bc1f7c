"""The messages of a request for the chat completions API, as the dialect of a server wants them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agents.llm.dialects import Dialect
from agents.llm.interface import ChatMessage, ModelRequest, ProviderExtras, ToolCall
from agents.llm.role_order import calls_as_text, order_roles

_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
# "" counts as missing for Moonshot (pi#4178).
_BLANK_REASONING = " "
# Fields that we write, or that would change who speaks: a server's extras never stand for them.
_MESSAGE_FIELDS = frozenset(
    {"role", "content", "tool_calls", "tool_call_id", "name", "function_call", "refusal", "audio"}
)
_CALL_FIELDS = frozenset({"id", "type", "function", "index"})
# Google's documented stand-in for a signature (ai.google.dev/gemini-api/docs/thought-signatures, FAQ).
_UNSIGNED: dict[str, Any] = {
    "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}},
}


def encode_messages(request: ModelRequest, dialect: Dialect) -> list[dict[str, Any]]:
    """The messages of `request` as JSON objects."""
    messages = list(request.messages)
    if dialect.calls_need_tools and not request.tools:
        messages = calls_as_text(messages)
    messages = order_roles(messages, alternate=dialect.alternate, answer_results=dialect.answer_after_results)
    if dialect.system_role == "user":
        messages = _instructions_in_question(messages)
    ids = _short_ids(messages) if dialect.short_call_ids else {}
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    is_signed = dialect.signs_calls and not re.match(r"(models/)?gemini-[12]\b", request.model)
    return [_encode(message, dialect, ids, names, is_signed=is_signed) for message in messages]


def _encode(
    message: ChatMessage, dialect: Dialect, ids: Mapping[str, str], names: Mapping[str, str], *, is_signed: bool
) -> dict[str, Any]:
    if message.role == "system":
        return {"role": dialect.system_role, "content": message.text}
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        name = {"name": names[call_id]} if dialect.name_results and call_id in names else {}
        return {"role": "tool", "tool_call_id": ids.get(call_id, call_id), **name, "content": message.text}
    if message.role == "user":
        return {"role": "user", "content": message.text}
    extras = message.extras or ProviderExtras("")
    body: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.tool_calls:
        if not message.text and dialect.null_content:
            body["content"] = None
        body["tool_calls"] = _calls(message.tool_calls, extras, dialect, ids, is_signed=is_signed)
    fields = _fields(extras, "message") if dialect.extra_fields else {}
    # Details hold the reasoning too, with its signatures.
    if "reasoning_details" not in fields or dialect.requires_reasoning:
        body |= _reasoning(message, extras, dialect)
    return {**{name: value for name, value in fields.items() if name not in _MESSAGE_FIELDS}, **body}


def _reasoning(message: ChatMessage, extras: ProviderExtras, dialect: Dialect) -> dict[str, Any]:
    if dialect.returned_reasoning == "never" or (dialect.returned_reasoning == "with_calls" and not message.tool_calls):
        return {}
    if extras.reasoning:
        return {dialect.reasoning_field: extras.reasoning}
    return {dialect.reasoning_field: _BLANK_REASONING} if message.tool_calls and dialect.requires_reasoning else {}


def _calls(
    calls: Sequence[ToolCall], extras: ProviderExtras, dialect: Dialect, ids: Mapping[str, str], *, is_signed: bool
) -> list[dict[str, Any]]:
    stored = _fields(extras, "calls") if dialect.extra_fields else {}
    encoded = []
    for call in calls:
        fields = stored.get(call.provider_id)
        fields = fields if isinstance(fields, dict) else {}
        encoded.append(
            {
                **{name: value for name, value in fields.items() if name not in _CALL_FIELDS},
                "id": ids.get(call.id, call.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
        )
    # Of calls in parallel, the first one alone is signed.
    if is_signed and not any("extra_content" in call for call in encoded):
        encoded[0] |= _UNSIGNED
    return encoded


def _fields(extras: ProviderExtras, of: str) -> dict[str, Any]:
    fields = extras.fields.get(of)
    return fields if isinstance(fields, dict) else {}


def _instructions_in_question(messages: list[ChatMessage]) -> list[ChatMessage]:
    """The system text in front of the first question."""
    if messages[0].role != "system":
        return messages
    instructions, question, *rest = messages
    return [replace(question, text=f"{instructions.text}\n\n{question.text}"), *rest]


def _short_ids(messages: Iterable[ChatMessage]) -> dict[str, str]:
    """For each id of a call one of nine letters and digits, which no other has. It depends on those before it only."""
    ids: dict[str, str] = {}
    used: set[str] = set()
    for call in (call for message in messages for call in message.tool_calls):
        if call.id in ids:
            continue
        short, attempt = call.id, 0
        while short in used or not _SHORT_ID.fullmatch(short):
            short = hashlib.sha256(f"{attempt}:{call.id}".encode()).hexdigest()[:9]
            attempt += 1
        used.add(short)
        ids[call.id] = short
    return ids
