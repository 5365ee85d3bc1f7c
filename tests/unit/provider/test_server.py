"""The fake provider itself: what it shows of what it has seen, and that it runs as a program."""

from __future__ import annotations

import asyncio
import sys

import orjson

from foundation.http import GuardedClient, allowed_origin
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.provider.script import script_for


def script(model: str = "fake", *said: str, **defaults: object) -> dict[str, object]:
    body = {"model": model, "messages": [{"role": "user", "content": text} for text in said]}
    return vars(script_for(body, dict(defaults)))


def test_later_sources_win_and_unknown_parts_of_a_name_do_not_matter() -> None:
    found = script("fake.tokens-5.v2-turbo.tps-20", "[[provider tokens=7]]", tokens=3, fault="cut")

    assert (found["tokens"], found["tps"], found["fault"]) == (7, 20, "cut")


def test_numbers_that_name_a_fault_are_text() -> None:
    assert script("fake.fault-429")["fault"] == "429"


async def test_it_shows_what_it_was_asked(provider: Provider) -> None:  # noqa: F811
    origin = allowed_origin(provider.base_url)
    async with GuardedClient(allow_origins=frozenset({origin})) as client:
        body = {"model": "fake.tokens-2", "messages": [{"role": "user", "content": "[[provider echo=yes]]"}]}
        async with client.session().post(f"{provider.base_url}/chat/completions", data=orjson.dumps(body)) as answer:
            completion = await answer.json()
        seen = orjson.loads((await client.fetch(f"http://{origin}/_requests")).body)
        await client.fetch(f"http://{origin}/_reset")

    assert completion["choices"][0]["message"]["content"] == "[[provider echo=yes]]"
    assert (seen["count"], seen["aborted"], seen["bodies"]) == (1, 0, [body])
    assert (provider.count, len(provider.requests)) == (0, 0)


async def test_it_runs_as_a_program_and_ends_when_asked() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.provider", "--port", "0", "--tokens", "3", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    origin = allowed_origin(address)
    async with GuardedClient(allow_origins=frozenset({origin})) as client:
        fetched = await client.fetch(f"{address}/models")
    process.terminate()

    assert fetched.status == 200
    assert await process.wait() == 0
