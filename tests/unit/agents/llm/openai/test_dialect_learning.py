"""What the adapter learns from refusals: it asks again without what was refused, and remembers that if it helped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from agents.llm.dialect_settings import read_dialects
from agents.llm.dialects import GENERIC, PRESETS, Dialect
from agents.llm.errors import ModelError
from agents.llm.interface import ChatMessage, Finished, ModelRequest, ToolCall, ToolSpec
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.llm.openai.dialect_learning import learn
from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401

TOOL = ToolSpec("clock", "", {"type": "object"}, strict=True)
REQUEST = ModelRequest(
    "fake",
    (
        ChatMessage("system", "Be kind."),
        ChatMessage("user", "When?"),
        ChatMessage("assistant", "", (ToolCall("a", "clock", "{}"),)),
        ChatMessage("tool", "12:00", tool_call_id="a"),
        ChatMessage("user", "And now?"),
    ),
    (TOOL,),
    max_output_tokens=9,
    must_call=True,
    one_call=True,
)


# Words of servers (public reports), the dialect that they were answered to, and what is to be learned.
@pytest.mark.parametrize(
    ("dialect", "status", "words", "lesson"),
    [
        ("generic", 400, "Unrecognized request argument supplied: stream_options", "stream_options"),
        ("generic", 422, '{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}', "stream_options"),
        (
            "generic",
            400,
            "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "max_completion_tokens",
        ),
        ("openai", 422, "extra_forbidden: body.max_completion_tokens: Extra inputs are not permitted", "max_tokens"),
        ("generic", 422, '{"type":"extra_forbidden","loc":["body","max_tokens"]}', "no_limit"),
        ("generic", 400, "parallel_tool_calls is not supported by this model", "parallel_tool_calls"),
        ("generic", 400, "Unknown parameter: tools[0].function.strict", "strict"),
        ("deepseek", 400, "Thinking mode does not support this tool_choice", "tool_choice"),
        (
            "generic",
            400,
            "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to "
            "required or object in thinking mode",
            "tool_choice",
        ),
        ("moonshot", 400, "tool_choice 'required' is incompatible with thinking enabled", "tool_choice"),
        ("openrouter", 400, "Thinking may not be enabled when tool_choice forces tool use.", "tool_choice"),
        (
            "generic",
            400,
            "thinking is enabled but reasoning_content is missing in assistant message 2",
            "reasoning_returned",
        ),
        ("vllm", 400, "property 'messages.2.assistant.reasoning' is unsupported", "reasoning_kept"),
        ("generic", 400, "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", "short_call_ids"),
        ("openai", 400, "Unexpected role 'user' after role 'tool'", "answer_after_results"),
        ("openai", 400, "Conversation roles must alternate user/assistant/user/assistant/...", "alternate"),
        ("generic", 400, "System role not supported", "user_role"),
        ("generic", 500, "Only user and assistant roles are supported!", "user_role"),
        ("openai", 400, "invalid message content type: content should be a valid string, got null", "empty_content"),
        ("generic", 400, "message content must not be empty", "null_content"),
    ],
)
def test_a_refusal_in_these_words_teaches_this(dialect: str, status: int, words: str, lesson: str) -> None:
    learned = learn(PRESETS[dialect], REQUEST, status, words)

    assert learned is not None
    assert learned.name == lesson
    assert learned.dialect != PRESETS[dialect]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"),
        (400, "max_tokens is too large: 100000. This model supports at most 16384 completion tokens."),
        (400, "The model `fake` does not exist; alternatively use another one"),
        (429, "stream_options is not supported"),
        (503, "System role not supported"),
        (400, ""),
    ],
)
def test_other_words_teach_nothing(status: int, words: str) -> None:
    assert learn(GENERIC, REQUEST, status, words) is None


def test_nothing_is_learned_of_what_was_not_sent() -> None:
    plain = ModelRequest("fake", (ChatMessage("user", "Hello"),))

    for words in (
        "tool_choice is not supported",
        "max_tokens is not supported",
        "System role not supported",
        "strict is not supported",
    ):
        assert learn(GENERIC, plain, 400, words) is None


def refuse(*fields: str) -> Callable[[dict[str, Any]], None]:
    """A server that refuses these fields, one after the other."""

    def check(body: dict[str, Any]) -> None:
        for field in fields:
            if field in body:
                raise ValueError(f"Unsupported parameter: {field}")

    return check


def refuse_all(words: str) -> Callable[[dict[str, Any]], None]:
    """A server that refuses everything in these words."""

    def check(_body: dict[str, Any]) -> None:
        raise ValueError(words)

    return check


@pytest_asyncio.fixture
async def client(provider: Provider) -> AsyncIterator[GuardedClient]:  # noqa: F811
    async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
        yield client


async def ask(model: OpenAIModel, request: ModelRequest = REQUEST) -> Finished:
    async with aclosing(model.stream(request)) as events:
        [*_, finished] = [event async for event in events]
    assert isinstance(finished, Finished)
    return finished


async def test_a_refused_field_is_left_out_at_once_and_from_then_on(
    provider: Provider,  # noqa: F811
    client: GuardedClient,
) -> None:
    model = OpenAIModel(OpenAIConfig("sk-test", provider.base_url), client)
    provider.check = refuse("stream_options", "parallel_tool_calls")

    first, second = await ask(model), await ask(model)

    assert (first.notes, second.notes) == ({"learned": ["stream_options", "parallel_tool_calls"]}, {})
    assert provider.count == 4
    assert "stream_options" not in provider.requests[-1].body
    assert provider.requests[-1].body["max_tokens"] == 9


async def test_a_model_that_cannot_be_forced_to_call_is_asked_without_it(
    provider: Provider,  # noqa: F811
    client: GuardedClient,
) -> None:
    model = OpenAIModel(OpenAIConfig("sk-test", provider.base_url), client)
    provider.check = refuse("tool_choice")

    first, second = await ask(model), await ask(model)

    assert (first.notes, second.notes) == ({"learned": ["tool_choice"]}, {})
    assert provider.count == 3
    body = provider.requests[-1].body
    assert ("tool_choice" in body, len(body["tools"])) == (False, 1)


async def test_what_did_not_help_is_not_remembered(
    provider: Provider,  # noqa: F811
    client: GuardedClient,
) -> None:
    model = OpenAIModel(OpenAIConfig("sk-test", provider.base_url), client)
    before: Dialect = model.dialect("fake")
    provider.check = refuse_all("Unsupported parameter: stream_options")

    with pytest.raises(ModelError):
        await ask(model)

    assert provider.count == 2
    assert model.dialect("fake") == before


async def test_a_prompt_that_is_too_long_teaches_nothing(
    provider: Provider,  # noqa: F811
    client: GuardedClient,
) -> None:
    model = OpenAIModel(OpenAIConfig("sk-test", provider.base_url), client)
    provider.check = refuse_all("maximum context length exceeded; unsupported: stream_options")

    with pytest.raises(ModelError) as failure:
        await ask(model)

    assert (failure.value.error_class, provider.count) == ("context_length", 1)


async def test_a_setting_is_where_learning_begins(
    provider: Provider,  # noqa: F811
    client: GuardedClient,
) -> None:
    dialects = read_dialects("generic,openai:fake=mistral")
    await ask(OpenAIModel(OpenAIConfig("sk-test", provider.base_url, dialects), client))

    assert "stream_options" not in provider.requests[-1].body
