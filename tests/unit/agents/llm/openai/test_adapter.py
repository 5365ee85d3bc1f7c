"""The OpenAI adapter against every fault of a provider: each ends as one error class, in words that tell no secrets."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.llm.errors import ModelError
from agents.llm.interface import (
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
)
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.llm.openai.error_mapping import clean_detail, error_from_response, retry_after_seconds
from agents.llm.openai.event_decoder import EventDecoder
from agents.llm.openai.stream_parser import StreamParser
from agents.llm.openai.tool_call_fragments import MAX_TOOL_CALLS
from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider
from tests.provider.faults import FAULTS, THREE
from tests.provider.fixture import provider  # noqa: F401
from tests.provider.script import Script
from tests.provider.streams import stream_for

KEY = "sk-canary-0123456789"
# Short where the fault is that nothing comes; elsewhere a slow machine must not look like a slow provider.
NO_PATIENCE = Deadlines(first_token_seconds=0.2, total_seconds=20)
NO_SILENCE = Deadlines(silence_seconds=0.2, total_seconds=20)


@pytest_asyncio.fixture
async def model(provider: Provider) -> AsyncIterator[OpenAIModel]:  # noqa: F811
    async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
        yield OpenAIModel(OpenAIConfig(KEY, provider.base_url), client)


def ask(text: str = "Hello", **fields: Any) -> ModelRequest:
    return ModelRequest("fake", (ChatMessage("user", text),), **fields)


async def heard(model: OpenAIModel, request: ModelRequest) -> list[ModelEvent]:
    async with aclosing(model.stream(request)) as events:
        return [event async for event in events]


async def failing(model: OpenAIModel, request: ModelRequest) -> tuple[str, ModelError]:
    text = ""
    try:
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                assert not isinstance(event, Finished), "a broken answer has no end"
                text += event.text if isinstance(event, TextDelta) else ""
    except ModelError as error:
        return text, error
    pytest.fail("it did not fail")


async def test_a_plain_question_asks_for_nothing_besides(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    await heard(model, ask())
    # A local server may refuse what it does not know.
    assert set(provider.requests[-1].body) == {"model", "messages", "stream", "stream_options"}


async def test_what_is_asked_for_besides_stands_in_the_request(
    model: OpenAIModel,
    provider: Provider,  # noqa: F811
) -> None:
    form = JsonFormat({"type": "object"}, "city", "Where?", strict=True)
    tools = (ToolSpec("clock", "", {}, strict=True), ToolSpec("light", "", {}))
    await heard(model, ask(tools=tools, must_call=True, one_call=True, stop=("END",), json=form))
    body = provider.requests[-1].body
    assert (body["tool_choice"], body["parallel_tool_calls"], body["stop"]) == ("required", False, ["END"])
    assert [tool["function"].get("strict") for tool in body["tools"]] == [True, None]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": {"type": "object"}, "description": "Where?", "strict": True},
    }


@pytest.mark.parametrize(
    ("fault", "error_class", "said"),
    [
        *FAULTS,
        ("ctx_words", "context_length", ""),
        ("odd", "transient", THREE),
        ("invalid_utf8", "transient", THREE),
        ("filter", "content_filter", THREE),
        ("refusal", "content_filter", ""),
    ],
)
async def test_a_fault_ends_as_its_class_and_the_model_answers_again(
    model: OpenAIModel,
    provider: Provider,  # noqa: F811
    fault: str,
    error_class: str,
    said: str | None,
) -> None:
    provider.queue.append({"fault": fault})

    deadlines = NO_PATIENCE if fault in ("hang", "stuck_headers", "stuck_body") else NO_SILENCE
    text, error = await failing(model, ask(deadlines=deadlines))

    assert error.error_class == error_class
    if deadlines is NO_PATIENCE:
        assert error.detail == "The model did not begin its answer in time."
    if said is not None:
        assert text == said
    shown = f"{error.detail} {error.provider_detail} {error!r} {error.__cause__!r}"
    assert KEY not in shown
    assert "127.0.0.1" not in shown
    assert "10.0.0.7" not in shown
    assert "://" not in shown
    assert isinstance((await heard(model, ask()))[-1], Finished)


@pytest.mark.parametrize(
    "style", ["comments", "crlf", "cr", "multiline", "no_last_newline", "split_bytes", "json200", "no_done"]
)
async def test_every_way_to_write_the_stream_is_read_alike(
    model: OpenAIModel,
    provider: Provider,  # noqa: F811
    style: str,
) -> None:
    provider.defaults |= {"text": "Žluťoučký kůň 🐎 skáče"}
    plain = await heard(model, ask())
    provider.queue.append({"fault": style})

    styled = await heard(model, ask())

    assert "".join(event.text for event in styled if isinstance(event, TextDelta)) == "Žluťoučký kůň 🐎 skáče"
    assert styled[-1] == plain[-1]


async def test_what_one_read_brings_is_one_delta(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    provider.defaults |= {"tokens": 20}

    events = await heard(model, ask())

    assert [type(event) for event in events] == [FirstToken, TextDelta, Finished]


async def test_the_request_says_what_was_asked(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    messages = (
        ChatMessage("system", "Be kind."),
        ChatMessage("user", "Hello 🐎"),
        ChatMessage("assistant", "", (ToolCall("c1", "clock", "{}"),)),
        ChatMessage("tool", "12:00", tool_call_id="c1"),
        ChatMessage("assistant", "Noon."),
        ChatMessage("user", "Thanks"),
    )
    tools = (ToolSpec("clock", "The time.", {"type": "object", "properties": {}}),)

    await heard(model, ModelRequest("fake", messages, tools, max_output_tokens=9))

    [request] = provider.requests
    assert request.path == "/v1/chat/completions"
    assert f"Authorization: Bearer {KEY}" in request.headers
    assert request.body == {
        "model": "fake",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello 🐎"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
            {"role": "assistant", "content": "Noon."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "clock", "description": "The time.", "parameters": tools[0].parameters},
            }
        ],
    }


async def test_finished_answers_leave_their_connection_to_the_next(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    for _ in range(3):
        await heard(model, ask())

    assert (provider.count, provider.connections) == (3, 1)


async def test_a_body_that_ends_a_little_late_leaves_its_connection_too(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    provider.defaults |= {"fault": "late_end"}
    for _ in range(3):
        await heard(model, ask())

    assert (provider.count, provider.connections, provider.aborted) == (3, 1, 0)


async def test_cancelling_closes_the_providers_connection_at_once(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    provider.defaults |= {"tps": 50, "tokens": 10_000}
    begun = asyncio.Event()

    async def listen() -> None:
        async with aclosing(model.stream(ask())) as events:
            async for _ in events:
                begun.set()

    listening = asyncio.create_task(listen())
    await begun.wait()
    listening.cancel()

    async with asyncio.timeout(1):
        await provider.until(lambda: provider.aborted == 1)
        with pytest.raises(asyncio.CancelledError):
            await listening


async def test_leaving_the_loop_early_closes_the_providers_connection(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    provider.defaults |= {"tps": 50, "tokens": 10_000}

    async with aclosing(model.stream(ask())) as events:
        async for _ in events:
            break

    async with asyncio.timeout(1):
        await provider.until(lambda: provider.aborted == 1)


@pytest.mark.parametrize("fault", ["hang", "stuck_headers", "stuck_body"])
async def test_cancelling_while_nothing_comes_closes_the_connection(
    model: OpenAIModel,
    provider: Provider,  # noqa: F811
    fault: str,
) -> None:
    provider.defaults |= {"fault": fault}
    listening = asyncio.create_task(heard(model, ask()))
    await provider.until(lambda: provider.count == 1)
    listening.cancel()

    async with asyncio.timeout(1):
        await provider.until(lambda: provider.aborted + provider.connections == 1)
        with pytest.raises(asyncio.CancelledError):
            await listening
        await provider.until(lambda: provider.connections == 0)


async def test_a_comment_now_and_then_is_still_silence(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    provider.queue.append({"fault": "mutter", "tps": 50})

    text, error = await failing(model, ask(deadlines=NO_SILENCE))

    assert (text, error.detail) == (THREE, "The model fell silent in the middle of its answer.")


async def test_slow_headers_and_a_slow_first_word_are_waited_for(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    provider.queue.append({"headers_ms": 20, "ttft_ms": 20})

    assert isinstance((await heard(model, ask()))[-1], Finished)


class NamesThatNeverCome:
    async def resolve(self, host: str) -> list[str]:
        await asyncio.get_running_loop().create_future()
        return []


async def test_a_name_that_does_not_resolve_in_time_is_transient() -> None:
    quick = Deadlines(connect_seconds=0.1)
    async with GuardedClient(resolver=NamesThatNeverCome()) as client:
        _, error = await failing(OpenAIModel(OpenAIConfig(KEY, "https://slow.test/v1"), client), ask(deadlines=quick))

    assert (error.error_class, error.detail) == ("transient", "The model could not be reached in time.")


async def test_nobody_at_the_address_is_transient(provider: Provider) -> None:  # noqa: F811
    await provider.stop()
    async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
        _, error = await failing(OpenAIModel(OpenAIConfig(KEY, provider.base_url), client), ask())

    assert error.error_class == "transient"
    assert "127.0.0.1" not in error.provider_detail


async def test_an_address_behind_our_walls_is_refused_unless_it_is_allowed(provider: Provider) -> None:  # noqa: F811
    async with GuardedClient() as client:
        _, error = await failing(OpenAIModel(OpenAIConfig(KEY, provider.base_url), client), ask())

    assert (error.error_class, provider.count) == ("bad_request", 0)


async def test_without_a_key_openai_is_not_even_asked() -> None:
    async with GuardedClient(resolver=NamesThatNeverCome()) as client:
        _, error = await failing(OpenAIModel(OpenAIConfig(), client), ask())

    assert error.error_class == "auth"


@pytest.mark.parametrize(
    ("ending", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/a%2Fb/?api-version=1", "/v1/a%2Fb/chat/completions?api-version=1"),
    ],
)
async def test_the_base_url_keeps_its_path_and_query(provider: Provider, ending: str, path: str) -> None:  # noqa: F811
    provider.defaults |= {"fault": "404"}
    async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
        await failing(OpenAIModel(OpenAIConfig(KEY, provider.base_url + ending), client), ask())

    assert provider.requests[0].path == path


async def test_a_local_server_needs_no_key(provider: Provider) -> None:  # noqa: F811
    async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
        await heard(OpenAIModel(OpenAIConfig(None, provider.base_url + "/"), client), ask())

    assert "Authorization" not in provider.requests[0].headers


async def test_a_key_that_would_break_the_headers_is_refused(provider: Provider) -> None:  # noqa: F811
    async with GuardedClient(allow_origins=frozenset({allowed_origin(provider.base_url)})) as client:
        _, error = await failing(OpenAIModel(OpenAIConfig(f"{KEY}\r\nX: y", provider.base_url), client), ask())

    assert (error.error_class, provider.count) == ("bad_request", 0)
    assert KEY not in error.provider_detail


async def test_text_that_is_no_unicode_is_not_sent(model: OpenAIModel, provider: Provider) -> None:  # noqa: F811
    _, error = await failing(model, ask("\ud800"))

    assert (error.error_class, provider.count) == ("bad_request", 0)


async def test_the_key_is_in_no_representation() -> None:
    assert KEY not in repr(OpenAIConfig(KEY))


async def test_a_certificate_that_nobody_vouches_for_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, GuardedClient(allow_origins=frozenset({allowed_origin(address)})) as client:
        _, error = await failing(OpenAIModel(OpenAIConfig(KEY, address), client), ask())

    assert (error.error_class, "certificate" in error.detail) == ("bad_request", True)


def self_signed(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    path = directory / "server.pem"
    path.write_bytes(pem)
    return path


# --- answers, without a network ---


def text_of(deltas: list[ReasoningDelta | TextDelta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def answer_to(*events: str) -> tuple[str, StreamParser]:
    answer = StreamParser()
    return text_of(answer.take([event.encode() for event in events])), answer


def delta(fields: str, finish: str = "null") -> str:
    return f'{{"model": "m", "choices": [{{"index": 0, "delta": {{{fields}}}, "finish_reason": {finish}}}]}}'


def calls_of(*fragments: str) -> tuple[ToolCall, ...]:
    _, answer = answer_to(
        *(delta(f'"tool_calls": [{fragment}]') for fragment in fragments), delta("", '"tool_calls"'), "[DONE]"
    )
    return answer.finish().tool_calls


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    calls = calls_of(
        '{"id": "a", "function": {"name": "x", "arguments": "{"}}',
        '{"function": {"arguments": "}"}}',
        '{"id": "b", "function": {"name": "y", "arguments": "{}"}}',
        '{"id": "a", "function": {"arguments": " "}}',
    )

    assert calls == (ToolCall("a", "x", "{} "), ToolCall("b", "y", "{}"))


def test_calls_with_missing_or_equal_ids_get_ids_of_their_own() -> None:
    calls = calls_of(
        '{"index": 0, "function": {"name": "x", "arguments": "{}"}}',
        '{"index": 1, "id": "a", "function": {"name": "x", "arguments": "{}"}}',
        '{"index": 2, "id": "a", "function": {"name": "x", "arguments": "{}"}}',
    )

    assert len({call.id for call in calls}) == 3
    assert all(call.id for call in calls)


def test_arguments_sent_as_an_object_are_taken_as_its_json() -> None:
    assert calls_of('{"index": 0, "id": "a", "function": {"name": "x", "arguments": {"b": 1}}}') == (
        ToolCall("a", "x", '{"b":1}'),
    )


def test_endless_ids_and_names_are_cut() -> None:
    [call] = calls_of(f'{{"index": 0, "id": "{"i" * 5000}", "function": {{"name": "{"n" * 5000}", "arguments": ""}}}}')

    assert (len(call.id), len(call.name)) == (100, 100)


def test_stop_after_calls_means_calls() -> None:
    call = '"tool_calls": [{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}}]'
    _, answer = answer_to(delta(call), delta("", '"stop"'), "[DONE]")

    assert answer.finish().finish_reason == "tool_calls"


def test_more_calls_than_anybody_needs_break_the_answer() -> None:
    fragments = [f'{{"index": {number}, "function": {{"name": "x"}}}}' for number in range(MAX_TOOL_CALLS + 1)]

    with pytest.raises(ModelError) as failure:
        calls_of(*fragments)

    assert failure.value.error_class == "transient"


def test_emoji_cut_between_their_halves_are_joined() -> None:
    answer = StreamParser()
    pieces = [
        text_of(answer.take([delta(f'"content": "{half}"').encode()]))
        for half in ("a \\ud83d", "\\udc0e b", "\\udc0e", "c")
    ]

    assert pieces == ["a ", "🐎 b", "\ufffd", "c"]


def test_what_no_row_can_hold_is_replaced() -> None:
    text, _ = answer_to(delta('"content": "a\\u0000b"'))

    assert text == "a\ufffdb"


def test_other_choices_than_the_first_are_not_mixed_in() -> None:
    text, _ = answer_to(
        '{"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]}'
    )

    assert text == "yes"


@pytest.mark.parametrize(
    "usage", ['{"prompt_tokens": -1, "completion_tokens": 2}', '{"prompt_tokens": 1.5}', "{}", "null"]
)
def test_counts_that_are_none_are_no_usage(usage: str) -> None:
    _, answer = answer_to(delta('"content": "x"', '"stop"'), f'{{"choices": [], "usage": {usage}}}', "[DONE]")

    assert answer.finish().usage is None


def test_reasoning_is_no_text_but_counts_as_a_beginning() -> None:
    text, answer = answer_to(delta('"reasoning_content": "hm"'))

    assert (text, answer.has_started) == ("", True)


_KEYS = (
    "choices delta content tool_calls index id function name arguments error usage finish_reason prompt_tokens "
    "completion_tokens model refusal message code type text"
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_KEYS.split()), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(_JSON, max_size=4))
def test_no_json_whatsoever_gets_past_as_another_error(values: list[Any]) -> None:
    answer = StreamParser()
    text = text_of(answer.take([*(orjson.dumps(value) for value in values), b"[DONE]"]))
    try:
        finished = answer.finish()
    except ModelError:
        return
    assert isinstance(finished, Finished)
    assert isinstance(text, str)


@settings(deadline=None)
@given(st.text(max_size=60), st.sets(st.integers(0, 3000), max_size=30))
def test_any_text_in_any_cut_is_the_same_answer(text: str, cuts: set[int]) -> None:
    script = Script(text=text, calls=())
    stream = stream_for("m", script, include_usage=True)
    raw = b"".join(stream.frames) + stream.tail
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    answer, decoder = StreamParser(), EventDecoder()

    shown = text.replace("\x00", "\ufffd")
    said = "".join(text_of(answer.take(decoder.feed(raw[start:end]))) for start, end in pairwise(edges))
    said += text_of(answer.rest())

    assert said == shown
    assert answer.finish().finish_reason == "stop"


# --- refusals ---


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e999"}, 86400),
        ({"Retry-After": "9" * 400}, 86400),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"Retry-After": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "nan"}, None),
    ],
)
def test_the_time_to_wait_is_read_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


def test_a_date_to_wait_for_is_so_many_seconds_away() -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=100)

    seconds = retry_after_seconds({"Retry-After": format_datetime(soon, usegmt=True)})

    assert seconds is not None
    assert 90 < seconds <= 100


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-pr****f00d.",
        "Authorization: Bearer abc.def",
        "see http://10.0.0.7:8000/internal?x=1",
        "Cannot connect to host model.internal:8000 ssl:default",
        "connect to 10.0.0.7:8000 failed",
        "secret-of-ours is wrong",
        "POST https://user:swordfish@proxy.example/v1 failed",
        "upstream gpu-7.corp.internal:8000 refused",
        "dial tcp: lookup model.internal.: no such host",
        "dial tcp [fd00::7]:8000: connection refused",
        "no route to backend.svc.cluster.local",
        "vllm.example.net:8000 does not answer",
        "api_key=swordfish is not known",
        "AIzaSwordfish0123456789 is not valid",
    ],
)
def test_the_providers_words_are_cleaned_of_keys_and_addresses(text: str) -> None:
    cleaned = clean_detail(text, "secret-of-ours")

    hidden = [KEY, "sk-pr", "abc.def", "10.0.0.7", "model.internal", "secret-of-ours", "://"]
    hidden += ["swordfish", "gpu-7", "fd00", "backend", "vllm", "AIza"]
    assert [word for word in hidden if word in cleaned] == []


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit reached for gpt-4.1-mini on tokens per min (TPM): limit 30000, used 29000.",
        "max_tokens:128000 is more than claude-sonnet-4.5 has; see the host, or the local admin.",
        "Expected 3.5 to 4.25, got 'model': null.",
    ],
)
def test_words_without_secrets_stay_as_they_are(text: str) -> None:
    assert clean_detail(text, "secret-of-ours") == text


def test_the_code_and_the_words_of_an_error_stand_apart_from_its_status() -> None:
    body = b'{"error": {"message": "Slow down.", "type": "requests", "code": 429}}'

    error = error_from_response(429, {"Retry-After": "7"}, body, secret=None)
    error.request_id = "req_123"

    assert error.report == {
        "status": 429,
        "code": "requests",
        "message": "Slow down.",
        "retry_after_seconds": 7,
        "request_id": "req_123",
    }
    assert error.log_fields == {"status": 429, "provider_message": "Slow down.", "provider_request_id": "req_123"}
    assert ModelError().report == {}
