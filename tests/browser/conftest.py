"""One start of the system and one browser for the whole folder; windows of their own for each test."""

from __future__ import annotations

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


@pytest_asyncio.fixture(loop_scope="session")
async def arrive(browser: Browser, stack: Stack) -> AsyncIterator[Arrive]:
    """`await arrive(name, **options)` is a visitor. At the end none may have asked others or complained."""
    visitors: list[Visitor] = []

    async def one(name: str | None = "ada", **options: Any) -> Visitor:
        visitors.append(await Visitor.arrive(browser, stack, name, **options))
        return visitors[-1]

    yield one
    for visitor in visitors:
        await visitor.context.close()
    assert [visitor.outside for visitor in visitors] == [[]] * len(visitors)
    assert [visitor.faults for visitor in visitors] == [[]] * len(visitors)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def regular(browser: Browser, stack: Stack) -> AsyncIterator[Visitor]:
    """A visitor for one test after the other; see `ada`."""
    visitor = await Visitor.arrive(browser, stack, None)
    yield visitor
    await visitor.context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def ada(regular: Visitor) -> AsyncIterator[Visitor]:
    """Ada with a browser that remembers nothing. At the end she may not have asked others, nor scripts complained."""
    await regular.log_in("ada")
    yield regular
    await regular.leave()
    outside, faults = regular.outside[:], regular.faults[:]
    regular.outside.clear()
    regular.faults.clear()
    assert outside == []
    assert faults == []


@pytest_asyncio.fixture(loop_scope="session")
async def chat(ada: Visitor) -> Chat:
    """A window with a new chat."""
    return await ada.chat()
