"""The start page keeps itself up to date in a real browser, and keeps what its reader does."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import DARK, NARROW, Console

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("furnished")]

SMALLEST = {"viewport": {"width": 320, "height": 640}}
# Ten seconds are a test's patience: the page's clock is set forward instead.
INTERVAL_MS = 10_000
AS_OF = ".bs-live__state time"


async def overview(arrive: Arrive, path: str = "?range=7d", **options: object) -> Console:
    console = await Console.open(await arrive("olga", **options))
    await console.page.clock.install()
    await console.go(path)
    return console


async def as_of(page: Page) -> str:
    return await page.locator(AS_OF).inner_text()


async def refreshed(page: Page) -> None:
    """Let ten seconds pass for the page, and wait for what it asked for."""
    async with page.expect_response(lambda response: "/admin/dashboard/" in response.url):
        await page.clock.fast_forward(INTERVAL_MS)


@pytest.mark.parametrize("options", [{}, DARK, NARROW, SMALLEST], ids=["light", "dark", "phone", "smallest"])
async def test_the_pages_keep_to_their_policy_and_width(arrive: Arrive, options: dict[str, object]) -> None:
    console = await Console.open(await arrive("olga", **options))
    for path in ("?range=30d", "patterns/?range=30d", "patterns/?range=30d&by=day"):
        await console.go(path)
        await console.fits(path)


async def test_the_page_keeps_up_to_date_and_keeps_what_is_open_and_where_its_reader_is(arrive: Arrive) -> None:
    console = await overview(arrive)
    page = console.page
    before = await as_of(page)
    table = page.locator("details[data-key=turns]")
    await table.locator("summary").click()
    link = page.locator(".bs-range__choices a").nth(2)
    await link.focus()
    place = await page.evaluate("scrollY")
    await refreshed(page)
    await expect(page.locator(AS_OF)).not_to_have_text(before)
    await expect(table).to_have_attribute("open", "")
    await expect(link).to_be_focused()
    assert await page.evaluate("scrollY") == place
    assert await console.violations() == []


async def test_a_page_that_nobody_sees_asks_for_nothing(arrive: Arrive) -> None:
    console = await overview(arrive)
    page = console.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    hide = "value => { Object.defineProperty(document, 'hidden', { value, configurable: true });"
    await page.evaluate(f"{hide} document.dispatchEvent(new Event('visibilitychange')); }}", True)
    await page.clock.fast_forward(5 * INTERVAL_MS)
    assert asked == []
    async with page.expect_response(lambda response: "/admin/dashboard/" in response.url):
        await page.evaluate(f"{hide} document.dispatchEvent(new Event('visibilitychange')); }}", False)


async def test_the_page_says_when_it_is_live_no_more(arrive: Arrive) -> None:
    visitor = await arrive("olga")
    console = await Console.open(visitor)
    page = console.page
    await page.clock.install()
    await console.go("")
    pulse = page.locator("[data-pulse]")
    await visitor.context.set_offline(True)
    await page.clock.fast_forward(INTERVAL_MS)
    await expect(pulse).to_contain_text("the server does not answer")
    await visitor.context.set_offline(False)
    await page.clock.fast_forward(2 * INTERVAL_MS)
    await expect(pulse).to_have_text("")
    await visitor.context.clear_cookies()
    await page.clock.fast_forward(INTERVAL_MS)
    await expect(pulse).to_contain_text("signed out")


async def test_a_range_is_chosen_with_the_keyboard(arrive: Arrive) -> None:
    console = await overview(arrive, "?range=1h")
    page = console.page
    await page.locator(".bs-range__choices a", has_text="7d").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Past 7 days")).to_be_visible()
    await expect(page.locator(".bs-range__choices a[aria-current]")).to_have_text("7d")


async def test_a_chart_says_what_it_shows_and_its_table_leads_to_the_turns(arrive: Arrive) -> None:
    console = await overview(arrive, "?range=30d")
    page = console.page
    chart = page.get_by_role("img", name="Turns", exact=False).first
    await expect(chart).to_be_visible()
    assert await chart.locator("title").count() == 30
    table = page.locator("details[data-key=turns]")
    await table.locator("summary").click()
    # Of the oldest day: the seeds of other tests write turns of today that nobody has counted.
    cell = table.locator("td a").last
    number = int((await cell.inner_text()).replace(",", ""))
    await cell.click()
    await expect(page.locator("#result_list tbody tr")).to_have_count(min(number, 50))
