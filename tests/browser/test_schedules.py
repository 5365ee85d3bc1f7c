"""One's schedules in a browser: created in words, changed by keyboard, paused, deleted; a chat has them, too."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import DARK, NARROW

pytestmark = pytest.mark.asyncio(loop_scope="session")

# What the form makes of a timing and back, and the moment of a clock on both sides of a change of the clocks.
_TIMINGS = """
async () => {
  const { momentOf, timeZones, toFields, toTiming } = await import("/static/bandstand/schedules/timing.js");
  const crons = ["0 8 * * *", "30 7 * * 1-5", "0 8 * * 0,2", "5 6 31 * *", "0 9 L * *", "*/20 * * * *", "0 8 1 1 1"];
  const back = crons.map((cron) => toTiming(toFields({ cron, time_zone: "Europe/Zurich" })).cron);
  const at = "2027-03-28T07:30:00.000Z";
  const once = toFields({ at, time_zone: "Europe/Zurich" });
  const moments = ["2027-03-27", "2027-03-28"].map((date) => momentOf(date, "09:30", "Europe/Zurich"));
  return { same: String(back) === String(crons), repeats: crons.map((cron) => toFields({ cron }).repeat), once, moments,
           again: toTiming(once).at === at, monthDay: toFields({ cron: "0 8 05 * *" }).monthDay,
           lists: timeZones("US/Pacific").includes("US/Pacific") };
}
"""

_CHANGE_ELSEWHERE = """
async (id) => {
  const { listSchedules, updateSchedule } = await import("/static/bandstand/schedules/api.js");
  const { results } = await listSchedules();
  await updateSchedule(results.find((schedule) => schedule.id === id), { text: "Changed elsewhere" });
}
"""


@pytest.mark.parametrize("options", [DARK, NARROW], ids=["dark", "phone"])
async def test_every_weekday_at_8_in_zurich(arrive: Arrive, options: dict[str, object]) -> None:
    chat = await (await arrive("ada", **options, timezone_id="Europe/Zurich")).chat()
    page = chat.page
    await page.goto(f"{chat.base}/schedules/")
    await page.get_by_role("button", name="New schedule").click()
    await expect(page.get_by_label("Time zone")).to_have_value("Europe/Zurich")
    await page.get_by_label("What should be asked?").fill("What is new?")
    await expect(page.locator(".form__preview")).to_have_text(re.compile("^Every weekday 08:00, Zurich. Next: "))
    await page.get_by_label("When?").select_option("days")
    await page.get_by_role("checkbox", name="Tue").check()
    await expect(page.locator(".form__preview")).to_have_text(re.compile("^Every Tuesday 08:00, Zurich"))
    await page.get_by_role("button", name="Create").click()
    schedule = page.locator(".schedule").first
    await expect(schedule).to_contain_text("Every Tuesday 08:00, Zurich")
    await expect(page.get_by_role("button", name="New schedule")).to_be_focused()
    # By keyboard: open the form, give up, open it again and save.
    change = schedule.get_by_role("button", name=re.compile("^Change"))
    await change.press("Enter")
    await expect(page.get_by_role("checkbox", name="Tue")).to_be_checked()
    await schedule.locator("textarea").dispatch_event("keydown", {"key": "Escape", "isComposing": True})
    await expect(schedule.locator("textarea")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(change).to_be_focused()
    await change.press("Enter")
    await page.get_by_label("Time", exact=True).fill("07:15")
    await page.get_by_role("button", name="Save").press("Enter")
    await expect(schedule).to_contain_text("Every Tuesday 07:15, Zurich")
    await schedule.get_by_role("button", name=re.compile("^Pause")).click()
    await expect(schedule).to_contain_text("Paused")
    await expect(schedule.get_by_role("button", name=re.compile("^Resume"))).to_be_focused()
    await schedule.get_by_role("button", name=re.compile("^Resume")).press("Enter")
    await expect(schedule).to_contain_text("Next: ")
    needed, there = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert needed <= there
    # Changed in another window: why it was not deleted stays there, and what it is now.
    await page.evaluate(_CHANGE_ELSEWHERE, await schedule.get_attribute("id"))
    await schedule.get_by_role("button", name=re.compile("^Delete")).click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(schedule).to_contain_text("Changed elsewhere")
    problem = page.locator("#problem")
    await expect(problem).to_have_text(re.compile("^It could not be deleted. Somebody changed this"))
    await expect(problem).to_be_visible()
    await schedule.get_by_role("button", name=re.compile("^Delete")).click()
    await page.get_by_role("button", name="Delete it").click()
    # Another test may have left her one.
    await expect(page.locator(".schedule", has_text="Changed elsewhere")).to_have_count(0)
    assert await chat.violations() == []


async def test_a_chat_is_gone_on_with_at_a_time(arrive: Arrive) -> None:
    chat = await (await arrive("ada")).chat()
    await chat.ask("Tell me of clouds")
    page = chat.page
    await page.get_by_role("button", name="Actions for this chat").click()
    await page.locator("#chat-menu").get_by_text("Schedule", exact=True).click()
    await expect(page.locator(".form__where")).to_have_text("It goes on in the chat “Tell me of clouds”.")
    await page.get_by_label("What should be asked?").fill("And today?")
    await page.get_by_role("button", name="Create").click()
    await expect(page.locator(".schedule").first).to_contain_text("goes on in its chat")
    await page.locator(".schedule").first.get_by_role("link", name="its chat").click()
    await expect(page.locator("#title")).to_have_text("Tell me of clouds")
    found = await page.evaluate(_TIMINGS)
    assert found["same"]
    assert found["again"]
    # What the fields cannot say as it was would be saved as something else.
    assert (found["monthDay"], found["lists"]) == ("5", True)
    assert found["repeats"] == ["daily", "weekdays", "days", "monthly", "monthly", "cron", "cron"]
    assert (found["once"]["date"], found["once"]["time"]) == ("2027-03-28", "09:30")
    assert found["moments"] == ["2027-03-27T08:30:00.000Z", "2027-03-28T07:30:00.000Z"]
    assert await chat.violations() == []
