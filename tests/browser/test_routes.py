"""What people see of a model that fails, and operators of its route."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Arrive
from tests.browser.console_visit import Console
from tests.browser.stack import Stack
from tests.provider import Provider

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("furnished", "troubled")]


# Every text of the transcript from now on.
_WATCH = """
window.__shown = [];
const transcript = document.querySelector("#transcript");
new MutationObserver(() => window.__shown.push(transcript.textContent))
  .observe(transcript, { subtree: true, childList: true, characterData: true });
"""


@pytest.fixture
def troubled(stack: Stack) -> None:
    stack.seed("tests.browser.routes_seed")


async def test_the_words_of_a_model_that_breaks_off_go_and_another_one_answers(arrive: Arrive, stack: Stack) -> None:
    provider = Provider()
    await provider.start("127.0.0.1", stack.provider_port)
    try:
        chat = await (await arrive("rita")).chat()
        await chat.page.locator("#agents label", has_text="Relay").click()
        await chat.page.evaluate(_WATCH)
        answer = await chat.ask("Hello")
        await expect(answer.get_by_role("paragraph")).to_have_text(["Whole"])
        shown: list[str] = await chat.page.evaluate("window.__shown")
    finally:
        await provider.stop()
    # The first one's words appear, and go with a note that says so; they never stand beside the other one's.
    assert any("a provider that" in text for text in shown)
    assert any("The model broke off; asking again" in text for text in shown)
    assert not any("a provider" in text and "Whole" in text for text in shown)
    assert [request.body["model"].partition(".")[0] for request in provider.requests] == ["first", "first", "second"]


async def test_the_list_of_routes_needs_no_scrolling_on_a_desktop(arrive: Arrive) -> None:
    console = await Console.open(await arrive("olga"))
    await console.go_in_order("agents/routehealth/")
    tables = "[...document.querySelectorAll('table')].map((one) => [one.scrollWidth, one.parentElement.clientWidth])"
    for needed, there in await console.page.evaluate(tables):
        assert needed <= there
