"""A kept connection that the server closes as our request crosses costs no turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from agents.llm.errors import ModelError
from agents.llm.interface import ChatMessage, Finished, ModelRequest
from agents.llm.openai import OpenAIConfig, OpenAIModel
from foundation.http import GuardedClient, allowed_origin

CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(CHUNK), CHUNK)


class ClosingServer:
    """Answers so many requests on a connection, then closes it when the next one has arrived."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.connections = self.requests = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for number in range(self.answers + 1):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                self.requests += 1
                if number < self.answers:
                    writer.write(ANSWER)
        writer.close()


@pytest_asyncio.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ClosingServer, OpenAIModel]]:
    closing = ClosingServer(request.param)
    listening = await asyncio.start_server(closing.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    async with listening, GuardedClient(allow_origins=frozenset({allowed_origin(url)})) as client:
        yield closing, OpenAIModel(OpenAIConfig("sk-test", url), client)
    for writer in closing.writers:
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(model: OpenAIModel) -> None:
    async with aclosing(model.stream(ModelRequest("m", (ChatMessage("user", "Hello"),)))) as events:
        [*_, finished] = [event async for event in events]
    assert isinstance(finished, Finished)


@pytest.mark.parametrize("server", [1], indirect=True)
async def test_the_request_is_sent_again_on_a_connection_of_its_own(
    server: tuple[ClosingServer, OpenAIModel],
) -> None:
    closing, model = server

    for _ in range(4):
        await ask(model)

    # Each second question found its kept connection closed, and no question was lost.
    assert closing.requests > 4
    assert closing.connections >= 3


@pytest.mark.parametrize("server", [0], indirect=True)
async def test_a_new_connection_that_is_closed_is_a_failure(server: tuple[ClosingServer, OpenAIModel]) -> None:
    closing, model = server

    with pytest.raises(ModelError) as failure:
        await ask(model)

    assert (failure.value.error_class, closing.requests) == ("transient", 1)
