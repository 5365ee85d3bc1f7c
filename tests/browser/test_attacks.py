"""Texts that attack whoever reads them, in a real browser: nothing runs, nothing is loaded, nothing leads astray."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.payloads import PAYLOADS
from tests.browser.visitor import Chat, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")

HALF = 32

# What the page shows of the conversation: every element that our own scripts or the server's rendering may not make.
_FOUND = """
() => {
  const shown = document.querySelector("#transcript");
  const ours = ".tools, .state, .code__bar, .feedback__form, .tool, .branches";
  const all = [...shown.querySelectorAll("*")].filter((node) => !node.closest(ours));
  const allowed = new Set(("LI ARTICLE H1 H2 H3 H4 H5 H6 DIV SPAN P UL OL STRONG EM S CODE PRE BLOCKQUOTE HR BR A " +
    "TABLE THEAD TBODY TR TH TD").split(" "));
  return {
    harm: window.__harm ?? 0,
    foreign: all.filter((node) => !allowed.has(node.tagName)).map((node) => node.outerHTML),
    handlers: all.flatMap((node) => [...node.attributes]).map(({ name }) => name)
      .filter((name) => name.startsWith("on") || "style src srcset srcdoc action id name".split(" ").includes(name)),
    links: [...shown.querySelectorAll("a")].map((a) => [a.protocol, a.rel, a.target]),
  };
}
"""


async def look(chat: Chat) -> dict[str, Any]:
    """What is in the transcript after somebody has moved the mouse over, and clicked, all that it holds."""
    await chat.page.evaluate(
        """() => {
          addEventListener("click", (event) => event.target.closest("a") && event.preventDefault());
          for (const node of document.querySelectorAll("#transcript .question__text, #transcript .md, .md *")) {
            for (const type of ["mouseover", "mouseenter", "focus", "click"]) {
              node.dispatchEvent(new MouseEvent(type, { bubbles: true, cancelable: true }));
            }
          }
        }"""
    )
    found: dict[str, Any] = await chat.page.evaluate(_FOUND)
    return found


def check(found: dict[str, Any], violations: list[str]) -> None:
    assert (found["harm"], found["foreign"], found["handlers"]) == (0, [], [])
    assert violations == [], "the policy had to stop something that should not have been there at all"
    for protocol, rel, target in found["links"]:
        assert protocol in {"http:", "https:", "mailto:"}
        assert {"noopener", "noreferrer", "nofollow"} <= set(rel.split())
        assert target == "_blank"


def told(payloads: Sequence[str]) -> str:
    """A question that the model answers with all of these, one paragraph each."""
    return f"[[offline text={json.dumps((chr(10) * 2).join(payloads))}]]"


async def test_what_a_user_writes_runs_nothing(ada: Visitor, chat: Chat) -> None:
    for start in range(0, len(PAYLOADS), HALF):
        await chat.ask("\n\n".join(PAYLOADS[start : start + HALF]).replace("\x01", ""))
    check(await look(chat), await chat.violations())
    await chat.page.reload()
    await expect(chat.questions).to_have_count(-(-len(PAYLOADS) // HALF))
    check(await look(chat), await chat.violations())


async def test_what_a_model_says_runs_nothing_while_it_is_written_and_after(ada: Visitor, chat: Chat) -> None:
    await chat.ask("[[offline text=begun]]")
    for start in range(0, len(PAYLOADS), HALF):
        await chat.ask(told(PAYLOADS[start : start + HALF]))
        check(await look(chat), await chat.violations())
    await chat.page.reload()
    await expect(chat.questions).to_have_count(1 - (-len(PAYLOADS) // HALF))
    check(await look(chat), await chat.violations())


# Renders each text by itself, as the page does it, and resolves when all are drawn.
_DRAW_EACH = """
async (texts) => {
  const { MarkdownRenderer } = await import("/static/bandstand/chat/markdown-renderer.js");
  const { MarkdownView } = await import("/static/bandstand/chat/markdown.js");
  const renderer = new MarkdownRenderer();
  const views = texts.map((text) => {
    const view = new MarkdownView(renderer);
    view.update(text);
    document.querySelector("#transcript").append(view.node);
    return view;
  });
  while (views.some((view) => view.finished === null)) await new Promise(requestAnimationFrame);
}
"""


async def test_each_attack_rendered_alone_runs_nothing(chat: Chat) -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 60
    await chat.ask("[[offline text=begun]]")
    await chat.page.evaluate(_DRAW_EACH, PAYLOADS)
    await expect(chat.page.locator(".md")).to_have_count(1 + len(PAYLOADS))
    check(await look(chat), await chat.violations())


async def test_a_title_and_a_tool_run_nothing(ada: Visitor, chat: Chat) -> None:
    attack = "<img src=x onerror=window.__harm=1>"
    await chat.ask(f'{attack} [[offline tool=calculator args={{"expression": "{attack}"}}]]')
    await chat.page.get_by_role("button", name="Actions for this chat").click()
    await chat.page.locator("#chat-menu").get_by_text("Rename").click()
    await chat.page.get_by_label("Title").fill(attack)
    await chat.page.get_by_label("Title").press("Enter")
    await expect(chat.page.locator("#title")).to_have_text(attack)
    await expect(chat.page.locator("#session-list a").first).to_have_text(attack)
    assert await chat.page.evaluate("window.__harm ?? 0") == 0
    assert await chat.page.locator("#app img:not([src*=favicon])").count() == 0


async def test_this_harness_sees_what_it_looks_for(ada: Visitor, chat: Chat) -> None:
    """The other tests can fail: unsafe HTML in the same place is seen, loads, and runs into the policy."""
    await chat.ask("[[offline text=begun]]")
    await expect(chat.page.locator(".md p")).to_have_text("begun")
    await chat.page.evaluate(
        """() => {
          const unsafe = '<img src="https://evil.example/p.png" onerror="window.__harm=1"><a href="javascript:1">x</a>';
          document.querySelector(".md").innerHTML = unsafe;
        }"""
    )
    await chat.page.wait_for_function("() => window.__violations.length >= 2")
    found = await look(chat)
    assert found["foreign"]
    assert {"src", "onerror"} <= set(found["handlers"])
    assert found["links"] == [["javascript:", "", ""]]
    assert ada.faults, "the browser complains"
    ada.faults.clear()
    ada.outside.clear()
