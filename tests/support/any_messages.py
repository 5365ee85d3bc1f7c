"""Messages of requests: sound ones, any soup of them, and what a provider demands of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from agents.domain.message_parts import Part, tool_call_part, tool_result_part
from agents.domain.model_messages import ChatMessage, ToolCall
from agents.domain.prompt import repair

# Few ids, so that they come again in later turns, as they do with providers that count from zero.
ids = st.sampled_from(["call_0", "call_1", "call_2"])
texts = st.sampled_from(["hello", "Ü", "42", "x" * 50])
broken = st.sampled_from(["", "{", "[1]", "null", '{"a": NaN}', '{"a": -Infinity}', '"x"', "[" * 5000])


def user(text: str = "?") -> ChatMessage:
    return ChatMessage("user", text)


def says(text: str = "", *calls: ToolCall) -> ChatMessage:
    return ChatMessage("assistant", text, calls)


def call(call_id: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(call_id, "clock", arguments)


def result(call_id: str, text: str = "noon") -> ChatMessage:
    return ChatMessage("tool", text, tool_call_id=call_id)


@st.composite
def rounds(draw: st.DrawFn) -> list[ChatMessage]:
    """One call of a model with tools, and all its results."""
    chosen = draw(st.lists(ids, min_size=1, unique=True))
    said = says(draw(st.sampled_from(["", "Let me see."])), *(call(one, '{"n": 1}') for one in chosen))
    return [said, *(result(one, draw(texts)) for one in chosen)]


@st.composite
def turns(draw: st.DrawFn) -> list[ChatMessage]:
    work = [message for one in draw(st.lists(rounds(), max_size=3)) for message in one]
    return [user(draw(texts)), *work, *draw(st.lists(st.builds(says, texts), max_size=1))]


@st.composite
def sound(draw: st.DrawFn) -> list[ChatMessage]:
    system = draw(st.lists(st.just(ChatMessage("system", "Be brief.")), max_size=1))
    return [*system, *(message for turn in draw(st.lists(turns(), min_size=1, max_size=4)) for message in turn)]


@st.composite
def soup(draw: st.DrawFn) -> list[ChatMessage]:
    """Messages in no order at all."""
    odd = st.sampled_from(["functions.clock", "", "2"])
    calls = st.builds(ToolCall, ids | st.just("a b"), st.just("clock") | odd, st.just("{}") | broken)
    kinds = st.one_of(
        st.builds(user, texts),
        st.just(ChatMessage("system", "Be brief.")),
        st.builds(lambda text, calls: says(text, *calls), st.just("") | texts, st.lists(calls, max_size=4)),
        st.builds(result, ids, texts),
    )
    return draw(st.lists(kinds, max_size=14))


def check(before: Sequence[ChatMessage], after: Sequence[ChatMessage]) -> None:
    """What a provider asks of a request, and what a person asks of us."""
    rest = [message for message in after if message.role != "system"]
    instructions = "\n\n".join(message.text for message in before if message.role == "system")
    assert [message.text for message in after[: len(after) - len(rest)]] == list(filter(None, [instructions]))
    questions = [message for message in before if message.role == "user"]
    assert [message for message in after if message.role == "user"] == questions, "what people said is never lost"
    if questions:
        assert rest[0].role == "user"
    issued = [call.id for message in rest for call in message.tool_calls]
    assert len(set(issued)) == len(issued), "an id of a call comes again"
    waiting: list[str | None] = []
    for message in rest:
        if message.role == "tool":
            assert waiting, "a result without its call"
            assert message.tool_call_id == waiting.pop(0)
            continue
        assert not waiting, "a call without its result"
        waiting = [one.id for one in message.tool_calls]
        assert all(isinstance(strict(one.arguments), dict) for one in message.tool_calls)
        assert message.role != "assistant" or message.text or message.tool_calls
    assert not waiting, "a call without its result"
    assert repair(after) == tuple(after), "to repair twice changes nothing"


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


def called(call_id: str) -> Part:
    return tool_call_part(call_id=call_id, name="clock", arguments="{}")


def answered(call_id: str, *, is_error: bool = False) -> Part:
    return tool_result_part(call_id=call_id, content="noon", is_error=is_error)
