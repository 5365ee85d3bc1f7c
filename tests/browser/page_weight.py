"""What a page costs over the wire for a browser that has nothing of it: `python -m tests.browser.page_weight`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, CDPSession, expect

from tests.browser.chromium import chromium
from tests.browser.console_visit import FURNITURE, Console
from tests.browser.stack import Stack
from tests.browser.visitor import Visitor
from tests.support import database

PAGES = {
    "console list": ("olga", "agents/turn/"),
    "console start page": ("olga", ""),
}


@dataclass
class Weight:
    """The files of one page: their addresses with the bytes that came for each, headers included."""

    files: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.files.values())

    def lines(self, name: str) -> Iterator[str]:
        """A heading, and a line for each file, the heaviest first."""
        yield f"{name}: {self.total / 1000:.0f} KB in {len(self.files)} requests"
        for address, size in sorted(self.files.items(), key=lambda item: -item[1]):
            yield f"  {size:>8,}  {urlsplit(address).path}"


@contextmanager
def weigh(session: CDPSession) -> Iterator[Weight]:
    """Count what the page of `session` asks for from now on. What came from a cache counts nothing."""
    weight = Weight()
    addresses: dict[str, str] = {}

    def asked(event: dict[str, Any]) -> None:
        addresses[event["requestId"]] = event["request"]["url"]

    def finished(event: dict[str, Any]) -> None:
        if address := addresses.get(event["requestId"]):
            weight.files[address] = weight.files.get(address, 0) + int(event["encodedDataLength"])

    session.on("Network.requestWillBeSent", asked)
    session.on("Network.loadingFinished", finished)
    yield weight
    session.remove_listener("Network.requestWillBeSent", asked)
    session.remove_listener("Network.loadingFinished", finished)


async def console_weight(browser: Browser, stack: Stack, who: str, path: str) -> Weight:
    """The weight of a page of the console, in a new browser."""
    visitor = await Visitor.arrive(browser, stack, who)
    console = await Console.open(visitor)
    session = await visitor.context.new_cdp_session(console.page)
    await session.send("Network.enable")
    with weigh(session) as weight:
        await console.go(path)
        await console.page.wait_for_load_state("networkidle")
    await visitor.context.close()
    return weight


async def chat_weight(browser: Browser, stack: Stack, who: str) -> Weight:
    """The weight of the chat page, in a new browser."""
    visitor = await Visitor.arrive(browser, stack, who)
    page = await visitor.context.new_page()
    session = await visitor.context.new_cdp_session(page)
    await session.send("Network.enable")
    with weigh(session) as weight:
        await page.goto(f"{stack.base}/")
        await expect(page.locator("#agents label").first).to_be_attached()
        await page.wait_for_load_state("networkidle")
    await visitor.context.close()
    return weight


async def main(stack: Stack) -> None:
    stack.seed(*FURNITURE)
    async with chromium() as browser:
        for line in (await chat_weight(browser, stack, "ada")).lines("chat"):
            print(line)
        for name, (who, path) in PAGES.items():
            for line in (await console_weight(browser, stack, who, path)).lines(name):
                print(line)


def run() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    database.provide()
    with tempfile.TemporaryDirectory() as data, Stack(Path(data)) as stack:
        asyncio.run(main(stack))


if __name__ == "__main__":
    run()
