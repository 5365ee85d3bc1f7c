"""Odd answers of model servers, byte for byte: `corpus/*.http` is what a server sent, `*.json` what it must be read as.

`source` is the public report or document that the case comes from, or the case whose relative it is. `then`: what the
server does after the last byte (`close` it unless it says otherwise). `usage` lists input, output, cached and
reasoning tokens; the last two are 0 where they are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import orjson
import pytest

from agents.llm.errors import ModelError
from agents.llm.interface import (
    ChatMessage,
    Deadlines,
    Finished,
    FirstToken,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolSpec,
    UsageUpdate,
)
from agents.llm.openai import OpenAIConfig, OpenAIModel
from foundation.http import GuardedClient, allowed_origin

CASES = sorted(path.stem for path in Path(__file__).with_name("corpus").glob("*.http"))
REQUEST = ModelRequest(
    "m",
    (ChatMessage("user", "Hello"),),
    tuple(ToolSpec(name, "", {"type": "object"}) for name in ("clock", "calculator")),
    deadlines=Deadlines(silence_seconds=20),
)


@asynccontextmanager
async def server(response: bytes, *, then: str, pieces: int) -> AsyncIterator[str]:
    """The base URL of a server that answers every request with `response`, cut into so many pieces."""
    size = -(-len(response) // pieces)
    parts = [response[start : start + size] for start in range(0, len(response), size)]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        for part in parts:
            writer.write(part)
            await writer.drain()
            # The reader has its turn.
            await asyncio.sleep(0)
        if then == "hold":
            await reader.read()
        if then == "reset":
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()

    writers: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read(name: str, *, pieces: int = 1) -> dict[str, Any]:
    """What the adapter makes of a case, in the words of its expectation."""
    raw, expected = (Path(__file__).with_name("corpus") / f"{name}.http").read_bytes(), expectation(name)
    read: dict[str, Any] = {"text": "", "reasoning": "", "usage": None}
    async with (
        server(raw, then=expected.get("then", "close"), pieces=pieces) as url,
        GuardedClient(allow_origins=frozenset({allowed_origin(url)})) as client,
    ):
        begun = False
        try:
            async with aclosing(OpenAIModel(OpenAIConfig("sk-test", url), client).stream(REQUEST)) as events:
                async for event in events:
                    if isinstance(event, FirstToken):
                        assert not begun
                        begun = True
                    elif isinstance(event, TextDelta):
                        assert begun
                        read["text"] += event.text
                    elif isinstance(event, ReasoningDelta):
                        assert begun
                        read["reasoning"] += event.text
                    elif isinstance(event, UsageUpdate):
                        read["usage"] = event.usage
                    else:
                        read |= finished(event)
        except ModelError as error:
            read["error"] = str(error.error_class)
    if (usage := read["usage"]) is not None:
        read["usage"] = [usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens]
    return read


def finished(event: Finished) -> dict[str, Any]:
    return {
        "usage": event.usage,
        "finish_reason": event.finish_reason,
        "calls": [[call.name, call.arguments] for call in event.tool_calls],
        "ids": [call.id for call in event.tool_calls],
        "notes": event.notes,
        "extra_fields": event.extra_fields,
    }


def expectation(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads((Path(__file__).with_name("corpus") / f"{name}.json").read_bytes())
    return loaded


def check(name: str, read: dict[str, Any]) -> None:
    expected = expectation(name)
    assert expected.pop("source")
    expected.pop("then", None)
    # Every field is looked at: what is not expected must not be there.
    expected = {"text": "", "reasoning": "", "calls": [], "notes": {}, "extra_fields": {}, **expected}
    if "error" in expected:
        expected = {key: value for key, value in expected.items() if key not in ("calls", "notes", "extra_fields")}
    if (usage := expected.get("usage")) is not None:
        expected["usage"] = [*usage, *[0] * (4 - len(usage))]
    assert {key: read.get(key) for key in expected} == expected
    assert ("error" in read) == ("error" in expected), read.get("error")


@pytest.mark.parametrize("name", CASES)
async def test_an_odd_answer_is_read_for_what_it_is(name: str) -> None:
    check(name, await read(name))


@pytest.mark.parametrize("name", CASES)
async def test_and_so_it_is_in_any_pieces(name: str) -> None:
    check(name, await read(name, pieces=97))


def test_each_case_has_its_two_files() -> None:
    files: Sequence[Path] = sorted(Path(__file__).with_name("corpus").iterdir())
    assert sorted(path.name for path in files) == sorted(f"{name}{end}" for name in CASES for end in (".http", ".json"))
    assert len(CASES) > 100
