"""`python -m tests.browser.screenshots`: the pictures of the docs, made by having short conversations.

With `--folder` they go elsewhere. Everything is the product's own: the system is started, and the offline model speaks.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from tests.browser.chromium import chromium
from tests.browser.console_visit import take_pictures
from tests.browser.stack import Stack
from tests.browser.visitor import PHONE, Chat, Visitor
from tests.support import database

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screenshots"

LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2},
}


async def main(folder: Path, stack: Stack) -> None:
    async with chromium() as browser:
        for name, options in LOOKS.items():
            visitor = await Visitor.arrive(browser, stack, "grace", **options)
            chat = await visitor.chat(stack.seeded["plan"])
            await chat.answered(chat.answers.last)
            await _shoot(chat, folder / f"chat-{name}.png")
            await visitor.context.close()
        await _others(browser, stack, folder)
        await take_pictures(browser, stack, folder)


async def _others(browser: Browser, stack: Stack, folder: Path) -> None:
    visitor = await Visitor.arrive(browser, stack, "grace")
    chat = await visitor.chat()
    await chat.ask("What time is it in Europe/Zurich? Also calculate 12*31+7 and fetch https://example.invalid/menu")
    await chat.page.locator("details.tool summary").nth(1).click()
    await chat.page.locator("#scroller").evaluate("(node) => node.scrollTo(0, node.scrollHeight)")
    await _shoot(chat, folder / "chat-tools.png")
    chat = await visitor.chat()
    await chat.ask("Name one colour")
    await chat.page.get_by_role("button", name="Answer again").click()
    await expect(chat.page.locator(".answer .branches__count")).to_have_text("2/2")
    await chat.answered(chat.answers.last)
    await chat.answers.last.get_by_role("button", name="Good answer").click()
    await _shoot(chat, folder / "chat-branches.png")
    chat = await visitor.chat(stack.seeded["error"])
    await expect(chat.page.locator(".failure")).to_be_visible()
    await _shoot(chat, folder / "chat-error.png")
    await visitor.context.close()
    await _people(browser, stack, folder)


async def _people(browser: Browser, stack: Stack, folder: Path) -> None:
    stack.seed("tests.browser.people_seed")
    visitor = await Visitor.arrive(browser, stack, "clara")
    chat = await visitor.chat()
    await chat.page.locator("#agents label", has_text="Front desk").click()
    await chat.say("Note that we stay in room 12 for two nights, with breakfast at 7")
    await expect(chat.page.locator(".approval")).to_be_visible()
    await _shoot(chat, folder / "chat-approval.png")
    await chat.page.get_by_role("button", name="Approve").click()
    await chat.answered(chat.answers.last)
    await chat.page.locator("#ask-person").click()
    await chat.page.locator("#handoff").get_by_role("button", name="Ask a person").click()
    await chat.say("My last bill names a minibar that I did not use.")
    await expect(chat.answers).to_have_count(2)
    await chat.answered(chat.answers.last)
    words = "Good evening, Dora here. I am sorry: I have taken it **off the bill**, and sent you the new one."
    stack.operate("reply_as_human", chat.session, text=words, key="1")
    await expect(chat.page.locator(".answer--human")).to_be_visible()
    await chat.say("That was quick. Thank you!")
    await expect(chat.page.locator(".question__time")).to_have_count(3)
    await expect(chat.page.locator(".exchange--pending")).to_have_count(0)
    await _shoot(chat, folder / "chat-person.png")
    await visitor.context.close()


async def _shoot(chat: Chat, file: Path) -> None:
    await chat.page.mouse.move(0, 0)
    await chat.page.screenshot(path=file, scale="css", animations="disabled")


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    database.provide()
    with tempfile.TemporaryDirectory() as data, Stack(Path(data)) as stack:
        asyncio.run(main(folder, stack))
    print(f"The pictures are in {folder}.")


if __name__ == "__main__":
    run()
