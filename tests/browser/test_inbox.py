"""Operators answer people in place of an agent, in real browsers: the person's and theirs."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import Console
from tests.browser.stack import Stack
from tests.browser.visitor import Chat

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("inbox")]

# What people call live.
LIVE_SECONDS = 2.0
PAGES = (
    "agents/handoff/",
    "agents/handoff/?show=all",
    "agents/handoff/{waiting}/change/",
    "agents/handoff/{answered}/change/",
    "agents/handoff/{waiting}/snooze/",
    "agents/approval/",
    "agents/approval/?state=decided",
    "agents/approvalpass/",
)


@pytest.fixture(scope="module")
def inbox(stack: Stack) -> None:
    """With people who wait."""
    stack.seed("tests.browser.inbox_seed")


async def taken_over(arrive: Arrive) -> tuple[Chat, Page, Console]:
    """A chat of Ada's; and Oscar's page of it, after a press of "Take over"."""
    chat = await (await arrive("ada")).chat()
    await chat.ask("calculate 2+3*4")
    console = await Console.open(await arrive("oscar"))
    await console.go(f"agents/agentsession/{chat.session}/change/")
    await console.page.get_by_role("link", name="Take over").click()
    await console.press("Take over")
    return chat, console.page, console


async def goes_on(chat: Chat) -> None:
    """The agent answers again."""
    await chat.say("calculate 40+2")
    await expect(chat.transcript).to_contain_text("says: 42")


async def test_the_pages_keep_to_their_policy_and_width(arrive: Arrive) -> None:
    console = await Console.open(await arrive("oscar"))
    for path in PAGES:
        await console.go_in_order(path)


async def test_an_operator_and_a_person_write_to_each_other(arrive: Arrive) -> None:
    chat, page, console = await taken_over(arrive)
    box = page.get_by_label("Your reply to ada")
    await box.fill("Hello, this is Oscar.")
    await box.press("Control+Enter")
    await expect(page.locator(".bs-said--human").last).to_contain_text("Hello, this is Oscar.")
    await expect(box).to_have_value("")
    await expect(box).to_be_focused()
    await expect(chat.transcript).to_contain_text("Hello, this is Oscar.")
    await chat.say("Thank you, Oscar.")
    began = time.monotonic()
    await expect(page.locator(".bs-transcript__turns")).to_contain_text("Thank you, Oscar.")
    assert time.monotonic() - began < LIVE_SECONDS
    # The words of somebody who writes are not touched by what comes in.
    await box.fill("One moment")
    await chat.say("Are you there?")
    await expect(page.locator(".bs-transcript__turns")).to_contain_text("Are you there?")
    await expect(box).to_have_value("One moment")
    await page.get_by_label("Note for operators").fill("She is in a hurry.")
    await page.get_by_role("button", name="Add note").click()
    await expect(page.locator("aside.bs-operator-note")).to_contain_text("She is in a hurry.")
    await expect(page.locator("#note_text")).to_have_value("")
    assert await page.locator(".bs-case__note [data-problem]").text_content() == ""
    await expect(chat.transcript).not_to_contain_text("She is in a hurry.")
    await console.press("Return to the agent")
    await expect(page.locator(".bs-mark").last).to_contain_text("The agent answers again")
    await goes_on(chat)
    assert await console.violations() == []


async def test_a_reply_outlives_the_login_of_who_writes_it(arrive: Arrive) -> None:
    chat = await (await arrive("ada")).chat()
    await chat.ask("[[offline words=400 pace_ms=0]]")
    oscar = await arrive("oscar")
    console = await Console.open(oscar)
    page = console.page
    await console.go(f"agents/agentsession/{chat.session}/change/")
    await page.get_by_role("link", name="Take over").click()
    await console.press("Take over")
    await chat.say("Are you there?")
    await expect(page.locator(".bs-said").last).to_contain_text("Are you there?")
    await page.reload()
    # It begins with the newest words, not hidden behind the box.
    box = page.get_by_label("Your reply to ada")
    await expect(page.locator(".bs-said").last).to_be_in_viewport()
    await box.fill("Yes, here.")
    await oscar.context.clear_cookies()
    pulse = page.locator(".bs-transcript__pulse")
    await expect(pulse).to_have_text("signed out")
    await box.press("Control+Enter")
    await expect(page.get_by_text("Your words stay here")).to_be_visible()
    # In another window, which makes the tokens of this one stale.
    await oscar.log_in("oscar")
    await (await oscar.context.new_page()).goto(f"{console.stack.base}/admin/password_change/")
    await box.press("Control+Enter")
    await expect(chat.transcript).to_contain_text("Yes, here.")
    await expect(box).to_have_value("")
    await expect(pulse).to_have_text("live")
    await expect(pulse).not_to_have_class("bs-transcript__pulse--off")
    await expect(page.locator(".bs-said--human").last).to_contain_text("Yes, here.")
    await console.press("Return to the agent")


async def test_two_operators_see_each_other_and_one_takes_it(arrive: Arrive) -> None:
    chat, page, _ = await taken_over(arrive)
    ana = await Console.open(await arrive("ana"))
    await ana.page.goto(page.url)
    await expect(ana.page.locator("[data-part=status]")).to_contain_text("Oscar Keller answers")
    await ana.press("Take it from Oscar Keller")
    await expect(page.locator("[data-part=status]")).to_contain_text("Ana Novak answers")
    await expect(page.locator("[data-part=hint]")).to_contain_text("Sending takes it from them")
    await ana.press("Resolve")
    await expect(page.locator("[data-part=hint]")).to_contain_text("Sending takes over: the agent stops")
    await goes_on(chat)


async def test_what_is_typed_or_about_to_be_pressed_is_for_no_other_call(arrive: Arrive) -> None:
    oscar, ana = [await Console.open(await arrive(name)) for name in ("oscar", "ana")]
    await oscar.go("agents/handoff/{two_calls}/change/")
    first, second = oscar.page.locator(".bs-approval").nth(0), oscar.page.locator(".bs-approval").nth(1)
    await expect(first).to_contain_text("11*2")
    await expect(second).to_contain_text("12*2")
    await second.get_by_label("A word to the agent").fill("Only this one.")
    await first.get_by_label("A word to the agent").fill("Not this one.")
    await first.get_by_role("button", name="Approve").focus()
    await ana.go("agents/handoff/{two_calls}/change/")
    async with ana.page.expect_navigation():
        await ana.page.locator(".bs-approval").filter(has_text="11*2").get_by_role("button", name="Refuse").click()
    await expect(oscar.page.locator(".bs-approval")).to_have_count(1)
    await expect(first).to_contain_text("12*2")
    await expect(first.get_by_label("A word to the agent")).to_have_value("Only this one.")
    assert await oscar.page.evaluate("document.activeElement.closest('.bs-approval')") is None
    async with oscar.page.expect_navigation():
        await first.get_by_role("button", name="Approve").click()
    await expect(oscar.page.locator(".bs-turn").last).to_contain_text("24")


async def test_a_page_that_is_far_behind_does_not_throw_away_what_somebody_writes(arrive: Arrive) -> None:
    console = await Console.open(await arrive("oscar"))
    await console.go("agents/handoff/{waiting}/change/")
    page = console.page
    await page.get_by_label("Your reply to maria").fill("I have looked into it.")

    async def far_behind(route: Route) -> None:
        await route.fulfill(status=409)

    await page.route("**/live/**", far_behind)
    await expect(page.locator(".bs-transcript__pulse")).to_contain_text("load the page again")
    await expect(page.get_by_label("Your reply to maria")).to_have_value("I have looked into it.")
    async with page.expect_navigation():
        await page.get_by_label("Your reply to maria").fill("")


async def test_the_list_goes_on_by_itself_and_counts(arrive: Arrive) -> None:
    console = await Console.open(await arrive("oscar"))
    await console.go("agents/handoff/")
    page = console.page
    badge = page.locator("[data-count]")
    await expect(badge).not_to_be_empty()
    rows = page.locator("#result_list tbody tr")
    before = await rows.count()
    search = page.locator("#searchbar")
    await search.fill("mar")
    chat = await (await arrive("ada")).chat()
    await chat.ask("calculate 2+3*4")
    # The person asks by the interface that the chat uses.
    status = await chat.page.evaluate(
        """async (session) => (await fetch(`/api/v1/sessions/${session}/handoff`, {
          method: "POST", body: JSON.stringify({reason: "Please help"}),
          headers: {"Content-Type": "application/json",
                    "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken], meta[name=csrf-token]")?.value
                      ?? document.cookie.match(/csrftoken=([^;]+)/)?.[1] ?? ""}})).status""",
        chat.session,
    )
    assert status < 300, status
    await expect(rows).to_have_count(before + 1)
    await expect(page.locator("#result_list")).to_contain_text("Please help")
    await expect(search).to_have_value("mar")
    assert await console.violations() == []


async def test_an_operator_approves_a_call_beside_its_conversation(arrive: Arrive, stack: Stack) -> None:
    console = await Console.open(await arrive("oscar"))
    await console.go("agents/approval/?user=tom")
    page = console.page
    await page.get_by_role("link", name="calculator").click()
    await page.get_by_role("link", name="Decide").click()
    await expect(page.locator(".bs-call")).to_contain_text("59.90*2")
    await console.press("Approve")
    await expect(page.get_by_text("runs with exactly these values")).to_be_visible()
    await console.go("agents/agentsession/{approval_session}/change/")
    await expect(page.locator(".bs-turn").last).to_contain_text("119.8")
