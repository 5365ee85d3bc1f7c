"""Tools: what a model is told about a function, and that nothing a tool does gets past its outcome."""

from __future__ import annotations

import asyncio
import enum
import json
import os
import threading
import time
from datetime import UTC, date, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from agents.domain.model_messages import ToolSpec
from agents.domain.states import WaitReason
from agents.domain.waits import Park
from agents.tools import Tool, ToolContext, ToolError, tool
from agents.tools.outcomes import truncate
from agents.tools.tool import MAX_RESULT_BYTES, ToolOutcome
from agents.tools.toolbox import Toolbox, ToolLoadFailed, installed_tools
from foundation.http import GuardedClient, allowed_origin
from tests.support import isolated_tools

USER = 17
SESSION, TURN = UUID(int=1), UUID(int=2)


class Unit(enum.StrEnum):
    METRE = "m"
    FOOT = "ft"


class Place(BaseModel):
    title: str
    floors: list[int] = []


@tool(idempotent=True, writes=False)
def measure(
    context: ToolContext,
    place: Place,
    unit: Unit = Unit.METRE,
    mode: Literal["fast", "slow"] = "fast",
    limit: Annotated[int, Field(ge=1, le=9)] = 3,
    when: date | None = None,
) -> dict[str, Any]:
    """Measure a place.

    It takes a while.

    Args:
        place: Where.
        unit: In which
            unit.
        limit: How much.
    """
    return {"step": context.step_key, "place": place.title, "unit": unit, "limit": limit, "when": when, "mode": mode}


async def call(subject: Tool, arguments: Any = None, **fields: Any) -> ToolOutcome:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    box = Toolbox([subject], **fields)
    try:
        return await box.call(
            subject.name, text, session_id=SESSION, turn_id=TURN, user_id=USER, step=4, allowed=[subject.name]
        )
    finally:
        await box.aclose()


# --- what a model is told ---


def test_the_schema_and_the_description_come_from_the_function() -> None:
    spec = measure.spec

    assert (spec.name, spec.description) == ("measure", "Measure a place.\n\nIt takes a while.")
    assert spec.parameters["required"] == ["place"]
    assert spec.parameters["additionalProperties"] is False
    properties = spec.parameters["properties"]
    assert set(properties) == {"place", "unit", "mode", "limit", "when"}
    assert properties["unit"]["description"] == "In which unit."
    assert properties["limit"] == {
        "description": "How much.",
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "default": 3,
    }
    assert properties["mode"]["enum"] == ["fast", "slow"]
    assert set(spec.parameters["$defs"]["Place"]["properties"]) == {"title", "floors"}
    json.dumps(spec.parameters)


def test_a_tool_without_arguments_has_an_empty_object_as_schema() -> None:
    @tool(idempotent=True, writes=False)
    def ping() -> str:
        """Say pong."""
        return "pong"

    assert ping.spec == ToolSpec(
        "ping", "Say pong.", {"type": "object", "properties": {}, "additionalProperties": False}
    )


def test_a_function_that_cannot_be_described_is_no_tool() -> None:
    def undocumented(text: str) -> str:
        return text

    def untyped(text) -> str:  # type: ignore[no-untyped-def]
        """Say it."""
        return str(text)

    def open_ended(*texts: str) -> str:
        """Say them."""
        return "".join(texts)

    def misdescribed(text: str) -> str:
        """Say it.

        Args:
            txt: What.
        """
        return text

    for function in (undocumented, untyped, open_ended, misdescribed):
        with pytest.raises(TypeError):
            tool(idempotent=True, writes=False)(function)
    with pytest.raises(TypeError):
        tool(idempotent=True, writes=False, name="no name")(misdescribed)


def test_arguments_may_have_any_name() -> None:
    @tool(idempotent=True, writes=False)
    def odd(json: str, copy: int, title: str) -> str:
        """Be odd.

        Args:
            title: A title.
        """
        return f"{json}{copy}{title}"

    assert set(odd.spec.parameters["properties"]) == {"json", "copy", "title"}
    assert odd.arguments.read('{"json": "a", "copy": 1, "title": "b"}') == {"json": "a", "copy": 1, "title": "b"}


# --- calls ---


async def test_arguments_arrive_typed_and_defaults_are_filled_in() -> None:
    outcome = await call(measure, {"place": {"title": "Attic"}, "unit": "ft", "when": "2026-11-22"})

    assert not outcome.is_error
    assert json.loads(outcome.content) == {
        "step": f"{TURN}:4",
        "place": "Attic",
        "unit": "ft",
        "limit": 3,
        "when": "2026-11-22",
        "mode": "fast",
    }


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        ("{broken", "JSON"),
        ("[]", "object"),
        ('"text"', "object"),
        ("{}", "place"),
        ("", "place"),
        ("null", "place"),
        ({"place": {"title": 5}}, "place.title"),
        ({"place": {"title": "x"}, "limit": "3"}, "limit"),
        ({"place": {"title": "x"}, "limit": 10}, "limit"),
        ({"place": {"title": "x"}, "limit": True}, "limit"),
        ({"place": {"title": "x"}, "mode": "odd"}, "mode"),
        ({"place": {"title": "x"}, "invented": 1}, "invented"),
        ({"place": {"title": "x"}, "context": {}}, "context"),
        ("[" * 5000, "JSON"),
        ('{"place": "' + "x" * 300_000 + '"}', "longer"),
        ('{"place": "\ud800"}', "unicode"),
        ({"place": {"title": "x", "floors": [{}] * 4000}}, "4000 problems"),
        ({"place": {"title": "x", "floors": [1] * 6000}}, "more than 5000 values"),
        ({"place": {"title": '",' * 6000}, "unit": "x"}, "unit"),
    ],
)
async def test_arguments_that_do_not_fit_are_explained_to_the_model(arguments: Any, about: str) -> None:
    outcome = await call(measure, arguments)

    assert outcome.is_error
    assert about in outcome.content
    assert len(outcome.content) < 1200


@pytest.mark.parametrize("name", ["measure", "invented", "", "x" * 1000, "__class__"])
async def test_a_tool_that_is_not_allowed_does_not_exist(name: str) -> None:
    box = Toolbox([measure])

    outcome = await box.call(name, "{}", session_id=SESSION, turn_id=TURN, user_id=USER, step=1, allowed=["other"])

    assert outcome.is_error
    assert "no tool" in outcome.content
    assert len(outcome.content) < 200
    await box.aclose()


async def test_sync_tools_run_beside_the_event_loop_and_async_ones_in_it() -> None:
    @tool(idempotent=True, writes=False)
    def where() -> str:
        """Tell the thread."""
        return threading.current_thread().name

    @tool(idempotent=True, writes=False)
    async def here() -> str:
        """Tell the thread."""
        return threading.current_thread().name

    assert (await call(where)).content != threading.current_thread().name
    assert (await call(here)).content == threading.current_thread().name


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_tool_that_must_wait_says_so_to_the_engine_and_not_to_the_model(in_thread: bool) -> None:
    wait = Park(datetime(2100, 1, 1, tzinfo=UTC), WaitReason.APPROVAL)

    def waits() -> str:
        """Wait."""
        raise wait

    async def waits_too() -> str:
        """Wait."""
        raise wait

    made = tool(idempotent=False, writes=True)(waits if in_thread else waits_too)
    with pytest.raises(Park) as raised:
        await call(made)
    assert raised.value is wait


FAULTS: list[tuple[BaseException, str]] = [
    (ToolError("The shop is closed."), "The shop is closed."),
    (ValueError("secret-in-message"), "The tool failed (ValueError)."),
    (RecursionError(), "The tool failed (RecursionError)."),
    (MemoryError(), "The tool failed (MemoryError)."),
    (SystemExit(3), "The tool failed (SystemExit)."),
    (StopIteration(), "The tool failed (RuntimeError)."),
    (TimeoutError(), "The tool failed (TimeoutError)."),
    (asyncio.CancelledError(), "The tool was interrupted."),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS, ids=lambda value: type(value).__name__)
async def test_a_tool_that_fails_tells_the_model_and_nobody_else(fault: BaseException, words: str) -> None:
    @tool(idempotent=True, writes=False)
    def fails() -> str:
        """Fail."""
        raise fault

    assert await call(fails) == ToolOutcome(words, is_error=True)


@pytest.mark.parametrize(("fault", "words"), FAULTS)
async def test_an_async_tool_that_fails_does_so_too(fault: BaseException, words: str) -> None:
    @tool(idempotent=True, writes=False)
    async def fails() -> str:
        """Fail."""
        raise fault

    assert await call(fails) == ToolOutcome(words, is_error=True)


async def test_a_tool_that_takes_too_long_is_given_up() -> None:
    @tool(idempotent=True, writes=False, timeout_seconds=0.05)
    async def slow() -> str:
        """Wait."""
        await asyncio.get_running_loop().create_future()
        return "never"

    assert (await call(slow)).content == "The tool did not finish within 0.05 seconds."


async def test_a_thread_that_hangs_is_given_up_and_its_effect_is_left_open() -> None:
    let_go = threading.Event()

    @tool(idempotent=False, writes=True, timeout_seconds=0.05)
    def stuck() -> str:
        """Hang."""
        let_go.wait(10)
        return "late"

    outcome = await call(stuck)
    let_go.set()

    assert outcome.is_error
    assert "may still have taken effect" in outcome.content


async def test_cancelling_the_caller_is_passed_on() -> None:
    begun = asyncio.Event()

    @tool(idempotent=True, writes=False)
    async def waits() -> str:
        """Wait."""
        begun.set()
        await asyncio.get_running_loop().create_future()
        return "never"

    calling = asyncio.create_task(call(waits))
    await begun.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_one_of_several_parallel_calls_fails_alone() -> None:
    box = Toolbox()
    calls = [("calculator", '{"expression": "1/0"}'), ("clock", "{}"), ("calculator", '{"expression": "6*7"}')]

    outcomes = await asyncio.gather(
        *(
            box.call(name, arguments, session_id=SESSION, turn_id=TURN, user_id=USER, step=step, allowed=box.names)
            for step, (name, arguments) in enumerate(calls)
        )
    )

    assert [outcome.is_error for outcome in outcomes] == [True, False, False]
    assert outcomes[2].content == "42"
    await box.aclose()


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("text", "text"),
        ("", ""),
        (None, "Done."),
        (5, "5"),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        (date(2026, 11, 22), '"2026-11-22"'),
        ("a\x00b\ud800", "a\ufffdb\ufffd"),
        ({1}, "[1]"),
    ],
)
async def test_every_result_becomes_text_that_a_row_can_hold(result: Any, content: str) -> None:
    @tool(idempotent=True, writes=False)
    def gives() -> Any:
        """Give."""
        return result

    assert (await call(gives)).content == content


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 16_000, "🐎" * 5000, "\ud800" * 9000])
async def test_a_long_result_is_cut_with_a_mark(text: str) -> None:
    @tool(idempotent=True, writes=False)
    def gives() -> str:
        """Give."""
        return text

    outcome = await call(gives)

    assert MAX_RESULT_BYTES - 4 <= len(outcome.content.encode()) <= MAX_RESULT_BYTES
    assert outcome.content.endswith("[cut: only the first 16 KiB are here]")


# --- the toolbox ---


def test_the_box_describes_what_is_asked_for_and_skips_what_is_not_there() -> None:
    box = Toolbox()

    memory_tools = {"remember", "recall", "forget", "add_task", "finish_task", "note"}
    assert box.names == {"clock", "calculator", "http_fetch", "notebook_add", "request_human", *memory_tools}
    assert [spec.name for spec in box.specs(["calculator", "gone", "clock"])] == ["calculator", "clock"]
    assert [box.is_idempotent(name) for name in ("clock", "notebook_add", "gone")] == [True, False, True]


def test_installed_packages_bring_tools_and_broken_ones_stop_the_start() -> None:
    def entry(value: str) -> list[EntryPoint]:
        return [EntryPoint("any", value, "bandstand.tools")]

    assert measure in installed_tools(entry(f"{__name__}:measure"))
    for broken in (f"{__name__}:call", f"{__name__}:nothing", "no.such.module:x", "agents.tools.builtin:clock"):
        with pytest.raises(ToolLoadFailed):
            installed_tools(entry(broken))


# --- the built-in ones ---


async def built_in(name: str, arguments: dict[str, Any], **fields: Any) -> ToolOutcome:
    box = Toolbox(**fields)
    try:
        return await box.call(
            name, json.dumps(arguments), session_id=SESSION, turn_id=TURN, user_id=USER, step=4, allowed=[name]
        )
    finally:
        await box.aclose()


async def test_the_clock_tells_the_time_where_it_is_asked_for() -> None:
    utc = await built_in("clock", {})
    zurich = await built_in("clock", {"timezone": "Europe/Zurich"})

    assert utc.content.endswith("+0000 (UTC)")
    assert zurich.content.endswith(("+0100 (Europe/Zurich)", "+0200 (Europe/Zurich)"))


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../../etc/passwd", "/etc/passwd", "Europe", "a\x00b", "%s"])
async def test_the_clock_knows_no_other_zones(zone: str) -> None:
    assert (await built_in("clock", {"timezone": zone})).content.startswith("There is no such time zone.")


async def test_the_notebook_keeps_each_line_with_its_step(tmp_path: Path) -> None:
    for text in ("one", "zwei\nlines"):
        assert not (await built_in("notebook_add", {"text": text}, data_dir=tmp_path)).is_error

    path = tmp_path / "demo-notebook.log"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["text"] for line in lines] == ["one", "zwei\nlines"]
    assert {line["step_key"] for line in lines} == {f"{TURN}:4"}
    assert path.stat().st_mode & 0o777 == 0o600


async def test_the_notebook_says_when_it_cannot_write(tmp_path: Path) -> None:
    assert (await built_in("notebook_add", {"text": "x"})).is_error
    assert (await built_in("notebook_add", {"text": "x"}, data_dir=tmp_path / "gone")).is_error
    assert (await built_in("notebook_add", {"text": ""}, data_dir=tmp_path)).is_error
    assert (await built_in("notebook_add", {"text": "x" * 2001}, data_dir=tmp_path)).is_error
    assert os.listdir(tmp_path) == []


async def fetched(answer: bytes) -> ToolOutcome:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()
        served.set()

    served = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, GuardedClient(allow_origins=frozenset({allowed_origin(address)})) as client:
        outcome = await built_in("http_fetch", {"url": address}, client=client)
        await served.wait()
    return outcome


def page(kind: str, body: bytes, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (page("text/plain", b"hello"), "hello"),
        (page("text/html; charset=latin-1", "é".encode("latin-1")), "é"),
        (page("application/ld+json", b"{}"), "{}"),
        (page("text/plain; charset=nonsense", "é".encode()), "é"),
        (page("text/plain;charset='UTF-16LE'", "é".encode("utf-16-le")), "é"),
        (page("text/plain; charset=punycode", b"a-" + b"9" * 32_768), "a-" + "9" * 32_766),
        (page("text/plain; charset=unicode_escape", rb"\x41"), rb"\x41".decode()),
        (page("text/plain", b"\xff"), "\ufffd"),
    ],
)
async def test_fetch_reads_text(answer: bytes, content: str) -> None:
    assert await fetched(answer) == ToolOutcome(truncate(content), is_error=False)


async def test_no_page_occupies_the_loop_for_long() -> None:
    for answer in (
        page("text/html; charset=punycode", b"a-" + b"9" * 200_000),
        page("text/html;" + ";" * 7900, b"x"),
        page("text/html; a=" + "(" * 7900, b"x"),
        page("text/html; charset=windows-1253", b"\xff" * 200_000),
    ):
        began = time.process_time()
        assert not (await fetched(answer)).is_error
        assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "answer", [page("image/png", b"\x89PNG"), page("text/plain", b"no", 404), page("text/plain", b"no", 503)]
)
async def test_fetch_takes_nothing_else(answer: bytes) -> None:
    assert (await fetched(answer)).is_error


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://169.254.169.254/latest/", "file:///etc/passwd", "nonsense"]
)
async def test_fetch_does_not_look_behind_our_walls(url: str) -> None:
    outcome = await built_in("http_fetch", {"url": url})

    assert outcome.is_error


# --- isolated tools ---


async def test_an_isolated_tool_runs_in_a_process_without_anything_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    tools = (isolated_tools.surroundings, isolated_tools.refuse, isolated_tools.burst, isolated_tools.sleep_long)
    box = Toolbox(tools, compute_memory_mb=64)

    async def answer(name: str, arguments: str = "{}") -> ToolOutcome:
        return await box.call(
            name, arguments, session_id=SESSION, turn_id=TURN, user_id=USER, step=4, allowed=box.names
        )

    try:
        outcomes = await asyncio.gather(
            answer("surroundings", '{"text": "é"}'),
            answer("surroundings", '{"text": 5}'),
            answer("refuse"),
            answer("burst", '{"how": "error"}'),
            answer("burst", '{"how": "memory"}'),
            answer("burst", '{"how": "exit"}'),
            answer("burst", '{"how": "long"}'),
            answer("sleep_long"),
        )
    finally:
        await box.aclose()
    shown = json.loads(outcomes[0].content)
    assert shown["pid"] != os.getpid()
    assert shown["environment"] in ([], ["LC_CTYPE"])
    assert (shown["text"], shown["step"], shown["client"], shown["folder"]) == ("é", f"{TURN}:4", None, None)
    assert "text: Input should be a valid string" in outcomes[1].content
    assert outcomes[2] == ToolOutcome("Not today.", is_error=True)
    assert outcomes[3] == ToolOutcome("The tool failed.", is_error=True)
    assert outcomes[4] == ToolOutcome("The tool needs more memory than it may use.", is_error=True)
    assert outcomes[5] == ToolOutcome("The tool's process ended before it was finished.", is_error=True)
    assert MAX_RESULT_BYTES - 4 <= len(outcomes[6].content.encode()) <= MAX_RESULT_BYTES
    assert outcomes[7].content == "The tool did not finish within 0.5 seconds. It may still have taken effect."


def test_only_a_plain_function_of_a_module_can_be_isolated() -> None:
    async def waits() -> str:
        """Wait."""
        return ""

    def inner() -> str:
        """Be inside."""
        return ""

    for function in (waits, inner):
        with pytest.raises(TypeError, match="isolated"):
            tool(idempotent=True, writes=False, isolated=True)(function)
