"""What a vendor wants back with an answer that calls tools."""

from __future__ import annotations

import pytest

from agents.llm.interface import ChatMessage, ModelRequest, ProviderExtras, ToolCall, ToolSpec
from agents.llm.routes import is_installed

if not is_installed("anthropic"):
    pytest.skip("the libraries of the vendors are not installed", allow_module_level=True)

from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart

from agents.llm.pydantic_ai.extras import extra_fields
from agents.llm.pydantic_ai.request import model_messages

CALL = ToolCall("c1", "clock", "{}")
THINKING = ThinkingPart("Hm.", signature="c2ln", provider_name="anthropic")
HIDDEN = ThinkingPart("", id="redacted_thinking", signature="c2ln", provider_name="anthropic")
SIGNED = ToolCallPart("clock", "{}", "c1", provider_name="anthropic", provider_details={"thought_signature": "c2ln"})


def answer_again(response: ModelResponse, text: str, call: ToolCall = CALL) -> ModelResponse:
    """The answer in the next request."""
    extras = ProviderExtras("anthropic:x", "Hm.", extra_fields(response, [CALL]))
    messages = (
        ChatMessage("user", "?"),
        ChatMessage("assistant", text, (call,), extras=extras),
        ChatMessage("tool", "noon", tool_call_id=call.id),
    )
    tools = (ToolSpec("clock", "", {"type": "object"}),)
    [_, answer, _] = model_messages(ModelRequest("x", messages, tools))
    assert isinstance(answer, ModelResponse)
    return answer


def test_thinking_and_signatures_go_back_in_their_order() -> None:
    response = ModelResponse(
        [THINKING, TextPart("Let me see."), HIDDEN, SIGNED], provider_name="anthropic", model_name="x"
    )
    answer = answer_again(response, "Let me see.")
    assert (list(answer.parts), answer.provider_name) == (list(response.parts), "anthropic")


def test_a_call_whose_id_was_changed_keeps_its_signature() -> None:
    response = ModelResponse([SIGNED], provider_name="google")
    [call] = answer_again(response, "", ToolCall("c1_2", "clock", "{}", issued_id="c1")).parts
    assert isinstance(call, ToolCallPart)
    assert (call.tool_call_id, call.provider_details) == ("c1_2", SIGNED.provider_details)


def test_thinking_without_a_signature_is_not_sent() -> None:
    response = ModelResponse([ThinkingPart("Hm."), TextPart("So."), ToolCallPart("clock", "{}", "c1")])
    assert extra_fields(response, [CALL]) == {}
    assert [type(part) for part in answer_again(response, "So.").parts] == [TextPart, ToolCallPart]


def test_an_answer_without_calls_needs_nothing_back() -> None:
    assert extra_fields(ModelResponse([THINKING, TextPart("So.")], provider_name="anthropic"), []) == {}
