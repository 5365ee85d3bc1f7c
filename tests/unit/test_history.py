"""The repair of history: whatever a crash left behind, providers accept the request that comes out."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.chat import ChatMessage, ToolCall
from agents.domain.client_options import BELOW_OURS
from agents.domain.configuration import ContextPolicy
from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part
from agents.domain.prompt import INTERRUPTED, build_request, flatten, repair

# Few ids, so that they come again in later turns, as they do with providers that count from zero.
ids = st.sampled_from(["call_0", "call_1", "call_2"])
texts = st.sampled_from(["hello", "Ü", "42", "x" * 50])
broken = st.sampled_from(["", "{", "[1]", "null", '{"a": NaN}', '{"a": -Infinity}', '"x"', "[" * 5000])


def user(text: str = "?") -> ChatMessage:
    return ChatMessage("user", text)


def says(text: str = "", *calls: ToolCall) -> ChatMessage:
    return ChatMessage("assistant", text, calls)


def call(call_id: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(call_id, "clock", arguments)


def result(call_id: str, text: str = "noon") -> ChatMessage:
    return ChatMessage("tool", text, tool_call_id=call_id)


@st.composite
def rounds(draw: st.DrawFn) -> list[ChatMessage]:
    """One call of a model with tools, and all its results."""
    chosen = draw(st.lists(ids, min_size=1, unique=True))
    said = says(draw(st.sampled_from(["", "Let me see."])), *(call(one, '{"n": 1}') for one in chosen))
    return [said, *(result(one, draw(texts)) for one in chosen)]


@st.composite
def turns(draw: st.DrawFn) -> list[ChatMessage]:
    work = [message for one in draw(st.lists(rounds(), max_size=3)) for message in one]
    return [user(draw(texts)), *work, *draw(st.lists(st.builds(says, texts), max_size=1))]


@st.composite
def sound(draw: st.DrawFn) -> list[ChatMessage]:
    system = draw(st.lists(st.just(ChatMessage("system", "Be brief.")), max_size=1))
    return [*system, *(message for turn in draw(st.lists(turns(), min_size=1, max_size=4)) for message in turn)]


@st.composite
def soup(draw: st.DrawFn) -> list[ChatMessage]:
    """Messages in no order at all."""
    odd = st.sampled_from(["functions.clock", "", "2"])
    calls = st.builds(ToolCall, ids | st.just("a b"), st.just("clock") | odd, st.just("{}") | broken)
    kinds = st.one_of(
        st.builds(user, texts),
        st.just(ChatMessage("system", "Be brief.")),
        st.builds(lambda text, calls: says(text, *calls), st.just("") | texts, st.lists(calls, max_size=4)),
        st.builds(result, ids, texts),
    )
    return draw(st.lists(kinds, max_size=14))


def check(before: Sequence[ChatMessage], after: Sequence[ChatMessage]) -> None:
    """What a provider asks of a request, and what a person asks of us."""
    rest = [message for message in after if message.role != "system"]
    assert list(after[: len(after) - len(rest)]) == [message for message in before if message.role == "system"]
    questions = [message for message in before if message.role == "user"]
    assert [message for message in after if message.role == "user"] == questions, "what people said is never lost"
    if questions:
        assert rest[0].role == "user"
    waiting: list[str | None] = []
    for message in rest:
        if message.role == "tool":
            assert waiting, "a result without its call"
            assert message.tool_call_id == waiting.pop(0)
            continue
        assert not waiting, "a call without its result"
        waiting = [one.id for one in message.tool_calls]
        assert len(set(waiting)) == len(waiting)
        assert all(isinstance(strict(one.arguments), dict) for one in message.tool_calls)
        assert message.role != "assistant" or message.text or message.tool_calls
    assert not waiting, "a call without its result"
    assert repair(after) == tuple(after), "to repair twice changes nothing"


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


@given(sound())
def test_a_sound_history_stays_as_it_is(history: list[ChatMessage]) -> None:
    check(history, history)
    assert repair(history) == tuple(history)


@given(sound())
def test_a_history_cut_at_every_point_is_sound_again(history: list[ChatMessage]) -> None:
    for cut in range(len(history) + 1):
        check(history[:cut], repair(history[:cut]))
        check(history[cut:], repair(history[cut:]))
        without = [*history[:cut], *history[cut + 1 :]]
        check(without, repair(without))
        twice = [*history[:cut], *history[max(0, cut - 1) :]]
        check(twice, repair(twice))


@given(soup())
def test_anything_at_all_becomes_sound(messages: list[ChatMessage]) -> None:
    before = list(messages)
    check(messages, repair(messages))
    assert messages == before


@given(sound())
def test_a_cut_at_the_end_loses_no_result(history: list[ChatMessage]) -> None:
    for cut in range(len(history) + 1):
        kept = [message for message in repair(history[:cut]) if message.text != INTERRUPTED]
        assert kept == history[:cut]


def test_a_dangling_call_gets_an_error_result_where_it_stands() -> None:
    history = [user(), says("", call("a"), call("b")), result("b", "two"), user("And?")]
    assert repair(history) == (
        user(),
        says("", call("a"), call("b")),
        result("a", INTERRUPTED),
        result("b", "two"),
        user("And?"),
    )


def test_an_id_that_comes_again_keeps_its_own_result() -> None:
    history = [user(), says("", call("a")), says("", call("a")), result("a", "second")]
    assert [message.text for message in repair(history)] == ["?", "", INTERRUPTED, "", "second"]


def test_a_second_result_and_an_orphan_are_dropped() -> None:
    history = [user(), result("x"), says("", call("a")), result("a", "one"), result("a", "two"), result("b")]
    assert repair(history) == (user(), says("", call("a")), result("a", "one"))


def test_a_call_that_stands_twice_in_one_message_stands_once_and_in_its_place() -> None:
    history = [user(), says("", call("a"), call("b"), call("a")), result("a"), result("b")]
    assert repair(history) == (user(), says("", call("a"), call("b")), result("a"), result("b"))


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "null", '{"a":NaN}', '{"a":Infinity}', "[" * 100_000])
def test_arguments_that_are_no_object_become_an_empty_one(arguments: str) -> None:
    [_, said, _] = repair([user(), says("", call("a", arguments)), result("a")])
    assert said.tool_calls == (call("a", "{}"),)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("clock", "clock"),
        ("_My-tool_2", "_My-tool_2"),
        ("functions.clock", "functions_clock"),
        ("2nd", "_2nd"),
        ("-x", "_-x"),
        ("", "_"),
        ("é" * 90, "_" * 64),
        ("x" * 90, "x" * 64),
    ],
)
def test_a_name_that_a_model_invented_goes_back_in_a_form_that_all_providers_take(name: str, sent: str) -> None:
    [_, answer, _] = repair([user(), says("", ToolCall("c", name, "{}")), result("c")])

    assert answer.tool_calls[0].name == sent


@pytest.mark.parametrize("call_id", ["", "a b", "é", "x" * 41, "toolu:1", "\ud800"])
def test_an_id_that_a_provider_would_refuse_is_replaced_on_both_sides(call_id: str) -> None:
    history = [user(), says("", call(call_id), call("other")), result(call_id, "one"), result("other", "two")]

    [_, answer, first, second] = repair(history)

    assert [one.id for one in answer.tool_calls] == [first.tool_call_id, second.tool_call_id]
    assert (first.text, second.text) == ("one", "two")
    assert re.fullmatch("[a-zA-Z0-9_-]{1,40}", answer.tool_calls[0].id)
    assert second.tool_call_id == "other"


def test_arguments_that_are_sound_stay_byte_exact() -> None:
    exact = '{ "b" : 1.0, "a": "\\u00e9" }'
    [_, said, _] = repair([user(), says("", call("a", exact)), result("a")])
    assert said.tool_calls[0].arguments == exact


# --- from stored parts to messages ---


def called(call_id: str) -> Part:
    return tool_call_part(call_id=call_id, name="clock", arguments="{}")


def answered(call_id: str, *, is_error: bool = False) -> Part:
    return tool_result_part(call_id=call_id, content="noon", is_error=is_error)


def test_an_answer_with_tools_becomes_the_messages_that_the_model_saw() -> None:
    parts = [text_part("Wait."), called("a"), called("b"), answered("a"), answered("b"), text_part("It is noon.")]
    assert flatten("agent", parts) == [
        says("Wait.", call("a"), call("b")),
        result("a"),
        result("b"),
        says("It is noon."),
    ]


def test_two_rounds_of_calls_stay_two() -> None:
    parts = [called("a"), answered("a"), called("b"), answered("b")]
    assert flatten("agent", parts) == [says("", call("a")), result("a"), says("", call("b")), result("b")]


def test_calls_without_results_are_not_swallowed_by_the_text_behind_them() -> None:
    assert flatten("agent", [called("a"), text_part("Sorry.")]) == [says("", call("a")), says("Sorry.")]


@pytest.mark.parametrize(
    ("author", "role"), [("user", "user"), ("human", "assistant"), ("system", "system"), ("agent", "assistant")]
)
def test_each_author_has_a_role_in_the_request(author: str, role: str) -> None:
    assert flatten(author, [text_part("a"), text_part("b")]) == [ChatMessage(role, "ab")]  # type: ignore[arg-type]


def request(
    history: list[tuple[str, list[Part]]], characters: int = 1000, *, instructions: str = "", work: Sequence[Part] = ()
) -> tuple[ChatMessage, ...]:
    policy = ContextPolicy(history_characters=characters)
    return build_request(instructions=instructions, history=history, work=work, policy=policy)


def test_a_request_is_instructions_history_question_and_work() -> None:
    history = [("user", [text_part("Hi")]), ("agent", [text_part("Hello")]), ("user", [text_part("Time?")])]
    work = [called("a"), answered("a")]
    assert request(history, instructions="Be brief.", work=work) == (
        ChatMessage("system", "Be brief."),
        user("Hi"),
        says("Hello"),
        user("Time?"),
        says("", call("a")),
        result("a"),
    )


def test_without_instructions_there_is_no_system_message() -> None:
    assert request([("user", [text_part("Hi")])]) == (user("Hi"),)


def test_the_newest_messages_that_fit_are_kept_from_a_question_on() -> None:
    history = [("user", [text_part("old" * 10)]), ("agent", [text_part("a" * 10)])] * 3
    history.append(("user", [text_part("now")]))
    assert request(history, 3 + 10 + 30 + 10) == (user("old" * 10), says("a" * 10), user("now"))
    assert request(history, 3 + 10 + 29) == (user("now"),)


def test_results_of_a_client_are_messages_in_front_of_its_next_words() -> None:
    parts = [tool_result_part(call_id="call_1", content="noon", is_error=False), text_part("And now?")]
    assert flatten("user", parts) == [result("call_1"), user("And now?")]
    assert flatten("user", parts[:1]) == [result("call_1")]


def handed_out_and_back(*asked: Part) -> list[tuple[str, list[Part]]]:
    return [
        ("user", [text_part("What time is it?")]),
        ("agent", [text_part("x" * 300), tool_call_part(call_id="call_0", name="clock", arguments="{}")]),
        ("user", [tool_result_part(call_id="call_0", content="Wait.", is_error=False)]),
        ("agent", [tool_call_part(call_id="call_1", name="clock", arguments="{}")]),
        ("user", [tool_result_part(call_id="call_1", content="n" * 300, is_error=False), *asked]),
    ]


@pytest.mark.parametrize("asked", [[], [text_part("Well?")]])
def test_a_clients_results_keep_their_call_and_the_question_whatever_the_policy(asked: list[Part]) -> None:
    made = request(handed_out_and_back(*asked), characters=100)
    assert [message.role for message in made] == ["user", "assistant", "tool", *["user"] * len(asked)]
    assert made[2].text == "n" * 300


def test_a_clients_words_for_the_model_stand_below_the_releases() -> None:
    history = [("user", [text_part("Hi")])]
    policy = ContextPolicy()
    both = build_request(
        instructions="Be kind.", history=history, work=(), policy=policy, client_instructions="Be brief."
    )
    assert [message.role for message in both] == ["system", "system", "user"]
    assert both[0].text == "Be kind."
    assert both[1].text == BELOW_OURS + "Be brief."
    alone = build_request(instructions="", history=history, work=(), policy=policy, client_instructions="Be brief.")
    assert alone[0] == ChatMessage("system", "Be brief.")


def test_a_question_longer_than_the_policy_is_asked_all_the_same() -> None:
    assert request([("user", [text_part("x" * 50)])], 10) == (user("x" * 50),)


@given(characters=st.integers(1, 400), data=st.data())
def test_every_request_ends_sound_and_with_its_question(characters: int, data: st.DataObject) -> None:
    part = st.sampled_from([text_part("said"), called("a"), called("b"), answered("a"), answered("b")])
    # A client's results may come with the user's words, of calls that were made or not.
    results = st.lists(st.sampled_from([answered("a"), answered("b")]), max_size=2)
    stored = st.tuples(st.just("user"), results.map(lambda found: [*found, text_part("q" * 20)])) | st.tuples(
        st.sampled_from(["agent", "human"]), st.lists(part, max_size=6)
    )
    history = [*data.draw(st.lists(stored, max_size=8)), ("user", [*data.draw(results), text_part("now")])]
    made = request(history, characters, work=data.draw(st.lists(part, max_size=6)))
    check(made, made)
    assert [message.text for message in made if message.role == "user"][-1] == "now"
