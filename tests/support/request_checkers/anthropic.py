"""Anthropic's Messages API, by the types of its library (`BetaMessageParam`) and its error messages."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tests.support.request_checkers.rules import NAME, Refused, refuse_blank, refuse_repeated, refuse_unless


@cache
def _blocks_shape() -> TypeAdapter[Any]:
    # Seconds: not while tests are collected, which every worker does.
    from anthropic.types.beta import BetaContentBlockParam

    return TypeAdapter(list[BetaContentBlockParam], config=ConfigDict(extra="forbid"))


def check(body: dict[str, Any]) -> None:
    messages = [{**message, "content": _blocks(message["content"])} for message in body["messages"]]
    refuse_unless(messages and messages[0]["role"] == "user", "messages: first message must use the user role")
    refuse_unless(messages[-1]["role"] == "user", "This model does not support assistant message prefill.")
    for block in _blocks(body.get("system") or []):
        refuse_blank(block["text"], "system: text content blocks")
    waiting: list[str] = []
    ids: list[str] = []
    previous = "assistant"
    for message in messages:
        refuse_unless(message["role"] != previous, "roles must alternate between user and assistant")
        previous = message["role"]
        content = message["content"]
        refuse_unless(content, "messages: content must not be empty")
        _check_blocks(content)
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        kinds = [block["type"] for block in content]
        refuse_unless(kinds[: len(results)] == ["tool_result"] * len(results), "tool results come first")
        refuse_unless(
            sorted(results) == sorted(waiting),
            "`tool_use` ids were found without `tool_result` blocks immediately after",
        )
        if "thinking" in kinds:
            refuse_unless(
                kinds[0] in ("thinking", "redacted_thinking"), "a final `assistant` message must start with it"
            )
        waiting = [block["id"] for block in content if block["type"] == "tool_use"]
        ids += waiting
    refuse_unless(not waiting, "a call without its result")
    refuse_repeated(ids)
    refuse_unless(not ids or body.get("tools"), "Requests which include `tool_use` blocks must define tools")


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_blocks(content: list[dict[str, Any]]) -> None:
    try:
        _blocks_shape().validate_python(content)
    except ValidationError as error:
        raise Refused(str(error)) from None
    for block in content:
        if block["type"] == "text":
            refuse_blank(block["text"], "text content blocks")
        elif block["type"] == "tool_use":
            refuse_unless(NAME.fullmatch(block["name"]), "tool_use.name")
            refuse_unless(NAME.fullmatch("_" + block["id"]), "tool_use.id: ^[a-zA-Z0-9_-]+$")
        elif block["type"] == "thinking":
            refuse_unless(block["signature"], "thinking.signature: Field required")
        elif block["type"] == "tool_result":
            for one in _blocks(block.get("content") or []):
                refuse_blank(one["text"], "tool_result: text content blocks")
