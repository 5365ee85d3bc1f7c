"""What every model must do behind the port: the offline model, our OpenAI adapter and the vendors pass one suite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

import pytest
import pytest_asyncio

from agents.llm.errors import ModelError
from agents.llm.interface import (
    LLM,
    ChatMessage,
    Deadlines,
    Finished,
    FirstToken,
    JsonFormat,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
)
from agents.llm.offline import OfflineModel
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.llm.pydantic_ai import VendorConfig, VendorModel
from agents.llm.routes import is_installed
from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider

TOOLS = tuple(
    ToolSpec(name, f"The tool {name}.", {"type": "object", "properties": {}}) for name in ("clock", "calculator")
)
SHORT = 0.05
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
BROKEN = ('{"broken', "", "null", "not json", '{"a": 1}}')
EVERYTHING = frozenset({"plain_json", "one_call"})
KNOWS = {
    "anthropic": frozenset({"one_call"}),
    "google": frozenset({"plain_json"}),
    "bedrock": frozenset[str](),
}
MENDED = {"anthropic": ("",), "google": BROKEN, "bedrock": ("",)}
MODERN = {
    "anthropic": "claude-sonnet-5",
    "google": "gemini-2.5-flash",
    "bedrock": "global.anthropic.claude-sonnet-4-6",
}


class Stage(Protocol):
    """A model and how its part is written for it."""

    llm: LLM
    # The server behind it, if there is one.
    provider: Provider | None
    # Arguments of a call that do not arrive as they were written: they are no text on the wire.
    mended: frozenset[str]
    # A model that can be held to a schema; and which of "plain_json" and "one_call" its provider knows besides.
    modern: str
    knows: frozenset[str]
    # Whether it tells the name that its server gives to a request.
    names_requests: bool

    def script(self, **settings: Any) -> str:
        """The user's message for: text, reasoning, words, calls, rounds, pace_ms, ttft_ms, finish, usage, cut, fail."""
        ...


def written(keyword: str, settings: dict[str, Any]) -> str:
    """Text and lists as JSON, numbers and words as they are."""
    values = {
        key: str(value) if isinstance(value, int) or key in ("finish", "usage", "fault", "fail") else json.dumps(value)
        for key, value in settings.items()
    }
    return f"[[{keyword} {' '.join(f'{key}={value}' for key, value in values.items())}]]"


class OfflineStage:
    def __init__(self) -> None:
        self.llm: LLM = OfflineModel()
        self.provider: Provider | None = None
        self.mended: frozenset[str] = frozenset()
        self.modern, self.knows = "", EVERYTHING
        self.names_requests = False

    def script(self, **settings: Any) -> str:
        return written("offline", settings)


class ServerStage:
    """The same settings in the words of the fake provider."""

    FAULTS = {
        "transient": "503",
        "rate_limit": "429",
        "context_length": "ctx",
        "content_filter": "filter_http",
        "auth": "401",
        "bad_request": "404",
    }

    def __init__(self, llm: LLM, provider: Provider, *, kind: str) -> None:
        self.llm = llm
        self.provider: Provider | None = provider
        self.mended = frozenset(MENDED.get(kind, ()))
        self.modern = MODERN.get(kind, "fake")
        self.knows = KNOWS.get(kind, EVERYTHING)
        self.names_requests = kind != "bedrock"

    def script(self, **settings: Any) -> str:
        if "pace_ms" in settings:
            settings["tps"] = int(1000 / settings.pop("pace_ms")) or 0.01
        if "words" in settings:
            settings["tokens"] = settings.pop("words")
        if "cut" in settings:
            settings |= {"fault": "cut", "after": settings.pop("cut")}
        if "fail" in settings:
            settings["fault"] = self.FAULTS[settings.pop("fail")]
        return written("provider", settings)


@pytest_asyncio.fixture(params=["offline", "openai", "anthropic", "google", "bedrock"])
async def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    if request.param == "offline":
        yield OfflineStage()
        return
    provider = Provider()
    await provider.start()
    if request.param == "openai":
        async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
            yield ServerStage(OpenAIModel(OpenAIConfig("sk-test", provider.base_url), client), provider, kind="openai")
    else:
        if not is_installed(request.param):
            pytest.skip(f"the libraries for {request.param}: are not installed")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        root = provider.base_url.removesuffix("/v1")
        vendor = VendorModel(VendorConfig(request.param, "sk-test", root, region="us-east-1"))
        yield ServerStage(vendor, provider, kind=request.param)
        await vendor.aclose()
    await provider.stop()


def asking(*messages: ChatMessage | str, **deadlines: float) -> ModelRequest:
    """A request whose plain strings are the user's."""
    said = tuple(ChatMessage("user", message) if isinstance(message, str) else message for message in messages)
    return ModelRequest("fake", said, TOOLS, deadlines=Deadlines(**deadlines))


async def heard(stage: Stage, request: ModelRequest) -> list[ModelEvent]:
    async with aclosing(stage.llm.stream(request)) as events:
        return [event async for event in events]


async def heard_until_it_fails(stage: Stage, request: ModelRequest) -> tuple[str, ModelError]:
    events: list[ModelEvent] = []
    try:
        async with aclosing(stage.llm.stream(request)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - what came before the failure counts
    except ModelError as error:
        assert not any(isinstance(event, Finished) for event in events)
        return text_of(events), error
    pytest.fail("it did not fail")


def text_of(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def end_of(events: Sequence[ModelEvent]) -> Finished:
    """The one end, which must be last."""
    [end] = [event for event in events if isinstance(event, Finished)]
    assert events[-1] is end
    assert all(event.text for event in events if isinstance(event, TextDelta))
    return end


@pytest.mark.parametrize("text", ["Hello.", "Two words", "  in  space  ", "Žluťoučký 🐎", "a\nb\n\n# x", "“q”\t\\n"])
async def test_text_arrives_whole_and_unchanged(stage: Stage, text: str) -> None:
    events = await heard(stage, asking(stage.script(text=text)))

    assert text_of(events) == text
    assert (end_of(events).finish_reason, end_of(events).tool_calls) == ("stop", ())


async def test_the_first_words_arrive_before_the_last_are_written(stage: Stage) -> None:
    async with aclosing(stage.llm.stream(asking(stage.script(text="one two three", pace_ms=600_000)))) as events:
        begun, first = await anext(events), await anext(events)

    assert isinstance(begun, FirstToken)
    assert first == TextDelta("one ")


async def test_the_end_tells_usage_and_model(stage: Stage) -> None:
    end = end_of(await heard(stage, asking(stage.script(words=7))))

    assert end.usage is not None
    assert (end.usage.output_tokens, end.usage.input_tokens > 0) == (7, True)
    assert end.response_model


async def test_missing_usage_is_none_and_no_failure(stage: Stage) -> None:
    end = end_of(await heard(stage, asking(stage.script(words=7, usage="no"))))

    assert end.usage is None


async def test_an_answer_that_met_its_length_says_so(stage: Stage) -> None:
    end = end_of(await heard(stage, asking(stage.script(words=7, finish="length"))))

    assert end.finish_reason == "length"


# Whoever can be made to reason here without a word in the request about it.
REASONS = {"offline", "openai", "anthropic"}


@pytest.mark.parametrize("pace", [{}, {"pace_ms": 5}])
@pytest.mark.parametrize("calls", [(), (("clock", {}),)])
async def test_reasoning_comes_before_the_text_and_never_in_it(
    stage: Stage, calls: Sequence[Any], pace: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["stage"] not in REASONS:
        pytest.skip("its provider is not played with reasoning")
    more: dict[str, Any] = {"calls": calls} if calls else {"text": "It is noon."}
    events = await heard(stage, asking(stage.script(reasoning="They ask for the time.", **more, **pace)))
    kinds = [type(event) for event in events if isinstance(event, FirstToken | ReasoningDelta | TextDelta)]
    assert kinds == sorted(kinds, key=(FirstToken, ReasoningDelta, TextDelta).index)
    assert kinds.count(FirstToken) == 1
    reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert (reasoning, text_of(events)) == ("They ask for the time.", more.get("text", ""))
    assert [call.name for call in end_of(events).tool_calls] == [name for name, _ in calls]


async def test_an_answer_without_a_word_is_a_finished_one(stage: Stage) -> None:
    events = await heard(stage, asking(stage.script(text="")))
    assert (text_of(events), end_of(events).finish_reason, end_of(events).tool_calls) == ("", "stop", ())


async def test_a_tool_call_arrives_whole(stage: Stage) -> None:
    events = await heard(stage, asking(stage.script(calls=[["clock", {"timezone": "Europe/Zurich"}]])))

    end = end_of(events)
    [call] = end.tool_calls
    assert end.finish_reason == "tool_calls"
    assert (call.name, json.loads(call.arguments)) == ("clock", {"timezone": "Europe/Zurich"})
    assert call.id


async def test_parallel_calls_keep_their_order_their_arguments_and_ids_of_their_own(stage: Stage) -> None:
    calls = [["clock", {}], ["calculator", {"expression": "1+1"}], ["clock", {"é": "🐎"}], ["nothing_of_the_kind", {}]]

    found = end_of(await heard(stage, asking(stage.script(calls=calls)))).tool_calls

    assert [[call.name, json.loads(call.arguments)] for call in found] == calls
    assert len({call.id for call in found}) == 4


@pytest.mark.parametrize("arguments", BROKEN)
async def test_broken_arguments_arrive_as_they_were_written(stage: Stage, arguments: str) -> None:
    if arguments in stage.mended:
        pytest.skip("this vendor's wire cannot carry them")
    [call] = end_of(await heard(stage, asking(stage.script(calls=[["clock", arguments]])))).tool_calls

    assert call.arguments == arguments


async def test_the_text_ends_before_the_first_of_the_texts_that_end_it(stage: Stage) -> None:
    request = replace(asking(stage.script(text="one two three four")), stop=("four", " three"))

    events = await heard(stage, request)

    assert text_of(events) == "one two"
    assert end_of(events).finish_reason == "stop"


async def test_what_must_be_called_is_called(stage: Stage) -> None:
    request = replace(asking(stage.script(text="No.")), model=stage.modern, tools=TOOLS[1:], must_call=True)

    end = end_of(await heard(stage, request))

    assert [call.name for call in end.tool_calls] == ["calculator"]
    assert end.finish_reason == "tool_calls"


async def test_an_answer_of_a_schema_is_json_of_that_schema(stage: Stage) -> None:
    asked = replace(asking(stage.script(text="In Zurich.")), model=stage.modern, tools=(), json=JsonFormat(CITY))

    answer = json.loads(text_of(await heard(stage, asked)))

    assert list(answer) == ["city"]
    assert isinstance(answer["city"], str)


async def test_an_answer_in_json_without_a_schema_is_an_object_or_refused(stage: Stage) -> None:
    asked = replace(asking(stage.script(text="In Zurich.")), model=stage.modern, tools=(), json=JsonFormat())

    if "plain_json" in stage.knows:
        assert isinstance(json.loads(text_of(await heard(stage, asked))), dict)
    else:
        _, error = await heard_until_it_fails(stage, asked)
        assert (error.error_class, error.not_billed) == ("bad_request", True)


async def test_where_the_provider_knows_how_one_call_is_all_that_comes(stage: Stage) -> None:
    request = replace(asking(stage.script(calls=[["clock", {}], ["calculator", {}]])), one_call=True)

    calls = end_of(await heard(stage, request)).tool_calls

    assert [call.name for call in calls] == ["clock", "calculator"][: 1 if "one_call" in stage.knows else 2]


async def test_after_the_results_it_answers_and_new_calls_get_new_ids(stage: Stage) -> None:
    question = ChatMessage("user", stage.script(text="Noon.", calls=[["clock", {}], ["clock", {}]], rounds=2))
    first = end_of(await heard(stage, asking(question)))
    results = with_results(first.tool_calls)

    second = end_of(await heard(stage, asking(question, *results)))
    third = await heard(stage, asking(question, *results, *with_results(second.tool_calls)))

    assert len(first.tool_calls) == len(second.tool_calls) == 2
    assert (text_of(third), end_of(third).tool_calls) == ("Noon.", ())


async def test_the_same_request_gets_the_same_answer_again(stage: Stage) -> None:
    request = asking("Hello", ChatMessage("assistant", "Yes?"), stage.script(words=12, calls=[["clock", {}]]))

    first, second = [
        [event for event in await heard(stage, request) if not isinstance(event, FirstToken)] for _ in range(2)
    ]
    assert first == second


@pytest.mark.parametrize(
    "script", [{"text": "Hello."}, {"calls": [["clock", {}]]}, {"text": "Wait.", "calls": [["clock", {}]]}]
)
async def test_the_first_sign_of_an_answer_is_told_once_and_names_the_request(
    stage: Stage, script: dict[str, Any]
) -> None:
    for number in (1, 2):
        events = await heard(stage, asking(stage.script(**script)))

        [begun] = [event for event in events if isinstance(event, FirstToken)]
        assert begun.request_id == (f"req-{number}" if stage.names_requests else None)
        assert text_of(events[: events.index(begun)]) == ""


@pytest.mark.parametrize("script", [{"fail": "rate_limit"}, {"text": "one two three", "cut": 2}])
async def test_a_failure_names_the_request(stage: Stage, script: dict[str, Any]) -> None:
    _, error = await heard_until_it_fails(stage, asking(stage.script(**script)))

    assert error.request_id == ("req-1" if stage.names_requests else None)


def with_results(calls: Sequence[ToolCall]) -> tuple[ChatMessage, ...]:
    return (
        ChatMessage("assistant", tool_calls=tuple(calls)),
        *(ChatMessage("tool", "12:00", tool_call_id=call.id) for call in calls),
    )


@pytest.mark.parametrize(
    "error_class", ["transient", "rate_limit", "context_length", "content_filter", "auth", "bad_request"]
)
async def test_a_failure_is_of_its_class(stage: Stage, error_class: str) -> None:
    text, error = await heard_until_it_fails(stage, asking(stage.script(fail=error_class)))

    assert (text, error.error_class) == ("", error_class)
    assert error.retryable == (error_class in ("transient", "rate_limit"))
    assert error.detail.endswith(".")


async def test_a_rate_limit_tells_how_long_to_wait(stage: Stage) -> None:
    _, error = await heard_until_it_fails(stage, asking(stage.script(fail="rate_limit", retry_after=7)))

    assert error.retry_after_seconds == 7


async def test_an_answer_that_breaks_off_is_transient_and_what_was_said_stays(stage: Stage) -> None:
    text, error = await heard_until_it_fails(stage, asking(stage.script(text="one two three four", cut=2)))

    assert (text, error.error_class) == ("one two ", "transient")


async def test_no_first_word_in_time_is_transient(stage: Stage) -> None:
    request = asking(stage.script(text="late", ttft_ms=60_000), first_token_seconds=SHORT)

    text, error = await heard_until_it_fails(stage, request)

    assert (text, error.error_class) == ("", "transient")


async def test_silence_in_the_middle_is_transient_and_what_was_said_stays(stage: Stage) -> None:
    request = asking(stage.script(text="one two three", pace_ms=60_000), silence_seconds=SHORT)

    text, error = await heard_until_it_fails(stage, request)

    assert (text, error.error_class) == ("one ", "transient")


async def test_an_answer_that_takes_too_long_in_all_is_transient(stage: Stage) -> None:
    request = asking(stage.script(text="word " * 2000, pace_ms=5), total_seconds=4 * SHORT)

    text, error = await heard_until_it_fails(stage, request)

    # How much of it was said by then is the machine's business.
    assert ("word " * 2000).startswith(text)
    assert error.error_class == "transient"


async def test_the_time_that_the_listener_takes_is_no_silence_of_the_model(stage: Stage) -> None:
    request = asking(stage.script(words=20, pace_ms=10), silence_seconds=10 * SHORT)
    said = ""
    async with aclosing(stage.llm.stream(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                if not said:
                    await asyncio.sleep(12 * SHORT)
                said += event.text

    assert len(said.split()) == 20


async def test_cancelling_ends_the_stream_and_is_passed_on(stage: Stage) -> None:
    begun = asyncio.Event()

    async def listen() -> None:
        async with aclosing(stage.llm.stream(asking(stage.script(words=1000, pace_ms=20)))) as events:
            async for _ in events:
                begun.set()

    listening = asyncio.create_task(listen())
    await begun.wait()
    listening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(listening, 1)
    await the_server_is_left(stage)


async def test_cancelling_before_the_first_word_is_passed_on(stage: Stage) -> None:
    listening = asyncio.create_task(heard(stage, asking(stage.script(text="late", ttft_ms=60_000))))
    if (provider := stage.provider) is not None:
        await provider.until(lambda: provider.running == 1)
    else:
        await asyncio.sleep(0)
    listening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(listening, 1)
    await the_server_is_left(stage)


async def test_who_leaves_the_loop_closes_the_stream(stage: Stage) -> None:
    async with aclosing(stage.llm.stream(asking(stage.script(words=1000, pace_ms=20)))) as events:
        await anext(events)

    await the_server_is_left(stage)


async def the_server_is_left(stage: Stage) -> None:
    """Within a second, in the middle of its answer."""
    if (provider := stage.provider) is not None:
        await asyncio.wait_for(provider.until(lambda: (provider.aborted, provider.running) == (1, 0)), 1)


async def test_many_streams_at_once_do_not_mix(stage: Stage) -> None:
    texts = [f"answer number {number} of many" for number in range(20)]

    answers = await asyncio.gather(*(heard(stage, asking(stage.script(text=text, pace_ms=2))) for text in texts))

    assert [text_of(events) for events in answers] == texts


async def test_the_port_counts_no_tokens_twice(stage: Stage) -> None:
    question = stage.script(words=3)
    usages = [end_of(await heard(stage, asking(question))).usage for _ in range(2)]

    assert usages[0] == usages[1]
    assert isinstance(usages[0], Usage)
