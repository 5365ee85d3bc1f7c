"""Servers with the chat completions API.

The shape of messages is that of OpenAI's library (`ChatCompletionMessageParam`), strictly: nothing besides. What a
server adds to it, and what it refuses of it, is said at its checker, with the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from tests.support.request_checkers.rules import (
    NAME,
    Refused,
    refuse_bad_arguments,
    refuse_blank,
    refuse_repeated,
    refuse_unknown,
    refuse_unless,
)

_STRICT = ConfigDict(extra="forbid")
_BODY = {"model", "messages", "stream", "tools", "tool_choice", "stop", "response_format"}

Messages = list[dict[str, Any]]


@cache
def _shapes() -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    """Of messages, and of the calls in one of them."""
    # Half a second: not while tests are collected, which every worker does.
    from openai.types.chat import ChatCompletionMessageFunctionToolCallParam, ChatCompletionMessageParam

    calls = Annotated[list[ChatCompletionMessageFunctionToolCallParam], Field(min_length=1, max_length=128)]
    return TypeAdapter(list[ChatCompletionMessageParam], config=_STRICT), TypeAdapter(calls, config=_STRICT)


def _check_shape(messages: Messages, *, fields: set[str], call_fields: set[str], result_fields: set[str]) -> None:
    """By OpenAI's types, without the `fields` that the server has besides."""
    plain = []
    messages_shape, calls_shape = _shapes()
    for message in messages:
        extra = {"assistant": fields, "tool": result_fields}.get(message.get("role", ""), set())
        known = {key: value for key, value in message.items() if key not in extra}
        calls = known.pop("tool_calls", None)
        try:
            if calls is not None:
                bare = [{key: value for key, value in call.items() if key not in call_fields} for call in calls]
                calls_shape.validate_python(bare)
        except ValidationError as error:
            raise Refused(str(error)) from None
        plain.append(known)
    try:
        messages_shape.validate_python(plain)
    except ValidationError as error:
        raise Refused(str(error)) from None


def _check_texts(messages: Messages) -> None:
    """No server takes an empty question; Moonshot refuses every empty message (kimi-code#1985)."""
    for number, message in enumerate(messages):
        if not message.get("tool_calls"):
            refuse_blank(message.get("content"), f"the message at position {number} with role '{message['role']}'")


def _check_calls(messages: Messages) -> None:
    """OpenAI: "An assistant message with 'tool_calls' must be followed by tool messages responding to each of them"."""
    waiting: list[str] = []
    ids: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            refuse_unless(message["tool_call_id"] in waiting, "a result without its call")
            waiting.remove(message["tool_call_id"])
            continue
        refuse_unless(not waiting, "a call without its result")
        for call in message.get("tool_calls", ()):
            waiting.append(call["id"])
            refuse_unless(NAME.fullmatch(call["function"]["name"]), "the name of a function")
            refuse_unless(0 < len(call["id"]) <= 40, "an id has at most 40 characters")
            refuse_bad_arguments(call["function"]["arguments"])
        ids += waiting
    refuse_unless(not waiting, "a call without its result")
    refuse_repeated(ids)


def _check_ends(messages: Messages) -> None:
    """mistral-common: "Expected last role User or Tool"; templates: one system message, at the beginning."""
    refuse_unless(messages, "a conversation must have at least one message")
    roles = [message["role"] for message in messages]
    refuse_unless(not {"system", "developer"} & set(roles[1:]), "System message must be at the beginning.")
    refuse_unless(roles[-1] in ("user", "tool"), f"Expected last role User or Tool but got {roles[-1]}")


def _check_mistral_order(messages: Messages) -> None:
    """mistral-common, validator of instructions, `_validate_message_order`."""
    allowed = {
        "system": {"user", "assistant", "system"},
        "user": {"assistant", "system", "user"},
        "assistant": {"assistant", "user", "tool"},
        "tool": {"assistant", "tool"},
    }
    for first, second in pairwise(messages):
        refuse_unless(
            second["role"] in allowed[first["role"]], f"Unexpected role '{second['role']}' after role '{first['role']}'"
        )


def _check_nine_characters(messages: Messages) -> None:
    """mistral-common, `MistralRequestValidatorV3`; templates of Mistral compare the length alone."""
    for call in (call for message in messages for call in message.get("tool_calls", ())):
        refuse_unless(re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"]), "Tool call id must be a-z, A-Z, 0-9, length 9")


def _check_template_order(messages: Messages) -> None:
    """The chat templates of Mistral 7B v0.3 and its relatives: calls and results do not count (llama.cpp#19851)."""
    counted = [m for m in messages if m["role"] not in ("tool", "system") and not m.get("tool_calls")]
    for number, message in enumerate(counted):
        refuse_unless(
            (message["role"] == "user") == (number % 2 == 0),
            "After the optional system message, conversation roles must alternate user and assistant roles except for "
            "tool calls and results.",
        )


def _check_strict_template_order(messages: Messages) -> None:
    """The templates of Gemma and Llama 2: roles alternate, where results stand for the user's part (vllm#6862)."""
    roles = [m["role"] for m in messages if m["role"] != "system"]
    refuse_unless(roles[0] == "user", "Conversation roles must alternate user/assistant/user/assistant/...")
    for first, second in pairwise(roles):
        refuse_unless(
            first == second == "tool" or (first == "assistant") != (second == "assistant"),
            "Conversation roles must alternate user/assistant/user/assistant/...",
        )


def _check_string_content(messages: Messages) -> None:
    """Ollama: "invalid message content type: <nil>" (pydantic-ai#5206); LM Studio: "'content' field must be a string or
    an array" (lmstudio-bug-tracker#261)."""
    refuse_unless(all(isinstance(m.get("content"), str) for m in messages), "invalid message content type: <nil>")


def _check_no_empty_string(messages: Messages) -> None:
    """Moonshot: "text content is empty", also beside calls (kimi-cli#2621)."""
    refuse_unless(all(m.get("content") != "" for m in messages), "text content is empty")


def _check_reasoning(messages: Messages, *, may_be_empty: bool) -> None:
    """DeepSeek, Moonshot: thinking is on unless a request turns it off."""
    for number, message in enumerate(messages):
        if message.get("tool_calls"):
            reasoning = message.get("reasoning_content")
            refuse_unless(
                isinstance(reasoning, str) and (may_be_empty or reasoning),
                f"reasoning_content is missing in assistant tool call message at index {number}",
            )


def _check_gemini(messages: Messages) -> None:
    """ai.google.dev/gemini-api/docs/thought-signatures: the first call of each step is signed; results have a name."""
    names: dict[str, str] = {}
    for message in messages:
        calls = message.get("tool_calls", ())
        names |= {call["id"]: call["function"]["name"] for call in calls}
        if calls:
            google = calls[0].get("extra_content", {}).get("google", {})
            refuse_unless(google.get("thought_signature"), "Function call is missing a thought_signature")
        if message["role"] == "tool":
            refuse_unless(message.get("name") == names[message["tool_call_id"]], "Name cannot be empty")


def _checker(
    *rules: Callable[[Messages], None],
    body: set[str] | frozenset[str] = frozenset(),
    limit: set[str],
    fields: set[str] | frozenset[str] = frozenset(),
    call_fields: set[str] | frozenset[str] = frozenset(),
    result_fields: set[str] | frozenset[str] = frozenset(),
    is_tolerant: bool = False,
    has_strict: bool = True,
    needs_tools: bool = False,
) -> Callable[[dict[str, Any]], None]:
    """`body` and `limit` are what the request may have besides; `fields` what messages may. A tolerant server ignores
    what it does not know."""

    def check(request: dict[str, Any]) -> None:
        refuse_unknown(request, _BODY | body | limit, "the request")
        messages: Messages = request["messages"]
        _check_ends(messages)
        if is_tolerant:
            given = {key for message in messages for key in message} - {"role", "content", "tool_calls", "name"}
            in_calls = {key for message in messages for call in message.get("tool_calls", ()) for key in call}
            extra, extra_calls = given - {"tool_call_id"}, in_calls - {"id", "type", "function"}
        else:
            extra, extra_calls = set(fields), set(call_fields)
        _check_shape(messages, fields=extra, call_fields=extra_calls, result_fields=set(result_fields))
        _check_texts(messages)
        _check_calls(messages)
        for tool in request.get("tools", ()):
            refuse_unless(has_strict or "strict" not in tool["function"], "strict: Cannot find field")
        if needs_tools and any(message.get("tool_calls") for message in messages):
            refuse_unless(request.get("tools"), "Requests which include `tool_use` blocks must define tools")
        for rule in rules:
            rule(messages)

    return check


_USAGE, _PARALLEL = {"stream_options"}, {"parallel_tool_calls"}
_OLD, _NEW = {"max_tokens"}, {"max_completion_tokens"}

_TEMPLATES = (_check_mistral_order, _check_template_order, _check_strict_template_order)

CHECKERS: dict[str, Callable[[dict[str, Any]], None]] = {
    # Nobody's: what the strictest local servers and templates want at once, but for ids.
    "generic": _checker(*_TEMPLATES, _check_string_content, body=_USAGE | _PARALLEL, limit=_OLD, is_tolerant=True),
    "openai": _checker(body=_USAGE | _PARALLEL, limit=_NEW),
    # griptape#1640: `parallel_tool_calls` is not taken.
    "azure": _checker(body=_USAGE, limit=_NEW),
    "vllm": _checker(*_TEMPLATES, _check_nine_characters, body=_USAGE | _PARALLEL, limit=_OLD | _NEW, is_tolerant=True),
    "sglang": _checker(
        *_TEMPLATES, _check_nine_characters, body=_USAGE | _PARALLEL, limit=_OLD | _NEW, is_tolerant=True
    ),
    # openai/openai.go: a string or, in newer versions, null beside calls.
    "ollama": _checker(
        *_TEMPLATES,
        _check_string_content,
        body=_USAGE | _PARALLEL,
        limit=_OLD,
        is_tolerant=True,
        has_strict=False,
    ),
    "llama.cpp": _checker(
        *_TEMPLATES, _check_nine_characters, body=_USAGE | _PARALLEL, limit=_OLD, is_tolerant=True, has_strict=False
    ),
    "lmstudio": _checker(
        *_TEMPLATES,
        _check_nine_characters,
        _check_string_content,
        body=_USAGE | _PARALLEL,
        limit=_OLD,
        is_tolerant=True,
        has_strict=False,
    ),
    "mlx": _checker(*_TEMPLATES, _check_nine_characters, body=_USAGE, limit=_OLD, is_tolerant=True, has_strict=False),
    # mistralai/client-python, ChatCompletionRequest: "Extra inputs are not permitted".
    "mistral": _checker(
        _check_mistral_order, _check_nine_characters, body=_PARALLEL, limit=_OLD, result_fields={"name"}
    ),
    "deepseek": _checker(
        lambda messages: _check_reasoning(messages, may_be_empty=True),
        body=_USAGE,
        limit=_OLD,
        is_tolerant=True,
        has_strict=False,
    ),
    "moonshot": _checker(
        lambda messages: _check_reasoning(messages, may_be_empty=False),
        _check_no_empty_string,
        body=_USAGE,
        limit=_OLD | _NEW,
        is_tolerant=True,
        has_strict=False,
    ),
    # Unknown names are refused: "Invalid JSON payload received. Unknown name" (magentic#382).
    "gemini": _checker(
        _check_gemini,
        _check_no_empty_string,
        body=_USAGE,
        limit=_OLD | _NEW,
        is_tolerant=True,
        result_fields={"name"},
        has_strict=False,
    ),
    # groq-python, ChatCompletionAssistantMessageParam; `reasoning` by models that reason only (vercel/ai#8057).
    "groq": _checker(body=_USAGE | _PARALLEL, limit=_NEW, has_strict=False),
    "cerebras": _checker(body=_USAGE | _PARALLEL, limit=_NEW),
    "openrouter": _checker(
        body=_USAGE | _PARALLEL,
        limit=_OLD,
        fields={"reasoning", "reasoning_details"},
        call_fields={"extra_content"},
        needs_tools=True,
    ),
}
