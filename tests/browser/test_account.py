"""One's own account in a browser: a key is made, copied and revoked, and the page keeps to its policy and its width."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import DARK, NARROW

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
