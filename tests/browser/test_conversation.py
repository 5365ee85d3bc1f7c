"""A conversation in the chat page, as somebody has it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.visitor import Chat

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_message_is_answered(chat: Chat) -> None:
    answer = await chat.ask('[[offline text="Hello **there**, `friend`."]]')
    await expect(answer.locator("strong")).to_have_text("there")
    await expect(answer.locator("code")).to_have_text("friend")
    await expect(chat.composer).to_be_focused()
