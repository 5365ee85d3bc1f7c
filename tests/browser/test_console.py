"""The console in a real browser: nothing from elsewhere, nothing inline, nothing that what people wrote could start."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.attack import ATTACK
from tests.browser.conftest import Arrive
from tests.browser.console_visit import Console, second_to_save

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("furnished")]

PAGES = (
    "",
    "agents/agent/",
    "agents/agent/add/",
    "agents/agent/{contracts}/change/",
    "agents/agent/{contracts}/draft/",
    "agents/agent/{contracts}/compare/",
    "agents/agent/{contracts}/publish/",
    "agents/agent/{attack}/change/",
    "agents/agent/{attack}/draft/",
    "agents/agent/{attack}/publish/",
    "agents/agent/{attack}/archive/",
    "agents/release/{attack_release}/change/",
    "agents/release/{attack_release}/roll-back/",
    "accounts/auditentry/{attack_entry}/change/",
    "agents/release/",
    "accounts/user/",
    "accounts/user/add/",
    "auth/group/",
    "accounts/apikey/",
    "accounts/apikey/add/",
    "agents/runner/",
    "agents/agentsession/",
    "agents/turn/?state=any_failed&user=ada&since=2026-01-31T08:15",
    "agents/turn/export/?state=any_failed",
    "agents/turn/{sample_failed}/trace/",
    "agents/step/{sample_call}/sent/",
    "agents/agent/{contracts}/debug/",
    "monitoring/debugmode/",
    "monitoring/alertrule/",
    "monitoring/alertrule/{rule}/change/",
    "monitoring/alert/",
    "monitoring/alert/{alert}/change/",
    "monitoring/silence/add/?alert={alert}",
    "monitoring/notificationchannel/{channel}/change/",
    "monitoring/notification/",
    "scheduling/schedule/",
    "scheduling/jobrun/",
    "accounts/auditentry/",
    "agents/budget/",
    "agents/budget/add/",
    "agents/budget/{olgas_budget}/change/",
    "agents/budget/{olgas_budget}/override",
    "agents/bulkaction/",
    "agents/bulkaction/{bulk}/change/",
    "agents/deployment/",
    "agents/deployment/{canary}/change/",
    "agents/deployment/{withdrawn}/change/",
    "agents/deployment/{canary}/promote/",
    "agents/deployment/{canary}/back/",
    "agents/deployment/begin/{contracts}/",
    "agents/testset/",
    "agents/testset/add/",
    "agents/testset/{test_set}/change/",
    "agents/testset/{test_set}/run/",
    "agents/testset/entries/{test_case}/",
    "agents/evaluationrun/",
    "agents/evaluationrun/{evaluation}/change/",
    "agents/evaluationrun/{evaluation}/entries/{test_case}/",
    "guide/",
    "accounts/outgoingemail/",
    "accounts/user/locked-out/",
)


# Fields and buttons on the page without a name, and icons that would be read as the words that they are made of.
NAMELESS = """() => {
  const seen = [...document.querySelectorAll("a[href], button, summary, select, textarea, input:not([type=hidden])")]
    .filter((one) => one.getClientRects().length);
  const words = (one) => {
    const copy = one.cloneNode(true);
    copy.querySelectorAll("[aria-hidden=true]").forEach((part) => part.remove());
    return copy.textContent.trim() || [...copy.querySelectorAll("img")].map((image) => image.alt).join("");
  };
  const named = (one) => one.ariaLabel || one.title || [...(one.labels ?? [])].some(words) || words(one)
    || ["submit", "button"].includes(one.type) && one.value;
  const read = [...document.querySelectorAll(".material-symbols-outlined:not([aria-hidden=true])")];
  return [...seen.filter((one) => !named(one)), ...read].map((one) => one.outerHTML.slice(0, 200));
}"""


async def test_every_page_keeps_to_its_policy_and_to_its_width(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    for path in PAGES:
        await console.go_in_order(path)
        assert await console.page.evaluate("window.pwned") is None, path
        await expect(console.page.locator("img[src=x]")).to_have_count(0)


async def test_everything_has_a_name_for_those_who_hear_the_page(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    for path in (
        "",
        "agents/turn/",
        "agents/turn/{sample_failed}/trace/",
        "agents/step/{sample_call}/sent/",
        "accounts/user/",
        "accounts/user/add/",
        "monitoring/alertrule/{rule}/change/",
        "scheduling/schedule/",
        "agents/bulkaction/",
        "agents/deployment/{canary}/change/",
        "agents/testset/{test_set}/change/",
        "agents/evaluationrun/{evaluation}/change/",
    ):
        await console.go(path)
        await expect(console.page.get_by_role("main")).to_have_count(1)
        assert await console.page.evaluate(NAMELESS) == [], path
    await expect(console.page.get_by_role("link", name="Overview", exact=True)).to_be_visible()


# Rows that have not two lines, and what one would touch that is smaller than a finger.
UNREADABLE_ON_A_PHONE = """() => {
  const size = (one) => [one.offsetWidth, one.offsetHeight];
  const tall = [...document.querySelectorAll("tr.data-row")].filter((row) => size(row)[1] !== 64);
  const lines = [...document.querySelectorAll("tr.data-row")].filter((row) => {
    const tops = [...row.children].filter((cell) => cell.checkVisibility() && !cell.matches(".action-checkbox"))
      .map((cell) => cell.getBoundingClientRect()).filter((box) => box.top < row.getBoundingClientRect().bottom)
      .map((box) => Math.round(box.top / 8));
    return new Set(tops).size > 2;
  });
  const targets = ".bs-tab, .bs-chip, .action-checkbox, .bs-pages a, #searchbar, #toolbar + a";
  const small = [...document.querySelectorAll(targets)].filter((one) => size(one)[1] < 44 || size(one)[0] < 40);
  return [...tall, ...lines, ...small].map((one) => `${size(one)} ${one.outerHTML.slice(0, 120)}`);
}"""


async def test_lists_read_on_a_phone_and_go_by_keys(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    for width in (320, 390, 430):
        await console.page.set_viewport_size({"width": width, "height": 844})
        for path in (
            "agents/turn/?state=any_failed", "agents/agentsession/", "accounts/auditentry/", "accounts/user/",
            "monitoring/alertrule/", "monitoring/alert/",
        ):  # fmt: skip
            await console.go(path)
            await expect(console.page.locator("tr.data-row").first).to_be_visible()
            assert await console.page.evaluate(UNREADABLE_ON_A_PHONE) == [], (width, path)
            await console.fits(path)
    # The whole row is its link, and what is in use is taken away by keys.
    await console.go("agents/turn/?state=any_failed")
    row = console.page.locator("tr.data-row").first
    await row.click(position={"x": 200, "y": 50})
    await expect(console.page.locator(".bs-turn")).to_be_visible()
    await console.go("agents/turn/?state=any_failed")
    await console.page.locator(".bs-chip").focus()
    await console.page.keyboard.press("Enter")
    await expect(console.page.locator(".bs-tab[aria-current]")).to_have_text("All")
    await expect(console.page.locator(".bs-chip")).to_have_count(0)


async def test_what_people_wrote_is_shown_as_they_wrote_it(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    await console.go("agents/agent/{attack}/draft/")
    assert await console.page.get_by_role("textbox", name="Instructions").input_value() == ATTACK
    for button in ("Archive", "Restore"):
        await console.go("agents/agent/{attack}/archive/")
        await console.press(button)  # what was done is said with the name
    assert await console.page.evaluate("window.pwned") is None
    await expect(console.page.get_by_text(f"{ATTACK[:100]} is back.")).to_be_visible()


async def test_the_theme_follows_the_switch(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    await console.go("")
    ground = "getComputedStyle(document.querySelector('#main')).backgroundColor"
    light = await console.page.evaluate(ground)
    await console.page.get_by_text("olga", exact=True).first.click()
    await console.page.get_by_text("Dark", exact=True).click()
    assert await console.page.evaluate(ground) != light
    await console.go("agents/agent/")
    assert await console.page.evaluate(ground) != light


async def test_the_second_of_two_windows_sees_what_differs_and_loses_nothing(arrive: Arrive) -> None:
    console = await second_to_save(await arrive("bruno"), "Ask first.", "Answer first.")
    page = console.page
    await expect(page.get_by_text("Changed by bruno at")).to_be_visible()
    await expect(page.locator(".bs-diff__removed")).to_have_text("theirs: Ask first.")
    await expect(page.locator(".bs-diff__added")).to_have_text("yours: Answer first.")
    await expect(page.get_by_role("textbox", name="Instructions")).to_have_value("Answer first.")
    await console.press("Save draft")
    await expect(page.get_by_text("is saved")).to_be_visible()


async def test_a_key_is_shown_once(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    await console.go("accounts/apikey/add/")
    await console.page.get_by_label("User name").fill("bruno")
    await console.page.locator("#id_name").fill("once")
    await console.press("Make the key")
    key = await console.page.get_by_label("Shown once").input_value()
    assert key.startswith("bs_")
    await console.go("accounts/apikey/")
    assert key.split("_")[2] not in await console.page.content()


async def test_a_builder_publishes_with_the_keyboard(arrive: Arrive) -> None:
    console = await Console.open(await arrive("bruno"))
    await console.go("agents/agent/{contracts}/publish/")
    await console.page.get_by_label("Note").focus()
    await console.page.keyboard.type("By keyboard.")
    await console.page.keyboard.press("Enter")
    await expect(console.page.get_by_text("is live for new sessions.")).to_be_visible()
    await expect(console.page.get_by_text("By keyboard.")).to_be_visible()


async def test_a_rule_is_previewed_as_its_fields_change_and_nothing_is_saved(arrive: Arrive) -> None:
    console = await Console.open(await arrive("bruno"))
    await console.go("monitoring/alertrule/{rule}/change/")
    page = console.page
    verdict = page.locator(".bs-rule__verdict")
    await expect(verdict).to_contain_text("Would have fired once in the last 7 days")
    await page.locator("#id_threshold").fill("99")
    await expect(verdict).to_contain_text("Would not have fired")
    await page.locator("#id_for_seconds").fill("soon")
    await expect(page.locator("#preview")).to_contain_text("For: Write a duration such as 90 s, 5 min or 2 h.")
    # What a metric can be told apart by changes with it.
    await expect(page.locator("#id_agent_scope")).to_be_hidden()
    await page.locator("#id_metric").select_option("turn_error_rate")
    await expect(page.locator("#id_agent_value")).to_be_hidden()
    await page.locator("#id_agent_scope").select_option("one")
    await expect(page.locator("#id_agent_value")).to_be_visible()
    assert await console.violations() == []
    await console.go("monitoring/alertrule/{rule}/change/")
    await expect(verdict).to_contain_text("Would have fired once")


async def test_the_page_of_a_bulk_action_follows_it_until_somebody_stops_it(arrive: Arrive) -> None:
    visitor = await arrive("olga")
    first, second = await Console.open(visitor), await Console.open(visitor)
    for window in (first, second):
        await window.go("agents/bulkaction/{bulk}/change/")
    await expect(first.page.get_by_role("progressbar", name="Rows processed")).to_be_visible()
    await second.press("Stop")
    await expect(first.page.get_by_text("Stopped by olga.")).to_be_visible()
    await expect(first.page.get_by_role("button", name="Stop")).to_have_count(0)
    assert await first.violations() == []
