"""The offline model beyond the port: what it understands, what it says of itself, and its stage directions."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.llm.errors import BadModelRequest
from agents.llm.interface import ChatMessage, Finished, ModelRequest, TextDelta, ToolCall, ToolSpec
from agents.llm.offline import OfflineModel

ALL = ("clock", "calculator", "http_fetch", "notebook_add")


async def answer_to(*messages: ChatMessage | str, tools: tuple[str, ...] = ALL) -> tuple[str, list[tuple[str, Any]]]:
    said = tuple(ChatMessage("user", message) if isinstance(message, str) else message for message in messages)
    request = ModelRequest("", said, tuple(ToolSpec(name, "", {}) for name in tools))
    text, calls = "", []
    async for event in OfflineModel().stream(request):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, Finished):
            calls = [(call.name, json.loads(call.arguments)) for call in event.tool_calls]
    return text, calls


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("What time is it?", [("clock", {})]),
        ("what's the time in Europe/Zurich?", [("clock", {"timezone": "Europe/Zurich"})]),
        (
            "What date is it in America/Argentina/Buenos_Aires",
            [("clock", {"timezone": "America/Argentina/Buenos_Aires"})],
        ),
        ("calculate 2+3*4", [("calculator", {"expression": "2+3*4"})]),
        ("Please compute (1 + 2) / 3.", [("calculator", {"expression": "(1 + 2) / 3"})]),
        ("what is 6*7?", [("calculator", {"expression": "6*7"})]),
        ("calculate sqrt(16)", [("calculator", {"expression": "sqrt(16)"})]),
        ("calculate 5 minutes", [("calculator", {"expression": "5"})]),
        ("what is new? calculate max(2, pi) * 3", [("calculator", {"expression": "max(2, pi) * 3"})]),
        ("fetch https://example.com/a?b=c.", [("http_fetch", {"url": "https://example.com/a?b=c"})]),
        ("note: buy milk", [("notebook_add", {"text": "buy milk"})]),
        ("Note that the door is open", [("notebook_add", {"text": "the door is open"})]),
        ("what time is it, and calculate 1+1", [("clock", {}), ("calculator", {"expression": "1+1"})]),
        ("what is 2024?", []),
        ("what is love?", []),
        ("Hello", []),
        ("", []),
    ],
)
async def test_plain_words_become_calls(words: str, calls: list[tuple[str, Any]]) -> None:
    text, found = await answer_to(words)

    assert found == calls
    assert bool(text) != bool(calls)


MEMORY_TOOLS = ("remember", "recall", "forget", "add_task", "notebook_add", "clock")


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        ("Remember that I live in Bern.", [("remember", {"text": "I live in Bern."})]),
        ("Please remember: my cat is called Minka", [("remember", {"text": "my cat is called Minka"})]),
        ("What do you remember about me?", [("recall", {"query": "What do you remember about me?"})]),
        ("Do you remember my cat?", [("recall", {"query": "Do you remember my cat?"})]),
        ("where do I live", [("recall", {"query": "where do I live"})]),
        ("forget that I live in Bern.", [("forget", {"memory": "I live in Bern."})]),
        ("todo: buy milk", [("add_task", {"text": "buy milk"})]),
        ("what time is it where I live?", [("clock", {})]),
        ("What did I say?", []),
        ("what is love?", []),
    ],
)
async def test_what_is_to_be_remembered_goes_to_the_tools_of_memory(words: str, calls: list[tuple[str, Any]]) -> None:
    assert (await answer_to(words, tools=MEMORY_TOOLS))[1] == calls


async def test_recalled_memories_in_the_prompt_answer_at_once_and_are_not_quoted() -> None:
    block = "<recalled_memories>\nNotes.\n<memory>Ada: I live in Bern &amp; Thun.</memory>\n</recalled_memories>\n\n"
    text, calls = await answer_to(block + "Where do I live?", tools=MEMORY_TOOLS)
    assert (calls, "- Ada: I live in Bern & Thun." in text) == ([], True)
    text, calls = await answer_to(block + "Hello", tools=MEMORY_TOOLS)
    assert ("> Hello" in text, "Bern & Thun" in text) == (True, False)


async def test_a_tool_that_is_not_on_offer_is_not_called() -> None:
    text, calls = await answer_to("what time is it?", tools=())

    assert (calls, "offline model" in text) == ([], True)


async def test_it_says_what_it_is_and_how_to_connect_a_real_model() -> None:
    text, _ = await answer_to("Hello there")

    assert "> Hello there" in text
    assert "offline model" in text
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "BANDSTAND_MODEL"):
        assert name in text


async def test_later_it_is_brief_but_never_poses_as_more() -> None:
    first, _ = await answer_to("Hello")
    second, _ = await answer_to("Hello", ChatMessage("assistant", first), "And now?")

    assert len(second) < len(first) / 2
    assert "Offline model" in second


async def test_it_reads_the_conversation() -> None:
    text, _ = await answer_to("My cat is called Tom", ChatMessage("assistant", "Nice."), "What did I say?")

    assert "> My cat is called Tom" in text


async def test_it_tells_what_the_tools_said() -> None:
    asked = ChatMessage("user", "calculate 2+3*4")
    call = ToolCall("call_1", "calculator", '{"expression": "2+3*4"}')
    result = ChatMessage("tool", "14", tool_call_id=call.id)

    text, again = await answer_to(asked, ChatMessage("assistant", tool_calls=(call,)), result)

    assert again == []
    assert text.startswith("`calculator` says: 14")


async def test_new_calls_get_new_ids_even_where_the_oldest_messages_are_missing() -> None:
    earlier = (ToolCall("call_7", "clock", "{}"), ToolCall("of another model", "clock", "{}"))
    said = (
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", tool_calls=earlier),
        ChatMessage("user", "what time is it"),
    )

    events = [event async for event in OfflineModel().stream(ModelRequest("", said, (ToolSpec("clock", "", {}),)))]

    assert isinstance(events[-1], Finished)
    assert [call.id for call in events[-1].tool_calls] == ["call_8"]


async def test_the_last_message_of_the_user_directs_it() -> None:
    text, _ = await answer_to(
        "[[offline text=old]]", ChatMessage("assistant", "old"), 'Please [[offline text="new one"]]'
    )

    assert text == "new one"


@pytest.mark.parametrize(
    "directive",
    [
        "[[offline",
        "[[offline nonsense=1]]",
        "[[offline words=-1]]",
        "[[offline words=10000000]]",
        "[[offline pace_ms=x]]",
        "[[offline fail=nonsense]]",
        "[[offline calls=5]]",
        "[[offline calls=[1]]]",
        "[[offline parallel=1000 tool=x]]",
    ],
)
async def test_a_directive_that_cannot_be_followed_is_a_bad_request(directive: str) -> None:
    with pytest.raises(BadModelRequest, match="directive"):
        await answer_to(directive)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
async def test_whatever_is_said_it_answers_or_calls(texts: list[str]) -> None:
    roles = ("user", "assistant")
    messages = [ChatMessage(roles[index % 2], text) for index, text in enumerate(texts)]  # type: ignore[arg-type]
    if any("[[offline" in text for text in texts):
        return

    text, calls = await answer_to(*messages)

    assert text or calls


LAMP, FINAL = ToolSpec("switch_lamp", "Switches a lamp.", {}), ToolSpec("final_answer", "Ends the work.", {})
WEATHER = ToolSpec("get_forecast", "Tells the weather of tomorrow.", {})


async def forced(*messages: ChatMessage, tools: tuple[ToolSpec, ...]) -> list[str]:
    """The tools that it calls where it has to call one; none: it answers."""
    request = ModelRequest("", messages, tools, must_call=True)
    [end] = [event async for event in OfflineModel().stream(request) if isinstance(event, Finished)]
    return [call.name for call in end.tool_calls]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Switch the lamp on", "switch_lamp"),
        ("How will the weather be?", "get_forecast"),
        ("Get a forecast", "get_forecast"),
        ("Hello", "final_answer"),
    ],
)
async def test_forced_it_calls_the_tool_that_the_question_is_about(question: str, name: str) -> None:
    assert await forced(ChatMessage("user", question), tools=(FINAL, LAMP, WEATHER)) == [name]


async def test_forced_for_ever_it_comes_to_an_end() -> None:
    """A framework that forces a call each time, and ends with a tool of its own or with an answer, looped 50 times."""
    call = ToolCall("call_1", "switch_lamp", "{}")
    said = (
        ChatMessage("user", "Switch the lamp on"),
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", "on", tool_call_id="call_1"),
    )
    assert await forced(*said, tools=(LAMP, WEATHER, FINAL)) == ["final_answer"]
    assert await forced(*said, tools=(LAMP, WEATHER)) == []
    assert await forced(*said, ChatMessage("user", "And the lamp?"), tools=(LAMP, WEATHER)) == ["switch_lamp"]


LONG = 250_000


@pytest.mark.parametrize(
    "text",
    [
        "calculate" + " " * LONG + "x",
        "calculate 1" + " 1" * (LONG // 2) + "x",
        "calculate " * (LONG // 10),
        "what is " + "sqrt(" * (LONG // 5),
        "what " * (LONG // 5),
        "what time " + "Ab/" * (LONG // 3),
        "fetch " * (LONG // 6),
        "fetch" + " " * LONG + "x",
        "note" + " " * LONG,
        "remember" + " " * LONG,
        "what " * 700 + "x",
        "<recalled_memories>\n" + "<memory>" * (LONG // 8) + "</recalled_memories>\n\nwhere do I live",
        "a " * (LONG // 2),
        "[[offline " + "a=1 " * (LONG // 4),
        "[[offline a=" + "x" * LONG,
        "[[offline a=" + "[" * LONG,
        "[[offline " + " " * LONG,
        "[[offline calls=[" + '["clock",{}],' * (LONG // 14) + '["clock",{}]]]]',
        '[[offline text="' + "a " * (LONG // 2) + '"]]',
    ],
    ids=lambda text: text[:20],
)
async def test_no_message_occupies_the_loop_for_long(text: str) -> None:
    began = time.process_time()
    with suppress(BadModelRequest):
        await answer_to(text)
    assert time.process_time() - began < 0.5
