"""The hash of a request: another one for whatever a model could tell apart, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.domain.model_messages import JsonFormat, ProviderExtras, ToolSpec
from agents.engine.prompt import serialize_tools
from agents.engine.sent_requests import digest_text, hash_request
from agents.llm.interface import ChatMessage, Deadlines, ModelRequest, ToolCall

CALL = ToolCall("a", "clock", "{}")
EXTRAS = ProviderExtras("openai:x", "Hm.", {"message": {"b": 1, "a": [2]}})
REQUEST = ModelRequest(
    "gpt",
    (
        ChatMessage("system", "Be kind."),
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", "", (CALL,), extras=EXTRAS),
        ChatMessage("tool", "noon", tool_call_id="a"),
    ),
    (ToolSpec("clock", "Tells the time.", {"type": "object"}),),
)


def hashed(request: ModelRequest) -> str:
    return hash_request(request, serialize_tools(request.tools))[0]


def with_message(index: int, message: ChatMessage) -> ModelRequest:
    messages = list(REQUEST.messages)
    messages[index] = message
    return replace(REQUEST, messages=tuple(messages))


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, model="gpt-2"),
        replace(REQUEST, messages=REQUEST.messages[:-1]),
        replace(REQUEST, tools=()),
        replace(REQUEST, tools=(replace(REQUEST.tools[0], strict=True),)),
        replace(REQUEST, max_output_tokens=7),
        replace(REQUEST, stop=("END",)),
        replace(REQUEST, must_call=True),
        replace(REQUEST, one_call=True),
        replace(REQUEST, json=JsonFormat()),
        with_message(0, ChatMessage("user", "Be kind.")),
        with_message(1, ChatMessage("user", "Hi ")),
        with_message(1, ChatMessage("user", "\ud800")),
        with_message(2, ChatMessage("assistant", "", (replace(CALL, arguments='{"a": 1}'),), extras=EXTRAS)),
        with_message(2, ChatMessage("assistant", "", (CALL,))),
        with_message(2, ChatMessage("assistant", "", (CALL,), extras=replace(EXTRAS, reasoning="Oh."))),
        with_message(3, ChatMessage("tool", "noon", tool_call_id="b")),
    ],
)
def test_another_request_has_another_hash(other: ModelRequest) -> None:
    assert hashed(other) != hashed(REQUEST)


def test_what_a_model_cannot_tell_apart_has_one_hash() -> None:
    patient = replace(REQUEST, deadlines=Deadlines(first_token_seconds=1))
    fields = {"message": {"a": [2], "b": 1}}  # PostgreSQL keeps no order
    resorted = with_message(2, ChatMessage("assistant", "", (CALL,), extras=replace(EXTRAS, fields=fields)))
    assert hashed(patient) == hashed(resorted) == hashed(REQUEST)
    assert len(hashed(REQUEST)) == 32
    assert hash_request(REQUEST, "x")[1] != hash_request(REQUEST, "y")[1]
    assert digest_text("a") != digest_text("b")
