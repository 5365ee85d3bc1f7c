"""An operator watches a conversation and steps in, in a real browser."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import DARK, NARROW, Console
from tests.browser.visitor import Chat

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("furnished")]

# What people call live.
LIVE_SECONDS = 2.0
PAGES = (
    "agents/turn/?state=failed",
    "agents/turn/{sample_failed}/change/",
    "agents/agentsession/",
    "agents/agentsession/{sample_session}/change/",
    "agents/agentsession/{sample_session}/fork/",
)


async def words_of(page: Page) -> str:
    return await page.locator(".bs-turn").last.inner_text()


async def demo_chat(arrive: Arrive) -> Chat:
    """A chat with the demo agent, begun."""
    chat = await (await arrive("ada")).chat()
    await chat.ask("calculate 2+3*4")
    return chat


async def test_lists_and_transcripts_keep_to_their_policy_and_width(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    for path in PAGES:
        await console.go_in_order(path)


@pytest.mark.parametrize("options", [DARK, NARROW], ids=["dark", "phone"])
@pytest.mark.parametrize("path", ["", "agents/turn/?state=failed", "agents/agentsession/{sample_session}/change/"])
async def test_pages_that_begin_in_the_dark_or_on_a_phone_keep_to_them_too(
    arrive: Arrive, options: dict[str, object], path: str
) -> None:
    console = await Console.open(await arrive("olga", **options))
    await console.go(path)
    await console.fits(path)


async def test_the_page_follows_a_turn_and_an_operator_sets_it_aside(arrive: Arrive) -> None:
    chat = await demo_chat(arrive)
    console = await Console.open(await arrive("olga"))
    await console.go(f"agents/agentsession/{chat.session}/change/")
    page = console.page
    await chat.say("[[offline words=400 pace_ms=60]]")
    await expect(chat.answers.last).to_contain_text("offline")
    began = time.monotonic()
    await expect(page.locator(".bs-turn").last).to_contain_text("offline models")
    assert time.monotonic() - began < LIVE_SECONDS
    before = len(await words_of(page))
    await expect(page.locator(".bs-turn").last).to_contain_text("tests are made of")
    await page.wait_for_function(
        "before => document.querySelector('.bs-turn:last-child').innerText.length > before + 20", arg=before
    )
    await page.locator(".bs-turn").last.get_by_role("button", name="Fail turn").click()
    await page.get_by_role("button", name="Yes, fail turn").click()
    await expect(page.get_by_text("Failed: 1.")).to_be_visible()
    await expect(page.locator(".bs-turn").last).to_contain_text("set_aside")
    await expect(chat.page.locator(".failure")).to_contain_text("An operator ended the work on this message.")
    # Its session goes on.
    await chat.ask("calculate 1+1")
    await expect(page.locator(".bs-turn").last).to_contain_text("calculate 1+1")
    assert await console.violations() == []


async def test_the_page_says_when_it_hears_nothing_and_goes_on_by_itself(arrive: Arrive) -> None:
    chat = await demo_chat(arrive)
    visitor = await arrive("olga")
    console = await Console.open(visitor)
    await console.go(f"agents/agentsession/{chat.session}/change/")
    pulse = console.page.locator(".bs-transcript__pulse")
    await visitor.context.set_offline(True)
    await expect(pulse).to_have_text("not reached; trying again")
    await visitor.context.set_offline(False)
    await expect(pulse).to_have_text("live")
    await visitor.context.clear_cookies()
    await expect(pulse).to_have_text("signed out")
