"""Whatever is stored of a conversation, the request that is made of it is one that a strict server takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.domain.message_parts import text_part
from agents.domain.model_messages import ChatMessage, ToolCall
from agents.domain.prompt import EMPTY_QUESTION, Item, flatten, for_route, repair
from agents.llm.dialects import PRESETS, Dialect
from agents.llm.interface import Finished, ModelRequest, ToolSpec
from agents.llm.openai.request import encode_request
from agents.llm.pydantic_ai import VendorConfig, VendorModel
from agents.llm.role_order import GO_ON
from agents.llm.routes import is_installed
from foundation.ids import new_id
from tests.provider import Provider
from tests.support.any_history import ROUTE, Asked, conversations
from tests.support.request_checkers import CHAT_SERVERS, VENDORS, Refused, check_request

CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {}}, strict=True)
windows = st.none() | st.integers(1, 120)


def model_request(messages: tuple[ChatMessage, ...], *, has_tools: bool = True, model: str = "fake") -> ModelRequest:
    tools = (CLOCK,) if has_tools else ()
    return ModelRequest(model, messages, tools, max_output_tokens=9, one_call=has_tools, stop=("END",))


def encoded(messages: tuple[ChatMessage, ...], dialect: Dialect, *, has_tools: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode_request(model_request(messages, has_tools=has_tools), dialect=dialect))
    return body


def test_every_preset_has_a_strict_server() -> None:
    assert sorted(CHAT_SERVERS) == sorted(PRESETS)


@settings(max_examples=60)
@given(asked=conversations, window=windows, has_tools=st.booleans())
def test_every_server_takes_every_history(asked: Asked, window: int | None, has_tools: bool) -> None:
    messages = asked.request(window)
    for name, dialect in PRESETS.items():
        check_request(name, encoded(messages, dialect, has_tools=has_tools))


# Two questions without an answer, an id of calls that comes again, results that a question follows.
TORN = (
    ChatMessage("user", "One?"),
    ChatMessage("user", "Two?"),
    ChatMessage("assistant", "", (ToolCall("call_0", "clock", "{}"),)),
    ChatMessage("tool", "noon", tool_call_id="call_0"),
    ChatMessage("user", "Three?"),
)


@pytest.mark.parametrize(
    ("server", "change"),
    [
        ("openai", {"limit_field": "max_tokens"}),
        ("openai", {"returned_reasoning": "with_calls", "requires_reasoning": True}),
        ("azure", {"parallel_calls": True}),
        ("vllm", {"alternate": False}),
        ("vllm", {"answer_after_results": False}),
        ("vllm", {"short_call_ids": False}),
        ("ollama", {"null_content": True}),
        ("lmstudio", {"null_content": True}),
        ("llama.cpp", {"alternate": False}),
        ("mistral", {"stream_usage": True}),
        ("mistral", {"short_call_ids": False}),
        ("mistral", {"answer_after_results": False}),
        ("mistral", {"limit_field": "max_completion_tokens"}),
        ("mistral", {"returned_reasoning": "with_calls", "requires_reasoning": True}),
        ("deepseek", {"requires_reasoning": False}),
        ("moonshot", {"null_content": False}),
        ("gemini", {"parallel_calls": True}),
        ("gemini", {"name_results": False}),
        ("gemini", {"signs_calls": False}),
        ("groq", {"strict_tools": True}),
        ("groq", {"limit_field": "max_tokens"}),
    ],
)
def test_a_server_refuses_what_its_dialect_avoids(server: str, change: dict[str, Any]) -> None:
    dialect = PRESETS[server]
    check_request(server, encoded(TORN, dialect))

    with pytest.raises(Refused):
        check_request(server, encoded(TORN, replace(dialect, **change)))


@pytest.mark.parametrize("server", [name for name in CHAT_SERVERS if name not in ("openai", "azure")])
def test_a_server_refuses_what_repair_is_for(server: str) -> None:
    orphan = (TORN[0], TORN[3], TORN[4])
    again = (*TORN, *TORN[2:])
    for messages in (orphan, again, TORN[:3]):
        with pytest.raises(Refused):
            check_request(server, encoded(messages, replace(PRESETS[server], short_call_ids=False)))
        check_request(server, encoded(repair(messages), PRESETS[server]))


@settings(max_examples=60)
@given(asked=conversations)
def test_what_people_asked_is_in_every_request(asked: Asked) -> None:
    questions = [
        message.text.strip()
        for item in asked.history
        if item.author == "user"
        for message in flatten(item.author, item.parts)
        if message.role == "user"
    ]
    for dialect in PRESETS.values():
        said = [str(m["content"]) for m in encoded(asked.request(), dialect)["messages"] if m["role"] == "user"]
        for question in questions:
            assert any((question or EMPTY_QUESTION) in text for text in said)


@settings(max_examples=60)
@given(asked=conversations)
def test_reasoning_is_never_the_text_of_a_message_and_other_routes_extras_never_leave(asked: Asked) -> None:
    messages = asked.request()
    assert all("Let me think." not in message.text for message in messages)
    assert all(message.extras is None or message.extras.route == ROUTE for message in messages)
    assert for_route(messages, "openai:other") == tuple(
        ChatMessage(m.role, m.text, m.tool_calls, m.tool_call_id) for m in messages
    )


@settings(max_examples=60)
@given(asked=conversations)
def test_what_was_repaired_is_not_repaired_again(asked: Asked) -> None:
    messages = asked.request()
    assert repair(messages) == messages
    for dialect in PRESETS.values():
        assert encoded(repair(repair(messages)), dialect) == encoded(repair(messages), dialect)


@settings(max_examples=60)
@given(asked=conversations, more=conversations)
def test_what_is_appended_changes_nothing_before_the_last_message(asked: Asked, more: Asked) -> None:
    """Providers find the beginning of a request in their caches."""
    history = [Item(new_id(), "user", [text_part("Hi")]), *asked.history]
    longer = Asked([*history, more.history[-1]], [], None, asked.instructions)
    asked = Asked(history, [], None, asked.instructions)
    for dialect in PRESETS.values():
        before, after = (encoded(one.request(), dialect)["messages"] for one in (asked, longer))
        if before[-1]["content"] == GO_ON.text:
            before.pop()
        # The last question may be joined with the next; results of the last calls may only come now.
        stable = [number for number, message in enumerate(before) if message["role"] == "assistant"]
        whole = before[: stable[-1] if stable else 0]
        assert after[: len(whole)] == whole


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[tuple[VendorModel, Provider]]:
    if not is_installed("anthropic"):
        pytest.skip("the libraries of the vendors are not installed")
    provider = Provider(check=lambda body: check_request(request.param, body))
    runner.run(provider.start())
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "sk-canary")
        root = provider.base_url.removesuffix("/v1")
        model = VendorModel(VendorConfig(request.param, "sk-canary", root, region="us-east-1"))
        yield model, provider
        runner.run(model.aclose())
    runner.run(provider.stop())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=conversations, window=windows, has_tools=st.booleans())
def test_every_vendor_takes_every_history(
    vendor: tuple[VendorModel, Provider], runner: asyncio.Runner, asked: Asked, window: int | None, has_tools: bool
) -> None:
    model, _ = vendor

    async def ask() -> object:
        # Nova of Bedrock and Claude are told apart by their names.
        request = model_request(asked.request(window), has_tools=has_tools, model="us.anthropic.claude-sonnet-4")
        async with aclosing(model.stream(request)) as events:
            return [event async for event in events][-1]

    assert isinstance(runner.run(ask()), Finished)
