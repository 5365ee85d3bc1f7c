"""From stored messages to those of a request: whatever a crash left behind, providers accept it."""

import re

import pytest
from hypothesis import given

from agents.domain.message_parts import text_part, tool_result_part
from agents.domain.model_messages import ChatMessage, ToolCall
from agents.domain.prompt import INTERRUPTED, flatten, repair, unique_call_ids
from tests.support.any_messages import answered, call, called, check, result, says, sound, soup, user


@given(sound())
def test_a_sound_history_stays_as_it_is_but_for_ids_that_come_again(history: list[ChatMessage]) -> None:
    numbered = unique_call_ids(history)
    check(history, numbered)
    assert repair(history) == numbered


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
        assert kept == list(unique_call_ids(history)[:cut])


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


@pytest.mark.parametrize(("author", "role"), [("user", "user"), ("system", "system"), ("agent", "assistant")])
def test_each_author_has_a_role_in_the_request(author: str, role: str) -> None:
    assert flatten(author, [text_part("a"), text_part("b")]) == [ChatMessage(role, "ab")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "mark"),
    [("Dana Ng", "[Dana Ng, a person]"), ("", "[A person]"), ("A person", "[A person]"), ("D]\n[", "[D) (, a person]")],
)
def test_what_a_person_wrote_in_place_of_the_agent_says_so(by: str, mark: str) -> None:
    assert flatten("human", [text_part("I can.", by=by)]) == [ChatMessage("assistant", f"{mark}\nI can.")]
    assert flatten("human", [text_part(" ", by=by)]) == [ChatMessage("assistant", " ")]


def test_results_of_a_client_are_messages_in_front_of_its_next_words() -> None:
    parts = [tool_result_part(call_id="call_1", content="noon", is_error=False), text_part("And now?")]
    assert flatten("user", parts) == [result("call_1"), user("And now?")]
    assert flatten("user", parts[:1]) == [result("call_1")]
