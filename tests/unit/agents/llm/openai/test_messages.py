"""What a server gets of a conversation, by its dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.llm.dialects import GENERIC, PRESETS, Dialect
from agents.llm.interface import ChatMessage, ModelRequest, ProviderExtras, ToolCall, ToolSpec
from agents.llm.openai.messages import encode_messages

CLOCK = ToolSpec("clock", "The time.", {"type": "object"})
FIELDS: dict[str, Any] = {
    "message": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}], "role": "user", "content": "no"},
    "calls": {"call_0": {"extra_content": {"google": {"thought_signature": "c2ln"}}, "id": "no"}},
}
QUESTION = ChatMessage("user", "What time is it?")
RESULT = ChatMessage("tool", "noon", tool_call_id="call_0")


def calls(*ids: str, extras: ProviderExtras | None = None, text: str = "") -> ChatMessage:
    return ChatMessage("assistant", text, tuple(ToolCall(one, "clock", "{}") for one in ids), extras=extras)


def sent(dialect: Dialect, *messages: ChatMessage, model: str = "fake") -> list[dict[str, Any]]:
    return encode_messages(ModelRequest(model, messages, (CLOCK,)), dialect)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_have_the_role_that_the_server_knows(role: Any) -> None:
    messages = sent(replace(GENERIC, system_role=role), ChatMessage("system", "Be kind."), QUESTION)
    assert [message["role"] for message in messages] == [role, "user"]


def test_instructions_begin_the_first_question_where_the_server_has_no_role_for_them() -> None:
    messages = sent(replace(GENERIC, system_role="user"), ChatMessage("system", "Be kind."), QUESTION)
    assert messages == [{"role": "user", "content": "Be kind.\n\nWhat time is it?"}]


def test_roles_take_turns_and_a_question_after_results_finds_an_answer() -> None:
    history = (QUESTION, QUESTION, calls("call_0"), RESULT, QUESTION, ChatMessage("assistant", "a"))
    again = (ChatMessage("assistant", "b"), QUESTION)
    messages = sent(GENERIC, *history, *again)
    assert [(message["role"], message["content"]) for message in messages] == [
        ("user", "What time is it?\n\nWhat time is it?"),
        ("assistant", ""),
        ("tool", "noon"),
        ("assistant", "(no answer)"),
        ("user", "What time is it?"),
        ("assistant", "a\n\nb"),
        ("user", "What time is it?"),
    ]


def test_a_conversation_without_a_question_at_its_ends_gets_one() -> None:
    messages = sent(GENERIC, ChatMessage("assistant", "Hello"))
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]


def test_short_ids_are_nine_characters_for_each_call_and_keep_those_that_are_right() -> None:
    messages = sent(PRESETS["mistral"], QUESTION, calls("abcdefgh1", "call_0", "call_0_2"), RESULT)
    ids = [call["id"] for call in messages[1]["tool_calls"]]
    assert (ids[0], messages[2]["tool_call_id"]) == ("abcdefgh1", ids[1])
    assert len(set(ids)) == 3
    assert all(len(one) == 9 and one.isalnum() for one in ids)
    assert messages == sent(PRESETS["mistral"], QUESTION, calls("abcdefgh1", "call_0", "call_0_2"), RESULT)


def test_what_a_server_sent_with_an_answer_goes_back_where_it_came_from_and_changes_nothing_of_ours() -> None:
    extras = ProviderExtras("openai:fake", "Hm.", FIELDS)
    renamed = replace(calls("x", extras=extras), tool_calls=(ToolCall("call_0_2", "clock", "{}", issued_id="call_0"),))
    [_, answer, _] = sent(PRESETS["openrouter"], QUESTION, renamed, replace(RESULT, tool_call_id="call_0_2"))
    assert answer["reasoning_details"] == FIELDS["message"]["reasoning_details"]
    assert (answer["role"], answer["content"], "reasoning" in answer) == ("assistant", None, False)
    [call] = answer["tool_calls"]
    assert (call["id"], call["extra_content"]) == ("call_0_2", FIELDS["calls"]["call_0"]["extra_content"])


def test_a_server_that_refuses_unknown_fields_gets_none() -> None:
    [_, answer, _] = sent(PRESETS["groq"], QUESTION, calls("call_0", extras=ProviderExtras("", "Hm.", FIELDS)), RESULT)
    assert answer.keys() == {"role", "content", "tool_calls"}
    assert answer["tool_calls"][0].keys() == {"id", "type", "function"}


@pytest.mark.parametrize(
    ("server", "reasoning", "returned"),
    [
        ("deepseek", "Hm.", {"reasoning_content": "Hm."}),
        ("deepseek", "", {"reasoning_content": " "}),
        ("vllm", "Hm.", {"reasoning": "Hm."}),
        ("vllm", "", {}),
        ("llama.cpp", "Hm.", {}),
        ("openai", "Hm.", {}),
    ],
)
def test_reasoning_goes_back_with_calls_to_servers_that_want_it(
    server: str, reasoning: str, returned: dict[str, str]
) -> None:
    answered = ChatMessage("assistant", "Noon.", extras=ProviderExtras("", reasoning))
    asked = calls("call_0", extras=ProviderExtras("", reasoning))
    messages = sent(PRESETS[server], QUESTION, asked, RESULT, answered, QUESTION)
    assert {name: value for name, value in messages[1].items() if name.startswith("reasoning")} == returned
    assert messages[3] == {"role": "assistant", "content": "Noon."}


@pytest.mark.parametrize(
    ("model", "extras", "signatures"),
    [
        ("gemini-3-pro", None, ["skip_thought_signature_validator", None]),
        ("gemini-2.5-flash", None, [None, None]),
        ("gemini-3-pro", ProviderExtras("", "", FIELDS), ["c2ln", None]),
    ],
)
def test_calls_of_other_models_get_a_stand_in_for_a_signature(
    model: str, extras: ProviderExtras | None, signatures: list[str | None]
) -> None:
    messages = sent(PRESETS["gemini"], QUESTION, calls("call_0", "call_1", extras=extras), RESULT, model=model)
    google = [call.get("extra_content", {}).get("google", {}) for call in messages[1]["tool_calls"]]
    assert [one.get("thought_signature") for one in google] == signatures
    assert messages[2]["name"] == "clock"
