"""One start of the system and one browser for the whole folder; people and windows go from one test to the next."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.chromium import chromium, executable
from tests.browser.console_visit import FURNITURE
from tests.browser.stack import Stack
from tests.browser.visitor import PATIENCE_MS, Chat, Visitor

Arrive = Callable[..., Awaitable[Visitor]]
IdleVisitors = defaultdict[str, list[Visitor]]

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if executable() is None:
        pytest.skip("there is no Chromium here; install it, or say in CHROMIUM where it is")
    with Stack(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="session")
def furnished(stack: Stack) -> None:
    """With rows for the console, of friends and of an attacker."""
    stack.seed(*FURNITURE, "tests.browser.attack_seed")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(stack: Stack) -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def idle_visitors() -> AsyncIterator[IdleVisitors]:
    """Browsers between two tests, by their options."""
    idle: IdleVisitors = defaultdict(list)
    yield idle
    for alike in idle.values():
        for visitor in alike:
            await visitor.context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def arrive(browser: Browser, stack: Stack, idle_visitors: IdleVisitors) -> AsyncIterator[Arrive]:
    """`await arrive(name, **options)` is a visitor with a browser that remembers nothing.

    At the end none may have asked others or complained.
    """
    visitors: list[tuple[Visitor, list[Visitor]]] = []

    async def one(name: str | None = "ada", **options: Any) -> Visitor:
        idle = idle_visitors[json.dumps(options, sort_keys=True)]
        visitor = idle.pop() if idle else await Visitor.arrive(browser, stack, None, **options)
        visitors.append((visitor, idle))
        if name is not None:
            await visitor.log_in(name)
        return visitor

    yield one
    complaints = [await visitor.leave() for visitor, _ in visitors]
    for visitor, idle in visitors:
        idle.append(visitor)
    assert complaints == [([], [])] * len(visitors)


@pytest_asyncio.fixture(loop_scope="session")
async def ada(arrive: Arrive) -> Visitor:
    """A visitor who may use the chat."""
    return await arrive("ada")


@pytest_asyncio.fixture(loop_scope="session")
async def chat(ada: Visitor) -> Chat:
    """A window with a new chat."""
    return await ada.chat()
