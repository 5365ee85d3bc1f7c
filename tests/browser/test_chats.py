"""The list of chats, and what one does with a whole chat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Arrive
from tests.browser.visitor import Chat, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def choose(page: Page, action: str) -> None:
    await page.get_by_role("button", name="Actions for this chat").click()
    await page.locator("#chat-menu").get_by_text(action).click()


async def test_a_chat_takes_its_title_from_the_first_message_until_it_is_given_one(chat: Chat) -> None:
    await chat.ask("How do clouds stay up?")
    await expect(chat.page.locator("#title")).to_have_text("How do clouds stay up?")
    await expect(chat.page).to_have_title("How do clouds stay up? · Bandstand")
    await expect(chat.page.locator("#session-list a[aria-current]")).to_have_text("How do clouds stay up?")
    await choose(chat.page, "Rename")
    await chat.page.get_by_label("Title").fill("Clouds")
    await chat.page.get_by_label("Title").press("Enter")
    await expect(chat.page.locator("#title")).to_have_text("Clouds")
    await chat.page.reload()
    await expect(chat.page.locator("#title")).to_have_text("Clouds")
    await expect(chat.page.locator("#session-list a").first).to_have_text("Clouds")


# What the list writes above chats of these times, seen from noon of the day after the clocks changed in Zurich.
_HEADINGS = """
async (moments) => {
  const { dateHeading } = await import("/static/bandstand/chat/date-headings.js");
  return moments.map((moment) => dateHeading(new Date(moment), new Date("2026-10-26T12:00:00")));
}
"""


async def test_chats_stand_under_their_days(arrive: Arrive) -> None:
    chat = await (await arrive("ada", timezone_id="Europe/Zurich")).chat()
    moments = ["2026-10-26T00:00:01", "2026-10-25T23:59:59", "2026-10-25T00:00:01", "2026-10-24T23:59:00"]
    moments += ["2026-10-19T00:00:00", "2026-10-18T23:59:59", "2026-08-31T10:00:00", "2026-10-27T01:00:00"]
    assert await chat.page.evaluate(_HEADINGS, moments) == [
        *("Today", "Yesterday", "Yesterday", "Previous 7 days", "Previous 7 days", "Previous 30 days"),
        *("August 2026", "Today"),
    ]
    await chat.ask("A chat of today")
    today = chat.page.locator("#session-list section").first
    await expect(today.get_by_role("heading")).to_have_text("Today")
    await expect(today.get_by_role("link").first).to_have_text("A chat of today")


async def test_a_dialog_gives_the_focus_back(chat: Chat) -> None:
    await chat.ask("Keep the focus")
    button = chat.page.get_by_role("button", name="Actions for this chat")
    for action, leave in (("Delete", "Keep it"), ("Rename", "Cancel")):
        await choose(chat.page, action)
        await chat.page.get_by_role("dialog").get_by_role("button", name=leave).click()
        await expect(button).to_be_focused()


async def test_a_chat_is_renamed_in_every_window(ada: Visitor, chat: Chat) -> None:
    await chat.ask("One")
    other = await ada.chat(chat.session)
    await expect(other.answers.first).to_be_visible()
    await choose(chat.page, "Rename")
    await chat.page.get_by_label("Title").fill("Renamed over there")
    await chat.page.get_by_role("button", name="Rename", exact=True).last.click()
    await expect(other.page.locator("#title")).to_have_text("Renamed over there")
    await expect(other.page.locator("#session-list a").first).to_have_text("Renamed over there")


async def test_a_chat_is_deleted_only_after_a_question(chat: Chat) -> None:
    await chat.ask("Delete me, please")
    session = chat.session
    await choose(chat.page, "Delete")
    await expect(chat.page.get_by_role("dialog")).to_contain_text("Delete me, please")
    await chat.page.get_by_role("button", name="Keep it").click()
    await expect(chat.answers).to_have_count(1)
    await choose(chat.page, "Delete")
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.page.locator("#welcome")).to_be_visible()
    await expect(chat.page.locator(f"#session-list a[href='#{session}']")).to_have_count(0)
    await chat.open(session)
    await expect(chat.page.locator("#notice")).to_contain_text("does not exist any more")


async def test_a_chat_whose_answer_is_being_written_is_not_deleted_and_says_why(chat: Chat) -> None:
    await chat.say("[[offline words=300 pace_ms=40]] Not yet")
    await expect(chat.answers.first).to_contain_text("offline models")
    await choose(chat.page, "Delete")
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.page.locator("#notice p").first).to_have_text(
        "The chat could not be deleted. An answer is being written in it; stop that first."
    )
    await chat.page.get_by_role("button", name="Stop the answer").click()
    await expect(chat.answers.first).to_contain_text("Stopped here")


async def test_a_chat_that_is_not_open_is_deleted_from_the_list(chat: Chat) -> None:
    await chat.ask("The other one")
    await chat.page.get_by_role("button", name="New chat", exact=True).click()
    line = chat.page.locator("#session-list li").first
    await line.hover()
    await line.get_by_role("button").click()
    await chat.page.locator("#chat-menu").get_by_text("Delete").click()
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.page.locator("#session-list").get_by_text("The other one")).to_have_count(0)


async def test_chats_are_found_by_what_they_are_about(chat: Chat) -> None:
    await chat.ask("A zebra in the garden")
    await chat.page.get_by_role("button", name="New chat", exact=True).click()
    await chat.ask("A walrus in the bath")
    await chat.page.keyboard.press("Control+k")
    await expect(chat.page.get_by_label("Search your chats")).to_be_focused()
    await chat.page.keyboard.type("zebra")
    await expect(chat.page.locator("#session-list a")).to_have_text(["A zebra in the garden"])
    await chat.page.keyboard.press("Tab")
    await chat.page.keyboard.press("Enter")
    await expect(chat.questions).to_have_text(["A zebra in the garden"])
    await chat.page.get_by_label("Search your chats").fill("no such words")
    await expect(chat.page.locator("#no-sessions")).to_have_text("No chat has these words.")
    await chat.page.get_by_label("Search your chats").press("Escape")
    await expect(chat.page.locator("#session-list").get_by_text("A walrus in the bath")).to_be_visible()


@pytest.mark.parametrize(("entry", "suffix"), [("Export as Markdown", ".md"), ("Export as JSON", ".json")])
async def test_a_chat_is_exported(chat: Chat, entry: str, suffix: str) -> None:
    await chat.ask("[[offline text=remembered]] Export this")
    async with chat.page.expect_download() as download:
        await choose(chat.page, entry)
    file = await download.value
    assert file.suggested_filename.endswith(suffix)
    text = Path(await file.path()).read_text(encoding="utf-8")  # noqa: ASYNC240 - a small file, and nobody waits
    assert "Export this" in text
    assert "remembered" in text
    if suffix == ".json":
        assert json.loads(text)


async def test_feedback_is_kept_with_its_comment_and_taken_back(chat: Chat) -> None:
    answer = await chat.ask("Was this good?")
    await answer.get_by_role("button", name="Bad answer").click()
    await answer.get_by_label("What was wrong with it? (optional)").fill("Too short")
    await answer.get_by_role("button", name="Send comment").click()
    await expect(answer.locator(".feedback__form")).to_be_hidden()
    await chat.page.reload()
    down = chat.answers.first.get_by_role("button", name="Bad answer")
    await expect(down).to_have_attribute("aria-pressed", "true")
    up = chat.answers.first.get_by_role("button", name="Good answer")
    await up.click()
    await expect(up).to_have_attribute("aria-pressed", "true")
    await expect(down).to_have_attribute("aria-pressed", "false")
    await expect(chat.answers.first.get_by_label("What was good about it? (optional)")).to_have_value("Too short")
    await expect(chat.status).to_have_text("Thank you for the feedback.")
    await up.click()
    await expect(chat.status).to_have_text("Feedback taken back.")
    await chat.page.reload()
    await expect(chat.answers.first.get_by_role("button", name="Good answer")).to_have_attribute(
        "aria-pressed", "false"
    )


async def test_a_rating_is_shown_in_every_window(ada: Visitor, chat: Chat) -> None:
    await chat.ask("Was this good?")
    other = await ada.chat(chat.session)
    theirs = other.answers.first.get_by_role("button", name="Good answer")
    await expect(theirs).to_have_attribute("aria-pressed", "false")
    await chat.answers.first.get_by_role("button", name="Good answer").click()
    await expect(theirs).to_have_attribute("aria-pressed", "true")


async def test_the_chats_of_others_do_not_exist(ada: Visitor) -> None:
    session = ada.stack.seeded["long"]
    chat = await ada.chat(session)
    await expect(chat.page.locator("#notice")).to_contain_text("does not exist any more")
    await expect(chat.page.locator("#welcome")).to_be_visible()


async def test_a_new_chat_goes_to_the_agent_that_was_chosen(chat: Chat) -> None:
    await chat.page.get_by_role("radio", name="Writer Drafts").check()
    await chat.ask("What can you do?")
    await expect(chat.page.locator("#agent-name")).to_have_text("Writer")
    await chat.page.reload()
    await expect(chat.page.locator("#agent-name")).to_have_text("Writer")
