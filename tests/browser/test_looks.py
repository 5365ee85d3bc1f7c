"""Keys, phones, readers of screens, colours: the page is for everybody."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Arrive
from tests.browser.visitor import PHONE, Chat, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

# The contrast of every text that is shown with what is behind it, by the formula of WCAG 2.
CONTRASTS = """
() => {
  const parse = (color) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const [r, g, b, a] = parse(getComputedStyle(node).backgroundColor);
      if (a === 255) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode()); ) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (node.closest(":disabled, [aria-disabled=true]")) continue;
    const [one, two] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < 4.5) found.push([text.data.trim().slice(0, 40), node.className, Math.round(ratio * 100) / 100]);
  }
  return found;
}
"""


async def everything(chat: Chat) -> None:
    """Let the page show much of what it can."""
    await chat.ask('[[offline calls=[["calculator", {"expression": "6*7"}], ["calculator", {"expression": "("}]]]]')
    await chat.page.locator("details.tool summary").first.click()
    await chat.ask(
        '[[offline text="# A\\n\\n> b\\n\\n[c](https://d.example) `e`\\n\\n```py\\nf\\n```\\n\\n| g |\\n|-|\\n| h |"]]'
    )
    await chat.answers.last.get_by_role("button", name="Bad answer").click()
    await chat.say("[[offline fail=bad_request]]")
    await expect(chat.page.locator(".failure")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_its_ground(arrive: Arrive, scheme: str) -> None:
    ada = await arrive("ada", color_scheme=scheme)
    chat = await ada.chat()
    assert await chat.page.evaluate(CONTRASTS) == []
    await everything(chat)
    assert await chat.page.evaluate(CONTRASTS) == []
    await chat.page.get_by_role("button", name="Keyboard shortcuts").click()
    assert await chat.page.evaluate(CONTRASTS) == []
    for path in ("help/", "login/"):
        page = await (ada if path == "help/" else await arrive(None, color_scheme=scheme)).open_window()
        await page.goto(f"{chat.base}/{path}")
        assert await page.evaluate(CONTRASTS) == []


async def nameless(page: Page) -> list[str]:
    found: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, textarea, [role=region]")]
          .filter((node) => node.checkVisibility())
          .filter((node) => !(node.ariaLabel || node.title || node.textContent.trim() || node.labels?.length))
          .map((node) => node.outerHTML)"""
    )
    return found


async def test_everything_has_a_name_and_every_id_is_there_once(chat: Chat) -> None:
    await everything(chat)
    assert await nameless(chat.page) == []
    ids: list[str] = await chat.page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(set(ids)) == len(ids)
    assert await chat.page.locator("main h1").count() >= 1


async def test_the_keyboard_reaches_everything_and_the_first_stop_is_the_message_box(chat: Chat) -> None:
    first: str = await chat.page.evaluate("document.querySelector('a, button, input, [tabindex]').id")
    skip = chat.page.get_by_role("link", name="Skip to the message box")
    assert first == await skip.get_attribute("id")
    await skip.focus()
    await expect(skip).to_be_in_viewport()
    await chat.page.keyboard.press("Enter")
    await expect(chat.composer).to_be_focused()
    await chat.page.keyboard.type("Hello")
    await chat.page.keyboard.press("Shift+Enter")
    await chat.page.keyboard.type("there")
    await expect(chat.composer).to_have_value("Hello\nthere")
    await chat.page.keyboard.press("Enter")
    await expect(chat.questions).to_have_text(["Hello\nthere"], use_inner_text=True)
    await chat.answered(chat.answers.first)


async def test_the_shortcuts_work_and_are_listed(chat: Chat) -> None:
    await chat.ask("Hello")
    await chat.page.keyboard.press("Control+/")
    await expect(chat.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(chat.page.get_by_role("dialog")).to_be_hidden()
    await expect(chat.composer).to_be_focused()
    await chat.page.keyboard.press("Control+Shift+O")
    await expect(chat.page.locator("#welcome")).to_be_visible()
    await chat.page.go_back()
    await expect(chat.answers).to_have_count(1)
    await chat.page.locator("#scroller").focus()
    await chat.page.keyboard.press("?")
    await expect(chat.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await chat.page.keyboard.press("Shift+Escape")
    await expect(chat.composer).to_be_focused()


async def test_a_menu_opens_moves_and_closes_by_keys(chat: Chat) -> None:
    await chat.ask("Hello")
    button = chat.page.get_by_role("button", name="Actions for this chat")
    await button.focus()
    await chat.page.keyboard.press("Enter")
    await expect(chat.page.locator("#chat-menu").get_by_text("Rename")).to_be_focused()
    await chat.page.keyboard.press("ArrowUp")
    await expect(chat.page.locator("#chat-menu").get_by_text("Delete")).to_be_focused()
    await chat.page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await expect(chat.page.locator("#chat-menu")).to_be_hidden()


async def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_list_slides_in(arrive: Arrive) -> None:
    visitor = await arrive("ada", viewport=PHONE, has_touch=True, is_mobile=True)
    chat = await visitor.chat()
    await everything(chat)
    await chat.ask("x" * 300)
    width: Any = await chat.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    await expect(chat.page.locator("#sidebar")).not_to_be_in_viewport()
    await chat.page.get_by_role("button", name="Chats", exact=True).tap()
    await expect(chat.page.locator("#sidebar")).to_be_in_viewport()
    await chat.page.get_by_role("button", name="New chat", exact=True).tap()
    await expect(chat.page.locator("#sidebar")).not_to_be_in_viewport()
    small = await chat.page.evaluate(
        """() => [...document.querySelectorAll("#composer button, .top button, .tools button")]
          .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 24)
          .map((node) => node.outerHTML)"""
    )
    assert small == []


async def test_on_paper_the_whole_conversation_stands_and_nothing_to_press(chat: Chat) -> None:
    await chat.ask(f'[[offline pace_ms=0 text="{"many words " * 900}"]]')
    await chat.page.emulate_media(media="print")
    await expect(chat.page.locator("#sidebar")).to_be_hidden()
    await expect(chat.composer).to_be_hidden()
    cut = await chat.page.locator("#scroller").evaluate("(node) => node.scrollHeight - node.clientHeight")
    assert cut == 0
    shown = await chat.page.evaluate(
        "[...document.querySelectorAll('#transcript button')].filter((node) => node.checkVisibility()).length"
    )
    assert shown == 0


async def test_an_answer_that_nobody_saw_yet_marks_the_title(chat: Chat) -> None:
    found = await chat.page.evaluate(
        """async () => {
          const { PageTitle } = await import("/static/bandstand/chat/page-title.js");
          const title = new PageTitle();
          const look = (hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
          };
          title.show("Clouds");
          title.answered();
          const titles = [document.title];
          look(true);
          titles.push(document.title);
          title.answered();
          titles.push(document.title);
          title.show("Rain");
          titles.push(document.title);
          look(false);
          return [...titles, document.title];
        }"""
    )
    assert found == ["Clouds", "Clouds", "● Clouds", "● Rain", "Rain"]


async def test_who_may_not_use_the_chat_is_told_so_and_can_sign_out(arrive: Arrive) -> None:
    eve = await arrive("eve")
    page = await eve.open_window()
    await page.goto(eve.stack.base)
    await expect(page.get_by_role("heading", name="You may not use the chat")).to_be_visible()
    await expect(page.locator("#composer")).to_be_hidden()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_who_wants_no_motion_gets_none(arrive: Arrive) -> None:
    visitor = await arrive("ada", reduced_motion="reduce")
    chat = await visitor.chat()
    await chat.say("[[offline words=50 pace_ms=40]]")
    await expect(chat.page.locator(".working")).to_be_visible()
    running = await chat.page.evaluate("document.getAnimations().filter((a) => a.playState === 'running').length")
    assert running == 0


async def test_somebody_logs_in_and_out(arrive: Arrive) -> None:
    visitor = await arrive(None)
    page = await visitor.open_window()
    await page.goto(visitor.stack.base)
    await page.get_by_label("User name").fill("ada")
    await page.get_by_label("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("do not match")
    await page.get_by_label("Password").fill(visitor.stack.seeded["password"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Your message", exact=True)).to_be_focused()
    await page.get_by_label("Your message", exact=True).fill("a draft")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0


async def test_the_help_is_a_click_away(chat: Chat, ada: Visitor) -> None:
    await chat.page.get_by_role("link", name="Help").click()
    await expect(chat.page.get_by_role("heading", name="The chat")).to_be_visible()
    await chat.page.get_by_role("link", name="Back to the chat").click()
    await expect(chat.composer).to_be_visible()
