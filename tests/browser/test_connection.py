"""Lost networks, reloads and restarts: what was sent is answered once, and every window shows the same."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser.stack import Stack
from tests.browser.visitor import Chat, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "[[offline words=150 pace_ms=20]] tell me"


async def test_a_reload_in_the_middle_goes_on_with_the_answer(chat: Chat) -> None:
    await chat.say(LONG)
    await expect(chat.answers.first).to_contain_text("offline models say")
    await chat.page.reload()
    await expect(chat.answers.first).to_have_attribute("aria-busy", "true")
    await expect(chat.answers.first).to_contain_text("offline models say")
    await chat.answered(chat.answers.first)
    await expect(chat.answers).to_have_count(1)


async def test_two_windows_show_the_same_while_it_is_written(ada: Visitor, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    other = await ada.chat(chat.session)
    await other.say(LONG)
    for window in (chat, other):
        await expect(window.answers.nth(1)).to_contain_text("offline models say")
        await expect(window.answers.nth(1)).to_have_attribute("aria-busy", "true")
    await chat.answered(chat.answers.nth(1))
    await other.answered(other.answers.nth(1))
    assert await chat.transcript.inner_text() == await other.transcript.inner_text()


async def test_without_a_network_a_message_waits_and_is_sent_once(ada: Visitor, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    await ada.context.set_offline(True)
    await expect(chat.page.locator("#connection")).to_contain_text("You are offline")
    await chat.say("[[offline text=arrived]] while offline")
    await expect(chat.transcript).to_contain_text("Waits for the connection")
    await chat.page.wait_for_function("() => document.querySelector('#connection button').hidden === false")
    await ada.context.set_offline(False)
    await expect(chat.answers.nth(1)).to_contain_text("arrived")
    await expect(chat.questions).to_have_count(2)
    await expect(chat.page.locator("#connection")).to_be_hidden()
    await chat.page.reload()
    await expect(chat.answers.nth(1)).to_contain_text("arrived")
    await expect(chat.questions).to_have_count(2)


async def test_a_message_that_waits_outlives_a_closed_window(ada: Visitor, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    session = chat.session
    await ada.context.set_offline(True)
    await chat.say("[[offline text=kept]] written offline")
    await expect(chat.transcript).to_contain_text("Waits for the connection")
    await chat.page.close()
    await ada.context.set_offline(False)
    again = await ada.chat(session)
    await expect(again.answers.nth(1)).to_contain_text("kept")
    await expect(again.questions).to_have_count(2)


async def test_a_draft_outlives_a_reload(chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    await chat.composer.fill("not sent yet")
    await chat.page.reload()
    await expect(chat.composer).to_have_value("not sent yet")


async def test_a_restart_of_the_server_goes_by(stack: Stack, chat: Chat) -> None:
    await chat.say(LONG)
    await expect(chat.answers.first).to_contain_text("offline models say")
    stack.web.kill()
    await chat.say("[[offline text=after]] the restart")
    await expect(chat.page.locator("#connection")).to_contain_text("Connection lost")
    await asyncio.to_thread(stack.start_web)
    await chat.answered(chat.answers.first)
    await expect(chat.answers.nth(1)).to_contain_text("after")
    await expect(chat.questions).to_have_count(2)
    await expect(chat.page.locator("#connection")).to_be_hidden()


async def test_a_page_that_is_opened_while_the_server_is_away_waits_for_it(stack: Stack, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    session = chat.session
    await chat.page.get_by_role("button", name="New chat", exact=True).click()
    await expect(chat.page.locator("#welcome")).to_be_visible()
    stack.web.kill()
    await chat.page.evaluate("(id) => (location.hash = id)", session)
    await expect(chat.page.locator("#connection")).to_contain_text("Connection lost")
    await asyncio.to_thread(stack.start_web)
    await expect(chat.answers.first).to_contain_text("begun")


async def test_a_runner_that_dies_costs_no_answer(stack: Stack, chat: Chat) -> None:
    await chat.say(LONG)
    await expect(chat.answers.first).to_contain_text("offline models say")
    stack.runner.kill()
    await asyncio.to_thread(stack.start_runner)
    await expect(chat.answers.first).to_contain_text("Interrupted; writing it again")
    await chat.answered(chat.answers.first)
    await expect(chat.answers).to_have_count(1)


async def test_a_login_that_ends_takes_nobody_away_from_what_they_write(ada: Visitor, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    await ada.context.clear_cookies()
    await chat.composer.fill("half a sen")
    session = chat.session
    await chat.page.get_by_role("button", name="New chat", exact=True).click()
    await chat.page.go_back()
    await expect(chat.page.locator("#notice")).to_contain_text("Your login has ended")
    await expect(chat.composer).to_have_value("half a sen")
    await chat.page.get_by_role("button", name="Sign in").click()
    await chat.page.get_by_label("User name").fill("ada")
    await chat.page.get_by_label("Password").fill(ada.stack.seeded["password"])
    await chat.page.keyboard.press("Enter")
    await expect(chat.answers.first).to_contain_text("begun")
    assert chat.session == session
    await expect(chat.composer).to_have_value("half a sen")


async def test_a_chat_that_is_deleted_in_another_window_is_left(ada: Visitor, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    other = await ada.chat(chat.session)
    await expect(other.answers.first).to_be_visible()
    await chat.page.get_by_role("button", name="Actions for this chat").click()
    await chat.page.locator("#chat-menu").get_by_text("Delete").click()
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(chat.page.locator("#welcome")).to_be_visible()
    await other.say("Are you still there?")
    await expect(other.page.locator("#notice")).to_contain_text("does not exist any more")
    await expect(other.page.locator("#welcome")).to_be_visible()


async def test_a_login_that_has_ended_leads_to_the_login_and_back(ada: Visitor) -> None:
    chat = await ada.chat()
    await chat.ask("[[offline text=begun]]")
    session = chat.session
    await ada.context.clear_cookies()
    await chat.page.reload()
    await expect(chat.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await ada.log_in("ada")
    await chat.open(session)
    await expect(chat.answers.first).to_contain_text("begun")
