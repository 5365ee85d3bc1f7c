"""People in the loop, in two browsers of one user: calls that somebody decides about, and a person who answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Arrive
from tests.browser.stack import Stack
from tests.browser.test_looks import CONTRASTS, nameless
from tests.browser.visitor import PHONE, Chat

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("staffed")]

NOTE = 'Write it down. [[offline tool=notebook_add args={"text": "Room 12\\nBreakfast at 7"} text="Done."]]'
SUM = '[[offline tool=calculator args={"expression": "6*7"} text="Reckoned."]]'
SLOW = "[[offline words=400 pace_ms=40]]"


@pytest.fixture
def staffed(stack: Stack) -> None:
    stack.seed("tests.browser.people_seed")


async def two_windows(arrive: Arrive) -> tuple[Chat, Chat]:
    """A new chat with the front desk on a desktop, in the dark, and the same one on a phone, once it has a message."""
    desktop = await (await arrive("clara", color_scheme="dark")).chat()
    await desktop.page.locator("#agents label", has_text="Front desk").click()
    await expect(desktop.page.locator("#ask-person")).to_be_hidden()
    await desktop.ask("Hello")
    phone = await (await arrive("clara", viewport=PHONE, has_touch=True, is_mobile=True)).chat(desktop.session)
    await expect(phone.questions).to_have_text(["Hello"])
    return desktop, phone


async def look(*chats: Chat) -> None:
    """Every text stands out, everything to press has a name, and nothing is wider than the screen."""
    for chat in chats:
        assert await chat.page.evaluate(CONTRASTS) == []
        assert await nameless(chat.page) == []
        width: Any = await chat.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]


async def test_who_is_asked_reads_the_call_decides_once_and_sees_it_everywhere(arrive: Arrive, stack: Stack) -> None:
    desktop, phone = await two_windows(arrive)
    await desktop.say(NOTE)
    for chat in (desktop, phone):
        card = chat.page.get_by_role("group", name="May the agent use notebook_add?")
        await expect(card.locator("dt")).to_have_text(["text"])
        await expect(card.locator("dd")).to_have_text("Room 12\nBreakfast at 7", use_inner_text=True)
        await expect(card.get_by_text("Why you are asked")).to_be_visible()
        await expect(card.locator("pre")).to_be_hidden()
        await expect(chat.page.locator(".tool__state")).to_have_text("waits for a person")
    await expect(desktop.status).to_have_text(re.compile("asks whether it may use notebook_add"))
    await look(desktop, phone)
    await phone.page.reload()
    card = phone.page.get_by_role("group", name="May the agent use notebook_add?")
    await card.get_by_text("The exact call").tap()
    await expect(card.locator("pre")).to_have_text('{"text":"Room 12\\nBreakfast at 7"}')
    # By keys, and the focus goes on to what has become of it.
    await desktop.page.get_by_label("A note (optional)").focus()
    await desktop.page.keyboard.type("Not that room")
    await desktop.page.keyboard.press("Tab")
    await desktop.page.keyboard.press("Tab")
    await desktop.page.keyboard.press("Enter")
    for chat in (desktop, phone):
        await expect(chat.page.locator(".approval")).to_have_count(0)
        await chat.answered(chat.answers.last)
        await expect(chat.page.locator(".tool__state")).to_have_text("refused")
    await desktop.page.reload()
    await expect(desktop.page.locator(".tool__state")).to_have_text("refused")
    await desktop.page.locator(".tool summary").click()
    await expect(desktop.page.get_by_role("region", name="Result")).to_contain_text("Not that room")
    # An operator decides what the release leaves to one; its user only waits.
    await phone.say(SUM)
    for chat in (desktop, phone):
        card = chat.page.get_by_role("group", name="calculator waits for an operator")
        await expect(card.locator("dd")).to_have_text("6*7")
        await expect(card.get_by_role("button")).to_have_count(0)
    await look(desktop, phone)
    stack.operate("decide", desktop.session, decision="approve")
    for chat in (desktop, phone):
        await expect(chat.page.locator(".tool__state").last).to_have_text("done")
        await chat.answered(chat.answers.last)
    assert await desktop.violations() == []


async def test_a_person_is_asked_for_comes_answers_and_goes(arrive: Arrive, stack: Stack) -> None:
    desktop, phone = await two_windows(arrive)
    bars = [chat.page.get_by_role("region", name="A person", exact=True) for chat in (desktop, phone)]
    await phone.page.get_by_role("button", name="Ask a person").tap()
    await phone.page.get_by_label("What should a person help you with?").fill("My bill")
    await bars[1].get_by_role("button", name="Ask a person").tap()
    for bar in bars:
        await expect(bar).to_contain_text("Nobody is there to answer just now.")
    await expect(desktop.page.locator("#ask-person")).to_be_hidden()
    await look(desktop, phone)
    await bars[0].get_by_role("button", name="Wait").click()
    await expect(desktop.composer).to_be_focused()
    await bars[0].get_by_role("button", name="Leave a message").click()
    await desktop.page.keyboard.type("Call me")
    await bars[0].get_by_role("button", name="Leave the message").click()
    for chat, bar in zip((desktop, phone), bars, strict=True):
        await expect(chat.questions.last).to_have_text("Call me")
        await expect(chat.page.locator(".question__left").last).to_be_visible()
        await expect(bar).to_contain_text("Your message is kept.")
        await expect(bar.get_by_role("button")).to_have_text(["Go on with the agent"])
    # The agent goes on until somebody comes, who cuts it short.
    await desktop.say(SLOW)
    await expect(phone.answers.last).to_contain_text("offline models say")
    stack.operate("reply_as_human", desktop.session, text="Hello, **Dora** here.", key="1")
    for chat, bar in zip((desktop, phone), bars, strict=True):
        answer = chat.page.locator(".answer--human")
        await expect(answer.get_by_role("heading")).to_contain_text("Dora Berg")
        await expect(answer.locator("strong")).to_have_text("Dora")
        await expect(chat.page.get_by_text("A person took over here")).to_be_visible()
        await expect(bar).to_contain_text("Dora Berg answers")
        await expect(chat.composer).to_have_attribute("placeholder", "Write to Dora Berg")
        await expect(chat.page.locator("#stop, .working").locator("visible=true")).to_have_count(0)
        await expect(chat.page.locator(".asks-agent").locator("visible=true")).to_have_count(0)
    await expect(phone.status).to_have_text("Dora Berg: Hello, **Dora** here.")
    await phone.say("Thank you")
    await expect(desktop.questions.last).to_have_text("Thank you")
    await expect(phone.page.locator(".exchange--pending")).to_have_count(0)
    await look(desktop, phone)
    await desktop.page.reload()
    await expect(desktop.page.get_by_text("A person took over here")).to_be_visible()
    await expect(desktop.page.locator(".answer--human")).to_contain_text("Dora here.")
    await expect(bars[0]).to_contain_text("Dora Berg answers")
    stack.operate("return_to_agent", desktop.session)
    for chat, bar in zip((desktop, phone), bars, strict=True):
        await expect(bar).to_contain_text("Dora Berg has given the chat back: the agent goes on.")
        await expect(chat.composer).to_have_attribute("placeholder", "Write a message")
    await phone.say("[[offline text=Gladly]]")
    await expect(phone.answers.last).to_have_text(re.compile("Gladly"))
    await expect(bars[1]).to_be_hidden()
    # With somebody there it is said so, and its user may change their mind.
    stack.operate("on_duty")
    await bars[0].get_by_role("button", name="Dismiss").click()
    await desktop.page.get_by_role("button", name="Ask a person").click()
    await desktop.page.keyboard.press("Escape")
    await expect(desktop.page.locator("#ask-person")).to_be_focused()
    await desktop.page.keyboard.press("Enter")
    await bars[0].get_by_role("button", name="Ask a person").click()
    await expect(bars[1]).to_contain_text("Somebody is there and will answer here.")
    # Who waits for long reads how it is now.
    stack.operate("off_duty")
    await phone.page.evaluate("dispatchEvent(new Event('focus'))")
    await expect(bars[1]).to_contain_text("Nobody is there to answer just now.")
    await bars[1].get_by_role("button", name="Go on with the agent").tap()
    for bar in bars:
        await expect(bar).to_be_hidden()
    assert await desktop.violations() == []
