"""One's own account in a browser: a key is made, copied and revoked, and the page keeps to its policy and its width."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import DARK, NARROW
from tests.browser.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("options", [DARK, NARROW], ids=["dark", "phone"])
async def test_a_key_is_made_copied_and_revoked(arrive: Arrive, options: dict[str, object]) -> None:
    chat = await (await arrive("ada", **options)).chat()
    page = chat.page
    await page.goto(f"{chat.base}/account/")
    await page.get_by_text("Make a key", exact=True).click()
    await page.get_by_label("What it is for").fill("a report")
    await page.get_by_role("button", name="Make the key").click()
    shown = page.get_by_label("The new key")
    plain = await shown.input_value()
    assert plain.startswith("bs_")
    await page.get_by_role("button", name="Copy", exact=True).click()
    await expect(page.locator("[data-copy]")).to_have_text(re.compile("Copied|Press"))
    needed, there = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert needed <= there
    await page.goto(f"{chat.base}/account/")
    await expect(shown).to_have_count(0)
    await page.get_by_text("Revoke", exact=True).first.click()
    await page.get_by_role("button", name="Revoke the key a report").first.click()
    await expect(page.get_by_role("status")).to_contain_text("The key a report is revoked.")
    assert await chat.violations() == []


@pytest.mark.parametrize("options", [DARK, NARROW], ids=["dark", "phone"])
async def test_how_much_of_a_budget_is_left_is_said_where_it_matters(
    stack: Stack, arrive: Arrive, options: dict[str, object]
) -> None:
    stack.seed("tests.browser.used_budgets_seed")
    chat = await (await arrive("fred", **options)).chat()
    page, bar = chat.page, chat.page.get_by_role("region", name="Budget")
    await expect(bar).to_contain_text("85 % of your budget for this month is used. It begins anew: ")
    await expect(bar.get_by_role("meter", name="Used: 85 %")).to_be_visible()
    needed, there = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert needed <= there
    await bar.get_by_role("link", name="How much is left").press("Enter")
    await expect(page.locator(".account__budgets")).to_contain_text("150,000 of 1,000,000 tokens left")
    needed, there = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert needed <= there
    await chat.open()
    await bar.get_by_role("button", name="Dismiss").press("Enter")
    await expect(bar).to_be_hidden()
    await page.reload()
    await expect(page.locator("#new-chat")).to_be_attached()
    await expect(bar).to_be_hidden()
    refused = await (await arrive("gina", **options)).chat()
    await refused.say("Hello")
    await expect(refused.page.get_by_role("alert")).to_contain_text("Your budget is used up. It begins anew: ")
    await expect(refused.page.locator("#text")).to_have_value("Hello")
    short = await (await arrive("hugo", **options)).chat()
    await short.say("Hello")
    failure = short.page.locator(".failure")
    await expect(failure).to_contain_text("The budget for this is used up. It begins anew: ")
    await expect(failure.get_by_role("button", name="Try again")).to_be_visible()
    for visited in (chat, refused, short):
        assert await visited.violations() == []


_REMEMBER = """
async (count) => {
  const { addMemory } = await import("/static/bandstand/memories/api.js");
  for (let number = 0; number < count; number += 1) await addMemory(`The box number ${number} stands in the cellar`);
}
"""


async def test_a_corrected_memory_keeps_its_place_and_the_focus(arrive: Arrive) -> None:
    chat = await (await arrive("ada", **NARROW)).chat()
    page = chat.page
    await page.goto(f"{chat.base}/memories/")
    await page.evaluate(_REMEMBER, 12)
    await page.reload()
    tenth = page.locator(".memory").nth(9)
    await tenth.get_by_role("button", name=re.compile("^Correct")).press("Enter")
    await tenth.locator("textarea").fill("The box is empty")
    scrolled = await page.evaluate("scrollY")
    assert scrolled > 0
    await tenth.get_by_role("button", name="Save").press("Enter")
    await expect(tenth.locator(".memory__text")).to_have_text("The box is empty")
    await expect(tenth.get_by_role("button", name="Correct: The box is empty")).to_be_focused()
    assert abs(await page.evaluate("scrollY") - scrolled) < 60  # the form was higher than the text
    await expect(page.locator(".memory")).to_have_count(12)
