"""Asking differently: versions of a question, and the way between them."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from tests.browser.visitor import Chat

pytestmark = pytest.mark.asyncio(loop_scope="session")


def versions_of_question(chat: Chat) -> Locator:
    return chat.page.locator(".question .branches__count").first


def versions_of_answer(chat: Chat) -> Locator:
    return chat.page.locator(".answer .branches__count").first


async def edit(chat: Chat, index: int, text: str) -> None:
    await chat.page.locator(".exchange").nth(index).hover()
    await chat.page.get_by_role("button", name="Edit your message").nth(index).click()
    editor = chat.page.locator(".editor").get_by_label("Your message")
    await expect(editor).to_be_focused()
    await editor.fill(text)
    await editor.press("Enter")


async def test_an_edited_message_is_a_branch_and_nothing_is_lost(chat: Chat) -> None:
    await chat.ask("[[offline text=one]] first")
    await chat.ask("[[offline text=two]] second")
    await edit(chat, 0, "[[offline text=uno]] edited")
    await expect(chat.questions).to_have_text(["[[offline text=uno]] edited"])
    await expect(chat.answers.first).to_contain_text("uno")
    await expect(versions_of_question(chat)).to_have_text("2/2")
    await chat.page.get_by_role("button", name="Previous version").click()
    await expect(chat.questions).to_have_text(["[[offline text=one]] first", "[[offline text=two]] second"])
    await expect(versions_of_question(chat)).to_have_text("1/2")
    await expect(chat.page.get_by_role("button", name="Previous version").first).to_be_focused()


async def test_the_chosen_branch_is_there_after_a_reload_and_goes_on(chat: Chat) -> None:
    await chat.ask("[[offline text=one]] first")
    await edit(chat, 0, "[[offline text=uno]] edited")
    await expect(versions_of_question(chat)).to_have_text("2/2")
    await chat.answered(chat.answers.first)
    await chat.page.get_by_role("button", name="Previous version").click()
    await expect(chat.questions).to_have_text(["[[offline text=one]] first"])
    await chat.page.reload()
    await expect(chat.questions).to_have_text(["[[offline text=one]] first"])
    await expect(versions_of_question(chat)).to_have_text("1/2")
    await chat.ask("[[offline text=more]] below")
    await chat.page.get_by_role("button", name="Next version").click()
    await expect(chat.questions).to_have_text(["[[offline text=uno]] edited"])
    await chat.page.get_by_role("button", name="Previous version").click()
    await expect(chat.questions).to_have_text(["[[offline text=one]] first", "[[offline text=more]] below"])


async def test_another_answer_is_a_version_of_the_answer(chat: Chat) -> None:
    answer = await chat.ask("Say something")
    await answer.get_by_role("button", name="Answer again").click()
    await expect(versions_of_answer(chat)).to_have_text("2/2")
    await chat.answered(chat.answers.first)
    await expect(chat.questions).to_have_text(["Say something"])
    await chat.answers.first.get_by_role("button", name="Answer again").click()
    await expect(versions_of_answer(chat)).to_have_text("3/3")
    await expect(versions_of_question(chat)).to_be_hidden()
    await chat.answered(chat.answers.first)
    await chat.page.reload()
    await chat.answered(chat.answers.first)
    await chat.answers.first.get_by_role("button", name="Answer again").click()
    await expect(versions_of_answer(chat)).to_have_text("4/4")


async def test_versions_of_an_answer_and_of_its_question_are_told_apart_also_after_a_reload(chat: Chat) -> None:
    answer = await chat.ask("[[offline text=one]] first")
    await answer.get_by_role("button", name="Answer again").click()
    await expect(versions_of_answer(chat)).to_have_text("2/2")
    await chat.answered(chat.answers.first)
    await edit(chat, 0, "[[offline text=uno]] edited")
    await expect(versions_of_question(chat)).to_have_text("2/2")
    await expect(versions_of_answer(chat)).to_be_hidden()
    await chat.answered(chat.answers.first)
    await chat.page.reload()
    await expect(versions_of_question(chat)).to_have_text("2/2")
    await expect(versions_of_answer(chat)).to_be_hidden()
    await chat.page.get_by_role("button", name="Previous version").click()
    await expect(versions_of_question(chat)).to_have_text("1/2")
    await expect(versions_of_answer(chat)).to_have_text("2/2")
    back = chat.answers.first.get_by_role("button", name="Previous version")
    await back.click()
    await expect(versions_of_answer(chat)).to_have_text("1/2")
    await expect(back).to_be_focused()


async def test_a_branch_from_another_window_is_shown_here_too(chat: Chat) -> None:
    await chat.ask("[[offline text=one]] first")
    other = Chat(await chat.page.context.new_page(), chat.base)
    await other.open(chat.session)
    await expect(other.answers.first).to_contain_text("one")
    await edit(chat, 0, "[[offline text=uno]] edited")
    await expect(other.questions).to_have_text(["[[offline text=uno]] edited"])
    await chat.answered(chat.answers.first)
    await chat.page.get_by_role("button", name="Previous version").click()
    await expect(other.questions).to_have_text(["[[offline text=one]] first"])


async def test_escape_leaves_the_editor_and_the_message_as_it_was(chat: Chat) -> None:
    await chat.ask("[[offline text=one]] first")
    await chat.composer.press("ArrowUp")
    editor = chat.page.locator(".editor").get_by_label("Your message")
    await expect(editor).to_be_focused()
    await editor.fill("changed")
    await editor.press("Escape")
    await expect(chat.questions).to_have_text(["[[offline text=one]] first"])
    await expect(chat.page.get_by_role("button", name="Edit your message")).to_be_focused()
    await expect(versions_of_question(chat)).to_be_hidden()
