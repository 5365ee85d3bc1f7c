"""The vendors behind the extra against every fault of a provider: each ends as one error class, asked once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from agents.llm.errors import ModelError, ModelUnreachable
from agents.llm.interface import (
    ChatMessage,
    Deadlines,
    Finished,
    JsonFormat,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
    ToolSpec,
    UsageUpdate,
)
from agents.llm.pydantic_ai import VendorConfig, VendorModel
from agents.llm.routes import is_installed
from tests.provider import Provider
from tests.provider.faults import FAULTS, THREE

pytestmark = pytest.mark.skipif(not is_installed("anthropic"), reason="the libraries of the vendors are not installed")

KEY = "sk-canary-0123456789"
# Long enough that the question arrives, however slowly a library of a vendor makes it on a busy machine.
NO_PATIENCE = Deadlines(first_token_seconds=1.5, total_seconds=20)
NO_SILENCE = Deadlines(silence_seconds=0.5, total_seconds=20)
CLOCK = ToolSpec("clock", "The time.", {"type": "object", "properties": {"zone": {"type": "string"}}})


@dataclass
class Vendor:
    name: str
    provider: Provider
    model: VendorModel

    async def heard(self, request: ModelRequest) -> list[ModelEvent]:
        async with aclosing(self.model.stream(request)) as events:
            return [event async for event in events]

    async def failing(self, request: ModelRequest) -> tuple[list[ModelEvent], ModelError]:
        events: list[ModelEvent] = []
        try:
            async with aclosing(self.model.stream(request)) as stream:
                async for event in stream:
                    assert not isinstance(event, Finished), "a broken answer has no end"
                    events.append(event)
        except ModelError as error:
            return events, error
        pytest.fail("it did not fail")


@pytest_asyncio.fixture(params=["anthropic", "google", "bedrock"])
async def vendor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vendor]:
    provider = Provider()
    await provider.start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, KEY)
    root = provider.base_url.removesuffix("/v1")
    model = VendorModel(VendorConfig(request.param, KEY, root, region="us-east-1"))
    yield Vendor(request.param, provider, model)
    await model.aclose()
    await provider.stop()


def ask(text: str = "Hello", **fields: Any) -> ModelRequest:
    return ModelRequest("fake", (ChatMessage("user", text),), **fields)


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("fault", "error_class", "said"),
    [
        *FAULTS,
        ("no_finish", "transient", None),
        ("filter", "content_filter", None),
    ],
)
async def test_a_fault_ends_as_its_class_is_asked_once_and_the_model_answers_again(
    vendor: Vendor, fault: str, error_class: str, said: str | None
) -> None:
    vendor.provider.queue.append({"fault": fault})
    early = fault in ("hang", "stuck_headers", "stuck_body", "stuck_error")

    events, error = await vendor.failing(ask(deadlines=NO_PATIENCE if early else NO_SILENCE))

    assert error.error_class == error_class
    assert said is None or text_of(events) == said
    assert vendor.provider.count == 1, f"nobody but us retries; {error!r}: {error.provider_detail}"
    assert KEY not in f"{error.detail}{error.provider_detail}{error!r}{error.__cause__!r}"
    assert "127.0.0.1" not in f"{error.detail}{error.provider_detail}"
    if error_class == "rate_limit":
        assert error.retryable
    events = await vendor.heard(ask())
    assert isinstance(events[-1], Finished)


async def test_an_answer_that_does_not_end_is_left(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    if vendor.name == "bedrock":
        pytest.skip("AWS's library reads by itself, frame by frame, each of a bounded size")
    monkeypatch.setattr("agents.llm.pydantic_ai.http.MAX_ANSWER_BYTES", 1_000_000)
    vendor.provider.queue.append({"fault": "endless_line"})

    events, error = await vendor.failing(ask())

    assert (text_of(events), error.error_class) == (THREE, "transient")
    assert "does not end" in error.provider_detail


async def test_a_refusal_is_free_and_a_broken_answer_is_not(vendor: Vendor) -> None:
    vendor.provider.queue.extend([{"fault": "503"}, {"fault": "stream_rate_limit"}, {"fault": "cut"}])

    refused, midway, cut = [(await vendor.failing(ask()))[1] for _ in range(3)]

    # A rate limit inside a stream is one by its class; whether text came before it is known to whoever listened.
    assert (refused.not_billed, midway.status, cut.not_billed) == (True, None, False)


async def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for name in ("anthropic", "google"):
            model = VendorModel(VendorConfig(name, KEY, nobody))
            with pytest.raises(ModelUnreachable):
                await anext(model.stream(ask()))
            await model.aclose()


async def test_without_a_key_nobody_is_asked() -> None:
    for name in ("anthropic", "google"):
        with pytest.raises(ModelError) as failure:
            await anext(VendorModel(VendorConfig(name)).stream(ask()))
        assert failure.value.error_class == "auth"


async def test_anthropic_tells_what_it_read_before_it_answers(vendor: Vendor) -> None:
    if vendor.name != "anthropic":
        pytest.skip("the others tell at the end")
    vendor.provider.queue.append({"fault": "cut"})

    events, _ = await vendor.failing(ask())

    [metered] = [event for event in events if isinstance(event, UsageUpdate)]
    assert (metered.usage.input_tokens, metered.response_model) == (11, "fake")


async def test_an_error_has_the_vendors_own_words_apart_from_its_status(vendor: Vendor) -> None:
    if vendor.name == "bedrock":
        pytest.skip("its library has words of its own")
    vendor.provider.queue.append({"fault": "429", "retry_after": 7})

    report = (await vendor.failing(ask()))[1].report

    assert (report["status"], report["retry_after_seconds"]) == (429, 7)
    assert report["message"].startswith("Rate limit reached for requests.")
    assert "status_code" not in report["message"]
    assert report["code"]


async def test_the_end_tells_how_much_of_the_output_was_reasoning(vendor: Vendor) -> None:
    if vendor.name == "bedrock":
        pytest.skip("its API does not tell")
    vendor.provider.queue.append({"text": "Two words", "reasoning_tokens": 40})

    end = (await vendor.heard(ask()))[-1]

    assert isinstance(end, Finished)
    assert end.usage is not None
    assert (end.usage.output_tokens, end.usage.reasoning_tokens) == (42, 40)


async def test_the_request_says_it_all(vendor: Vendor) -> None:
    messages = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "What time is it?"),
        ChatMessage("assistant", "Wait.", (ToolCall("c1", "clock", '{"zone": "UTC"}'), ToolCall("c2", "clock", "{}"))),
        ChatMessage("tool", "12:00", tool_call_id="c1"),
        ChatMessage("tool", "13:00", tool_call_id="c2"),
        ChatMessage("assistant", "Noon."),
        ChatMessage("user", "And now?"),
    )

    await vendor.heard(ModelRequest("fake", messages, (CLOCK,), max_output_tokens=9))

    body = vendor.provider.requests[0].body
    written = json.dumps(body)
    assert all(message.text in written for message in messages)
    assert written.index("12:00") < written.index("13:00") < written.index("Noon.") < written.index("And now?")
    assert '"zone": "UTC"' in written
    if vendor.name == "anthropic":
        assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
        assert (body["max_tokens"], body["tools"][0]["name"]) == (9, "clock")
        assert KEY in vendor.provider.requests[0].headers
    elif vendor.name == "bedrock":
        assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
        assert body["inferenceConfig"]["maxTokens"] == 9
    else:
        assert [content["role"] for content in body["contents"]] == ["user", "model", "user", "model", "user"]
        assert body["generationConfig"]["maxOutputTokens"] == 9
        assert KEY not in vendor.provider.requests[0].path


async def test_calls_of_tools_that_are_no_longer_on_offer_are_told_as_text(vendor: Vendor) -> None:
    messages = (
        ChatMessage("user", "What time is it?"),
        ChatMessage("assistant", "", (ToolCall("c1", "clock", '{"zone": "UTC"}'),)),
        ChatMessage("tool", "12:00", tool_call_id="c1"),
        ChatMessage("user", "And now?"),
    )

    await vendor.heard(ModelRequest("fake", messages))

    written = json.dumps(vendor.provider.requests[0].body)
    assert not any(
        word in written
        for word in ("tool_use", "tool_result", "functionCall", "functionResponse", "toolUse", "toolResult")
    )
    assert "clock" in written
    assert "12:00" in written


async def test_a_connection_serves_again(vendor: Vendor) -> None:
    for _ in range(3):
        await vendor.heard(ask())

    assert vendor.provider.connections == 1


def test_nobody_pays_for_what_no_route_names() -> None:
    script = """
import asyncio, sys
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.pydantic_ai import VendorConfig
names = ("anthropic", "google", "bedrock")
gateway = Gateway(GatewayConfig(vendors=tuple(VendorConfig(name, "key") for name in names)))
gateway.resolve("offline:")
gateway.resolve("anthropic:claude-sonnet-5")
heavy = {"pydantic_ai", "anthropic", "google.genai", "boto3", "httpx2"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": "platform:."})


@pytest.mark.parametrize("vendor", ["google"], indirect=True)
@pytest.mark.parametrize(
    ("model", "json", "is_taken"),
    [
        ("gemini-2.5-flash", JsonFormat({"type": "object", "properties": {}}), False),
        ("gemini-2.5-flash", JsonFormat(), False),
        ("gemini-3-pro-preview", JsonFormat({"type": "object", "properties": {}}), True),
    ],
)
async def test_beside_tools_not_every_gemini_can_be_held_to_json(
    vendor: Vendor, model: str, json: JsonFormat, is_taken: bool
) -> None:
    request = ModelRequest(model, (ChatMessage("user", "Hello"),), (CLOCK,), json=json)
    if is_taken:
        assert text_of(await vendor.heard(request)) == "{}"
    else:
        _, error = await vendor.failing(request)
        assert (error.error_class, error.not_billed) == ("bad_request", True)
        assert "while it has tools" in error.detail
    assert vendor.provider.count == is_taken
