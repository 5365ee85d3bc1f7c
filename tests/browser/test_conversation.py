"""A conversation in the chat page, as somebody has it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.async_api import expect

from agents.domain.message_parts import text_part
from agents.domain.replay import apply_event
from agents.domain.response_fallbacks import FALLBACK_NOTES, HANDOFF_TEXT
from tests.browser.texts import PLAN
from tests.browser.visitor import Chat, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="session")


def directed(text: str, **settings: object) -> str:
    """A question that the offline model answers with `text`."""
    words = " ".join(f"{name}={value}" for name, value in settings.items())
    return f"[[offline text={json.dumps(text)} {words}]]"


async def test_a_message_is_answered(chat: Chat) -> None:
    answer = await chat.ask(directed("Hello **there**, `friend`."))
    await expect(answer.locator("strong")).to_have_text("there")
    await expect(answer.locator("code")).to_have_text("friend")
    await expect(chat.composer).to_be_focused()
    await expect(chat.composer).to_have_value("")


async def test_markdown_is_drawn_with_lists_tables_and_code(chat: Chat) -> None:
    answer = await chat.ask(directed(PLAN))
    await expect(answer.locator("ol > li")).to_have_count(3)
    await expect(answer.locator("table tr")).to_have_count(4)
    await expect(answer.locator("th").last).to_have_attribute("align", "right")
    await expect(answer.locator(".code__language")).to_have_text("python")
    await expect(answer.get_by_role("region", name="Code in python")).to_contain_text("coconut milk")


MIXED = """שלום `f(x);` עולם.

Hello.

- אחד
- Two.

`ls` הוא $a_1*b$.

| א | b |
|---|---|
| 1 | 2 |

```python
x = 'אב'  # גד
```
"""
# The left and right edge of each text that an element holds, in pixels.
EDGES = """
(node) => {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const edges = {};
  while (walker.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const { left, right } = range.getBoundingClientRect();
    if (walker.currentNode.data.trim()) edges[walker.currentNode.data.trim()] = [Math.round(left), Math.round(right)];
  }
  return edges;
}
"""


async def test_each_text_runs_in_its_own_direction_and_each_block_has_one_side(chat: Chat) -> None:
    answer = await chat.ask(f"שאלה?\n\nQuestion.\n{directed(MIXED)}")
    at = await answer.locator(".md").evaluate(EDGES)
    left, right = at["Hello."][0], at["שלום"][1]
    assert right - left > 300
    # Code and formulas stand within a sentence, and do not turn it.
    assert left < at["עולם."][0] < at["f(x);"][0] < at["שלום"][0]
    assert right - 20 < at["ls"][1] <= right
    assert at["$a_1*b$"][1] < at["ls"][0]
    # A list, and a table: what begins on the right, begins there with all its texts.
    assert left < at["Two."][0]
    assert at["Two."][1] == at["אחד"][1] < right
    assert at["b"][1] < at["א"][0]
    assert at["2"][1] == at["b"][1]
    assert right - 40 < at["א"][1] < right
    # A string and the comment behind it do not change places.
    assert left < at["x ="][0] < at["'אב'"][0] < at["# גד"][0]
    question = await chat.page.locator(".question__text").last.evaluate(
        "(node) => { const r = document.createRange(); const t = node.firstChild; r.setStart(t, 0); r.setEnd(t, 5);"
        " const a = r.getBoundingClientRect().left; r.setStart(t, 7); r.setEnd(t, 16);"
        " return [a, r.getBoundingClientRect().left, node.getBoundingClientRect().left]; }"
    )
    assert question[0] - question[2] > 100 > question[1] - question[2]


async def test_code_and_answers_are_copied(ada: Visitor, chat: Chat) -> None:
    await ada.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=chat.base)
    answer = await chat.ask(directed("Look:\n\n```sh\nls -l\ndf\n```\n\nThat is *all*."))
    # The last rendering comes a moment after the last word.
    await expect(answer.locator(".md__tail")).to_have_count(0)
    await answer.locator(".code").get_by_role("button", name="Copy").click()
    await expect(answer.locator(".code").get_by_role("button", name="Copied")).to_be_visible()
    assert await chat.page.evaluate("navigator.clipboard.readText()") == "ls -l\ndf\n"
    await answer.locator(".answer__tools").get_by_role("button", name="Copy").click()
    await expect(answer.locator(".answer__tools").get_by_role("button", name="Copied")).to_be_visible()
    assert "That is *all*." in await chat.page.evaluate("navigator.clipboard.readText()")


async def test_code_is_copied_whole_where_the_browser_refuses_its_clipboard(chat: Chat) -> None:
    await chat.page.evaluate(
        """() => {
          navigator.clipboard.writeText = () => Promise.reject(new Error("refused"));
          document.addEventListener("copy", ({ clipboardData }) => {
            window.__copied = clipboardData.getData("text/plain");
          });
        }"""
    )
    answer = await chat.ask(directed("```sh\nls -l\ndf\n```"))
    # The last rendering comes a moment after the last word.
    await expect(answer.locator(".md__tail")).to_have_count(0)
    await answer.locator(".code").get_by_role("button", name="Copy").click()
    await expect(answer.locator(".code").get_by_role("button", name="Copied")).to_be_visible()
    assert await chat.page.evaluate("window.__copied") == "ls -l\ndf\n"


async def test_code_has_colours_and_stays_the_same_text(chat: Chat) -> None:
    code = 'def f(x):  # twice\n    return "<b>" + x * 2\n'
    answer = await chat.ask(directed(f"```python\n{code}```"))
    shown = answer.locator(".code code")
    await expect(shown).to_have_text(code, use_inner_text=False)
    await expect(shown.locator(".code__comment")).to_have_text("# twice")
    await expect(shown.locator(".code__string")).to_have_text('"<b>"')
    await expect(shown.locator(".code__word")).to_have_text(["def", "return"])


# Milliseconds of the slowest of many long texts that once take a long way back.
_SLOWEST_COLOURS = """
async ([length, languages]) => {
  const { highlight } = await import("/static/bandstand/chat/highlight.js");
  const times = [];
  const starts = ["'", '"', "`", "\\\\'", '\\\\"', "/*", "//", "#",
    "<!--", "='", "a", "@", "-", "1.", "_ ", "$"];
  for (const start of starts) {
    for (const language of languages) {
      const code = document.createElement("code");
      code.textContent = start.repeat(length / start.length);
      const began = performance.now();
      highlight(code, language);
      times.push(performance.now() - began);
      if (code.textContent.length !== start.length * Math.floor(length / start.length)) throw new Error(language);
    }
  }
  return Math.max(...times);
}
"""


async def test_the_colours_of_code_take_no_longer_for_text_that_is_made_to_be_slow(chat: Chat) -> None:
    languages = ["js", "rust", "python", "sh", "sql", "css", "html", "unheard-of"]
    short, long = [await chat.page.evaluate(_SLOWEST_COLOURS, [length, languages]) for length in (4_000, 48_000)]
    print(f"slowest colours: {short:.0f} ms for 4,000 letters, {long:.0f} ms for 48,000")
    assert long <= 60 * short, "twelve times the text takes about twelve times as long; one more power would be 144"


# Looks at the transcript at every change: what is rendered stays, nothing disappears, nothing shrinks.
_WATCH = """
() => {
  window.__seen = { shrunk: 0, lost: 0, lists: 0, tallest: 0, longest: 0 };
  const look = () => {
    requestAnimationFrame(look);
    const answer = document.querySelectorAll(".answer .md")[1];
    if (!answer) return;
    const { height } = answer.getBoundingClientRect();
    const letters = answer.textContent.replace(/[^a-z]/gi, "").length;
    if (height < window.__seen.tallest - 30) window.__seen.shrunk += 1;
    // A word may still turn out to be the name of a code's language, which is shown above it.
    if (letters < window.__seen.longest - 8) window.__seen.lost += 1;
    window.__seen.tallest = Math.max(height, window.__seen.tallest);
    window.__seen.longest = Math.max(letters, window.__seen.longest);
    const list = answer.querySelector("ol");
    if (!list || list.marked) return;
    list.marked = true;
    window.__seen.lists += 1;
    window.__seen.busy = list.closest(".answer").ariaBusy;
  };
  look();
}
"""


async def test_an_answer_grows_without_flicker_and_is_rendered_while_it_is_written(chat: Chat) -> None:
    asked: list[str] = []
    await chat.ask(directed("Welcome."))
    await chat.page.evaluate(_WATCH)
    chat.page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/chat/render") else None)
    await chat.say(directed(PLAN, pace_ms=12))
    answer = chat.answers.nth(1)
    await chat.answered(answer)
    seen = await chat.page.evaluate("window.__seen")
    assert seen["busy"] == "true", "the list was there before the answer had ended"
    assert (seen["shrunk"], seen["lost"]) == (0, 0), seen
    assert seen["lists"] == 1, "the list that was there first is still the same element"
    assert 2 <= len(asked) < 40


# Every word that was on the page at any moment.
_WORDS = """
() => {
  window.__words = new Set();
  const look = () => {
    requestAnimationFrame(look);
    const text = document.querySelectorAll(".answer .md")[1]?.textContent ?? "";
    for (const word of text.split(/\\s+/)) window.__words.add(word);
  };
  look();
}
"""


async def test_words_never_run_together_while_they_are_written(chat: Chat) -> None:
    await chat.ask(directed("Welcome."))
    await chat.page.evaluate(_WORDS)
    text = "one two three four.\n\nfive six\n\n- seven\n- eight\n\n`nine` ten " * 3
    await chat.say(directed(text, pace_ms=25))
    await chat.answered(chat.answers.nth(1))
    seen = set(await chat.page.evaluate("[...window.__words]"))
    known = {"", "one", "two", "three", "four.", "five", "six", "seven", "eight", "nine", "ten"}
    assert seen - known == set()
    assert {"one", "ten", "four."} <= seen


async def test_what_was_streamed_looks_like_what_is_loaded(chat: Chat) -> None:
    text = "\n\n".join(f"## Part {n}\n\n{'Many words. ' * 30}\n\n- a\n- b\n\n1. one\n\n   more\n" for n in range(4))
    await chat.say(directed(text, pace_ms=1))
    await chat.answered(chat.answers.first)
    body = chat.page.locator(".answer .md").first
    # The words of the end are there before their last rendering is.
    await expect(body.locator("ol li p:text-is('more')")).to_have_count(4)
    streamed = await body.inner_html()
    await chat.page.reload()
    await expect(body).to_have_js_property("innerHTML", streamed)


async def test_tool_calls_are_shown_with_their_state_and_open_to_what_went_in_and_out(chat: Chat) -> None:
    answer = await chat.ask(
        '[[offline calls=[["calculator", {"expression": "6*7"}], ["calculator", {"expression": "("}]]]]'
    )
    good, bad = answer.locator("details.tool").nth(0), answer.locator("details.tool").nth(1)
    await expect(good.locator(".tool__state")).to_have_text("done")
    await expect(bad.locator(".tool__state")).to_have_text("failed")
    await expect(good.locator(".tool__gist")).to_have_text("6*7")
    await expect(good.get_by_role("region", name="Result")).to_be_hidden()
    await good.locator("summary").focus()
    await chat.page.keyboard.press("Enter")
    await expect(good.get_by_role("region", name="Arguments")).to_contain_text('"expression": "6*7"')
    await expect(good.get_by_role("region", name="Result")).to_have_text("42")


# Parts as the log shows them while tools run, drawn by the page's own module.
_DRAWN_PARTS = """
async (parts) => {
  const { PartsView } = await import("/static/bandstand/chat/message-parts.js");
  const view = new PartsView(null);
  view.update(parts, true);
  document.body.append(view.node);
  return [...view.node.querySelectorAll(".tool__state")].map((node) => node.textContent);
}
"""


async def test_a_running_tool_and_one_of_unknown_outcome_say_so(chat: Chat) -> None:
    call = {"type": "tool_call", "name": "notebook_add", "arguments": "{broken"}
    result = {"type": "tool_result", "call_id": "1", "content": "?", "is_error": True, "outcome": "unknown"}
    parts = [{**call, "id": "1"}, result, {**call, "id": "2"}]
    assert await chat.page.evaluate(_DRAWN_PARTS, parts) == ["outcome unknown", "running…"]


# The page's own state of a turn, and the line below its answer, after each of these events.
_FOLLOWED = """
async ([window, events]) => {
  const { Conversation } = await import("/static/bandstand/chat/conversation.js");
  const { ExchangeView } = await import("/static/bandstand/chat/exchange.js");
  const conversation = new Conversation(window);
  const view = new ExchangeView(conversation.exchanges()[0], { actions: {}, renderer: null });
  return events.map((event) => {
    conversation.apply(event);
    const [exchange] = conversation.exchanges();
    view.update(exchange);
    const note = view.node.querySelector(".state .note")?.textContent ?? null;
    return [exchange.turn.status, structuredClone(exchange.turn.shown), note];
  });
}
"""


async def test_a_turn_that_waits_keeps_its_words_and_one_whose_model_is_asked_again_loses_the_last(chat: Chat) -> None:
    message = {
        "id": "m", "ordinal": 1, "author": "user", "parts": [text_part("Hi")], "turn": "t", "parent": None,
        "partial": False, "feedback": None, "created_at": "2026-11-22T08:15:30.000001Z",
    }  # fmt: skip
    turn = {
        "id": "t", "message": "m", "ordinal": 1, "priority": "interactive", "status": "running", "shown": [],
        "approvals": [],
        "error": None,
    }  # fmt: skip
    window: dict[str, Any] = {
        "seq": 0,
        "session": {"head": "m"},
        "messages": [message],
        "turns": {"t": turn},
        "older": False,
        "handoff": None,
    }
    tool = {"step": 2, "call_id": "c", "name": "clock"}
    until: dict[str, object] = {"until": "2026-11-22T08:15:30.000001Z"}
    again, broken = "The model broke off; asking again", {"step": 1, "reason": "transient"}
    happens: list[tuple[str, dict[str, object], str | None]] = [
        ("message.delta", {"text": "Hel"}, None),
        ("model.retrying", {**broken, "route": "openai:b"}, again),
        ("message.delta", {"text": "Wait."}, None),
        ("tool.started", {**tool, "arguments": "{}"}, None),
        ("turn.waiting", {"for": "approval", **until}, "Waiting"),
        ("turn.queued", {"reason": "approved"}, "Waiting for a free place"),
        ("turn.started", {"epoch": 2, "resumed": True}, None),
        ("tool.finished", {**tool, "content": "noon"}, None),
        ("reasoning.delta", {"text": "Hm"}, None),
        ("reasoning.delta", {"text": ", so"}, None),
        ("message.delta", {"text": "It is"}, None),
        ("model.retrying", {**broken, "route": None}, again),
        ("turn.retry_wait", until, "The model does not answer just now; trying again soon"),
        ("turn.queued", {"reason": "wait_over"}, "Waiting for a free place"),
        ("turn.started", {"epoch": 3, "resumed": True}, again),
        ("message.delta", {"text": "It is noon."}, None),
        ("turn.queued", {"reason": "lease_lost"}, "Waiting for a free place"),
        ("turn.restarted", {"epoch": 4}, "Interrupted; writing it again"),
    ]
    events = [{"event": name, "turn": "t", "data": data} for name, data, _ in happens]
    followed = await chat.page.evaluate(_FOLLOWED, [window, events])
    state = window
    for seq, ((name, data, note), seen) in enumerate(zip(happens, followed, strict=True), start=1):
        state = apply_event(state, seq=seq, turn_id="t", event_type=name, data=data)
        there = state["turns"]["t"]
        shown = [{key: part[key] for key in part if part[key] is not None} for part in seen[1]]
        assert (seen[0], shown, seen[2]) == (there["status"], there["shown"], note), name


async def test_when_the_model_fails_people_read_what_they_got_instead(chat: Chat) -> None:
    await chat.page.get_by_role("radio", name="Writer Drafts").check()
    answer = await chat.ask("[[offline fail=auth]]")
    await expect(answer).to_contain_text(HANDOFF_TEXT)
    await expect(answer.locator(".note")).to_have_text([FALLBACK_NOTES["human_handoff"]])
    await chat.page.reload()
    await expect(chat.answers.last.locator(".note")).to_have_text([FALLBACK_NOTES["human_handoff"]])
    notes = await chat.page.evaluate(_NOTES_BESIDE, [*FALLBACK_NOTES])
    assert notes == [*FALLBACK_NOTES.values()]


# The notes beside texts that are these fallbacks.
_NOTES_BESIDE = """
async (names) => {
  const { PartsView } = await import("/static/bandstand/chat/message-parts.js");
  return names.map((fallback) => {
    const view = new PartsView(null);
    view.update([{ type: "text", text: "", fallback }], false, true);
    return view.node.querySelector(".note").textContent;
  });
}
"""


# Parts of an answer with one result of so many letters: what is shown of it at first, and after the button.
_LONG_RESULT = """
async (length) => {
  const { PartsView } = await import("/static/bandstand/chat/message-parts.js");
  const view = new PartsView(null);
  const call = { type: "tool_call", id: "1", name: "fetch", arguments: "{}" };
  view.update([call, { type: "tool_result", call_id: "1", content: "x".repeat(length), is_error: false }], false, true);
  document.body.append(view.node);
  view.node.querySelector("details").open = true;
  const result = () => view.node.querySelector("[aria-label=Result]").textContent.length;
  const button = [...view.node.querySelectorAll("button")].at(-1);
  const first = [result(), button.checkVisibility(), button.textContent];
  button.click();
  return [...first, result()];
}
"""


async def test_of_a_long_result_the_beginning_is_shown_and_all_of_it_on_demand(chat: Chat) -> None:
    found = await chat.page.evaluate(_LONG_RESULT, 60_000)
    assert found == [4001, True, "Show all 60,000 characters", 60_000]
    short = await chat.page.evaluate(_LONG_RESULT, 100)
    assert short[:2] == [100, False]


async def test_an_answer_that_has_ended_is_on_the_screen_with_its_buttons(chat: Chat) -> None:
    answer = await chat.ask(directed(PLAN + "\n\n" + "One more line.\n\n" * 12, pace_ms=3))
    foot = await chat.page.locator(".foot").bounding_box()
    buttons = await answer.locator(".answer__tools").bounding_box()
    assert foot is not None
    assert buttons is not None
    assert buttons["y"] + buttons["height"] <= foot["y"]


async def test_what_is_too_long_is_kept_and_says_so_instead_of_being_cut_or_sent(chat: Chat) -> None:
    await chat.composer.fill("ä" * 32_768)
    await expect(chat.page.locator("#send")).to_be_enabled()
    await chat.composer.fill("ä" * 35_000)
    await expect(chat.page.locator("#problem")).to_contain_text("too long to send")
    await expect(chat.page.locator("#send")).to_be_disabled()
    await chat.composer.press("Enter")
    assert len(await chat.composer.input_value()) == 35_000
    await chat.composer.fill("short")
    await expect(chat.page.locator("#problem")).to_be_empty()
    await expect(chat.page.locator("#send")).to_be_enabled()


# Presses Enter as keyboards do that put words together, and then as one that does not.
_ENTERS = """
async () => {
  const { isSendKey } = await import("/static/bandstand/chat/text-input.js");
  const press = (more) => isSendKey(new KeyboardEvent("keydown", { key: "Enter", ...more }));
  return [press({ isComposing: true }), press({ keyCode: 229 }), press({ shiftKey: true }), press({})];
}
"""


async def test_enter_that_ends_a_composition_sends_nothing(chat: Chat) -> None:
    assert await chat.page.evaluate(_ENTERS) == [False, False, False, True]


# The notes of a message that the server will not take yet.
_NOTES = """
async () => {
  const { PendingMessages } = await import("/static/bandstand/chat/pending-messages.js");
  const pending = new PendingMessages();
  const note = (...now) => pending.items({ messages: new Map() }, ...now).map(({ note }) => note);
  pending.add([{ id: "1", text: "Hi" }], 0);
  const notes = [note(true), note(false), note(false, true)];
  pending.delayed("1", "turn_in_progress", 2000);
  notes.push(note(true));
  pending.delayed("1", "rate_limited", 30_000);
  notes.push(note(true));
  return [...notes, pending.delayed("2", "rate_limited", 1), pending.delayed("1", "other", 1)];
}
"""


async def test_a_message_that_is_not_taken_yet_says_why_and_when_it_is_sent_again(chat: Chat) -> None:
    assert await chat.page.evaluate(_NOTES) == [
        ["Sending…"],
        ["Waits for the connection"],
        ["Waits until you sign in"],
        ["Waits for the answer before it."],
        ["Waits: too many messages in a short time. Sent again in 30 s."],
        False,
        False,
    ]


async def test_stop_ends_an_answer_and_keeps_what_was_written(chat: Chat) -> None:
    await chat.say(directed("word " * 400, pace_ms=30))
    answer = chat.answers.first
    await expect(answer).to_contain_text("word word")
    await chat.page.get_by_role("button", name="Stop the answer").click()
    await expect(answer).to_contain_text("Stopped here")
    await expect(answer.locator(".md")).to_contain_text("word word")
    await expect(chat.page.get_by_role("button", name="Stop the answer")).to_be_hidden()
    await expect(chat.composer).to_be_focused()


async def test_a_failure_says_why_with_its_reference_and_is_tried_again(ada: Visitor, chat: Chat) -> None:
    await ada.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=chat.base)
    await chat.say("[[offline fail=unknown]]")
    failure = chat.page.locator(".failure")
    await expect(failure).to_contain_text("The model failed in a way that we do not know.")
    reference = await failure.locator("code").inner_text()
    assert re.fullmatch(r"[0-9a-f-]{36}", reference)
    await failure.get_by_role("button", name="Copy the reference").click()
    await expect(failure.get_by_role("button", name="Copy the reference")).to_contain_text("Copied")
    assert await chat.page.evaluate("navigator.clipboard.readText()") == reference
    await failure.get_by_role("button", name="Try again").click()
    await expect(chat.page.locator(".answer .branches__count")).to_have_text("2/2")
    await expect(failure.locator("code")).not_to_have_text(reference)


async def test_a_failure_that_would_come_again_offers_no_useless_button(chat: Chat) -> None:
    await chat.say("[[offline fail=auth]]")
    failure = chat.page.locator(".failure")
    await expect(failure).to_contain_text("Trying again does not help: tell whoever runs this service.")
    await expect(failure.get_by_role("button", name="Try again")).to_have_count(0)


# --- a model that reasons ---

THOUGHTS = "They want **one** word.\n\n- a short one"


def reasoned(text: str, **settings: object) -> str:
    return directed(text, reasoning=json.dumps(THOUGHTS), **settings)


async def test_reasoning_is_folded_above_the_answer_and_opened_by_key(ada: Visitor, chat: Chat) -> None:
    await ada.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=chat.base)
    answer = await chat.ask(reasoned("Fine."))
    reasoning = answer.locator("details.reasoning")
    await expect(reasoning.locator("summary")).to_have_text("Reasoning")
    await expect(reasoning.locator(".md")).to_be_hidden()
    await expect(chat.page.locator("#status")).to_have_text(re.compile(r": Fine\.$"))
    await reasoning.locator("summary").focus()
    await chat.page.keyboard.press("Enter")
    await expect(reasoning.locator("strong")).to_have_text("one")
    await expect(reasoning.locator("li")).to_have_text("a short one")
    order = "node => [...node.children].map((child) => child.dataset.kind)"
    assert await answer.locator(".parts").evaluate(order) == ["reasoning", "text"]
    await answer.get_by_role("button", name="Copy", exact=True).click()
    await expect(answer.get_by_role("button", name="Copied")).to_be_visible()
    assert await chat.page.evaluate("navigator.clipboard.readText()") == "Fine."


async def test_while_it_reasons_the_page_says_so_and_a_reload_shows_the_same(chat: Chat) -> None:
    await chat.say(reasoned("word " * 200, pace_ms=500))
    reasoning = chat.page.locator("details.reasoning")
    await expect(reasoning.locator("summary")).to_have_text("Thinking…")
    await reasoning.locator("summary").click()
    await expect(reasoning).to_contain_text("They want one")
    await expect(chat.page.locator("#status")).to_have_text("The answer is being written.")
    await chat.page.reload()
    await expect(reasoning.locator("summary")).to_have_text("Thinking…")
    await reasoning.locator("summary").click()
    await expect(reasoning).to_contain_text("They want one")
    await expect(reasoning.locator("summary")).to_have_text("Reasoning")
    assert await reasoning.get_attribute("open") is not None
    await chat.page.get_by_role("button", name="Stop the answer").click()
    await expect(chat.answers.first).to_contain_text("Stopped here")
    await expect(reasoning).to_have_count(1)


async def test_an_answer_without_a_word_is_a_failure_below_its_reasoning(chat: Chat) -> None:
    await chat.say(reasoned("", fail="empty_answer"))
    answer = chat.answers.first
    await expect(answer.locator(".failure")).to_contain_text("The model gave no answer.")
    await expect(answer.get_by_role("button", name="Try again")).to_be_visible()
    await expect(answer.locator("details.reasoning summary")).to_have_text("Reasoning")
    await expect(answer.locator(".parts > *")).to_have_count(1)
    await expect(answer.get_by_role("button", name="Copy", exact=True)).to_be_hidden()


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ("length", "Cut off: the answer reached its limit of tokens."),
        ("repetition", "The model stopped because it repeated itself."),
    ],
)
async def test_an_answer_that_was_cut_off_says_why(chat: Chat, finish: str, words: str) -> None:
    answer = await chat.ask(directed("So it is", finish=finish))
    await expect(answer.locator(".parts .note")).to_have_text(words)
    await chat.page.reload()
    await expect(answer.locator(".parts .note")).to_have_text(words)


async def test_messages_that_wait_say_how_many_come_first(chat: Chat) -> None:
    await chat.say(directed("word " * 400, pace_ms=30))
    await expect(chat.answers.first).to_contain_text("word")
    await chat.say(directed("second"))
    await chat.say(directed("third"))
    await expect(chat.answers.nth(1)).to_contain_text("one message is answered first")
    await expect(chat.answers.nth(2)).to_contain_text("2 messages are answered first")
    await chat.answers.nth(2).get_by_role("button", name="Cancel").click()
    await expect(chat.answers.nth(2)).to_contain_text("Stopped before an answer")
    await expect(chat.answers.nth(2).get_by_role("button", name="Try again")).to_be_visible()
    await chat.page.keyboard.press("Escape")
    await expect(chat.answers.nth(0)).to_contain_text("Stopped here")
    await expect(chat.answers.nth(1)).to_contain_text("second")


async def test_those_who_listen_hear_the_answer_once_and_not_each_word(chat: Chat) -> None:
    await chat.page.evaluate(
        """() => {
          window.__said = [];
          const status = document.querySelector("#status");
          const watch = new MutationObserver(() => window.__said.push(status.textContent));
          watch.observe(status, { childList: true, characterData: true, subtree: true });
        }"""
    )
    await chat.ask(directed("one two three four five six", pace_ms=15))
    said = await chat.page.evaluate("window.__said")
    assert said == ["The answer is being written.", "Demo: one two three four five six"]
    assert await chat.page.locator("[aria-live]").count() == 1


async def test_what_was_written_is_shown_as_it_was_typed(chat: Chat) -> None:
    await chat.ask("**not bold**\n  two spaces & <b>tags</b>")
    await expect(chat.questions.first).to_have_text("**not bold**\n  two spaces & <b>tags</b>", use_inner_text=True)
    assert await chat.questions.first.locator("*").count() == 0
