"""What a model is sent: whatever a crash left behind, providers accept it; whatever does not fit, the question does."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.client_options import CLIENT_INSTRUCTIONS_PREFIX
from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ChatMessage, ToolCall
from agents.domain.prompt import (
    BYTES_PER_TOKEN,
    INTERRUPTED,
    TOKENS_PER_MESSAGE,
    Block,
    Count,
    Item,
    Source,
    estimate_tokens,
    fit,
    flatten,
    newest_exchanges,
    repair,
    unique_call_ids,
)
from foundation.ids import new_id

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
    instructions = "\n\n".join(message.text for message in before if message.role == "system")
    assert [message.text for message in after[: len(after) - len(rest)]] == list(filter(None, [instructions]))
    questions = [message for message in before if message.role == "user"]
    assert [message for message in after if message.role == "user"] == questions, "what people said is never lost"
    if questions:
        assert rest[0].role == "user"
    issued = [call.id for message in rest for call in message.tool_calls]
    assert len(set(issued)) == len(issued), "an id of a call comes again"
    waiting: list[str | None] = []
    for message in rest:
        if message.role == "tool":
            assert waiting, "a result without its call"
            assert message.tool_call_id == waiting.pop(0)
            continue
        assert not waiting, "a call without its result"
        waiting = [one.id for one in message.tool_calls]
        assert all(isinstance(strict(one.arguments), dict) for one in message.tool_calls)
        assert message.role != "assistant" or message.text or message.tool_calls
    assert not waiting, "a call without its result"
    assert repair(after) == tuple(after), "to repair twice changes nothing"


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


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


# --- what is sent of them ---

Said = tuple[str, list[Part]]


def items(*said: Said) -> list[Item]:
    return [Item(new_id(), author, parts) for author, parts in said]


def request(
    history: Sequence[Said],
    *,
    instructions: str = "",
    client: str = "",
    work: Sequence[Part] = (),
    window: int | None = None,
    count: Count = len,
) -> tuple[ChatMessage, ...]:
    blocks = [Block(Source.RELEASE, instructions), Block(Source.CLIENT, client)]
    return fit(blocks, items(*history), work, window, count)


def size(messages: Sequence[ChatMessage], count: Count = len) -> int:
    """As a request is measured."""
    calls = [call for message in messages for call in message.tool_calls]
    words = sum(count(message.text) for message in messages)
    return (
        words
        + sum(count(one.name) + count(one.arguments) for one in calls)
        + TOKENS_PER_MESSAGE * (len(messages) + len(calls))
    )


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


def test_a_clients_words_for_the_model_stand_below_the_releases() -> None:
    history = [("user", [text_part("Hi")])]
    both = request(history, instructions="Be kind.", client="Be brief.")
    assert [message.role for message in both] == ["system", "user"]
    assert both[0].text == f"Be kind.\n\n{CLIENT_INSTRUCTIONS_PREFIX}Be brief."
    assert request(history, client="Be brief.")[0] == ChatMessage("system", "Be brief.")


def test_results_of_a_client_are_messages_in_front_of_its_next_words() -> None:
    parts = [tool_result_part(call_id="call_1", content="noon", is_error=False), text_part("And now?")]
    assert flatten("user", parts) == [result("call_1"), user("And now?")]
    assert flatten("user", parts[:1]) == [result("call_1")]


# --- what a release lets a model read ---


def read(history: Sequence[Said], characters: int) -> list[str]:
    """The texts of what is left, in order."""
    stored = items(*history)
    kept = newest_exchanges(stored, characters)
    assert [item for item in stored if item in kept] == kept
    return [message.text for item in kept for message in flatten(item.author, item.parts)]


def test_the_newest_exchanges_that_have_so_many_characters_are_read() -> None:
    history = [("user", [text_part("old" * 10)]), ("agent", [text_part("a" * 10)])] * 3
    history.append(("user", [text_part("now")]))
    assert read(history, 3 + 10 + 30 + 10) == ["old" * 10, "a" * 10, "now"]
    assert read(history, 3 + 10 + 29) == ["now"]


def test_a_question_longer_than_the_policy_is_asked_all_the_same() -> None:
    assert read([("user", [text_part("x" * 50)])], 10) == ["x" * 50]


def handed_out_and_back(*asked: Part) -> list[Said]:
    return [
        ("user", [text_part("What time is it?")]),
        ("agent", [text_part("x" * 300), tool_call_part(call_id="call_0", name="clock", arguments="{}")]),
        ("user", [tool_result_part(call_id="call_0", content="Wait.", is_error=False)]),
        ("agent", [tool_call_part(call_id="call_1", name="clock", arguments="{}")]),
        ("user", [tool_result_part(call_id="call_1", content="n" * 300, is_error=False), *asked]),
    ]


@pytest.mark.parametrize("asked", [[], [text_part("Well?")]])
def test_a_clients_results_keep_their_call_and_the_question_whatever_the_policy_and_the_window(
    asked: list[Part],
) -> None:
    history = handed_out_and_back(*asked)
    kept = [(item.author, list(item.parts)) for item in newest_exchanges(items(*history), 100)]
    assert kept == [history[0], *history[3:]]
    for made in (request(kept), request(history, window=1)):
        assert [message.role for message in made] == ["user", "assistant", "tool", *["user"] * len(asked)]
        assert made[2].text == "n" * 300
    assert request(history, window=1000) == request(history)
    assert request(history, window=800) == request(history)


# --- what fits a window ---

TALK: list[Said] = [
    ("user", [text_part("One?")]),
    ("agent", [text_part("Wait."), called("a"), answered("a"), text_part("1")]),
    ("human", [text_part("Hello")]),
    ("user", [text_part("Two?")]),
    ("agent", [text_part("2")]),
    ("user", [text_part("Three?")]),
]
WORK = [called("b"), called("c"), answered("b"), answered("c"), text_part("So"), called("d"), answered("d")]


def test_where_the_window_is_unknown_or_has_room_all_of_it_is_sent() -> None:
    whole = request(TALK, work=WORK)
    assert request(TALK, work=WORK, window=size(whole)) == whole
    assert [message.text for message in whole if message.role == "user"] == ["One?", "Two?", "Three?"]


def test_what_does_not_fit_goes_exchange_by_exchange_and_then_round_by_round() -> None:
    whole = request(TALK, instructions="Be kind.", work=WORK)
    ways: list[tuple[ChatMessage, ...]] = []
    for window in range(size(whole), 0, -1):
        sent = request(TALK, instructions="Be kind.", work=WORK, window=window)
        if not ways or ways[-1] != sent:
            ways.append(sent)
    system, question = whole[0], user("Three?")
    rounds = whole[-5:-2], whole[-2:]
    assert [message.role for message in rounds[0]] == ["assistant", "tool", "tool"]
    assert ways == [
        whole,
        (system, user("Two?"), says("2"), question, *rounds[0], *rounds[1]),
        (system, question, *rounds[0], *rounds[1]),
        (system, question, *rounds[1]),
    ]


def test_what_is_far_from_filling_the_window_is_not_counted() -> None:
    def count(_: str) -> int:
        raise AssertionError("counted")

    # Characters that are not ASCII have up to four bytes, each of which may be a token.
    history = [("user", [text_part("é" * 10)])]
    assert request(history, window=40 + TOKENS_PER_MESSAGE, count=count) == request(history)
    with pytest.raises(AssertionError, match="counted"):
        request(history, window=39 + TOKENS_PER_MESSAGE, count=count)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abcd", 2), ("é", 1), ("日本", 2), ("😀", 2), ("\ud800", 1)]
)
def test_tokens_are_estimated_by_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens == -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


part = st.sampled_from([text_part("said"), called("a"), called("b"), answered("a"), answered("b")])
# A client's results may come with the user's words, of calls that were made or not.
results = st.lists(st.sampled_from([answered("a"), answered("b")]), max_size=2)
stored = st.tuples(st.just("user"), results.map(lambda found: [*found, text_part("q" * 20)])) | st.tuples(
    st.sampled_from(["agent", "human"]), st.lists(part, max_size=6)
)
histories = st.tuples(st.lists(stored, max_size=8), results).map(
    lambda drawn: [*drawn[0], ("user", [*drawn[1], text_part("now")])]
)
works = st.lists(part, max_size=6)
counts = st.sampled_from([len, estimate_tokens, lambda text: len(text.split()), lambda _: 0])


@given(
    history=histories, work=works, characters=st.integers(1, 400), window=st.none() | st.integers(0, 400), count=counts
)
def test_every_request_ends_sound_and_with_its_question(
    history: list[Said], work: list[Part], characters: int, window: int | None, count: Count
) -> None:
    kept = newest_exchanges(items(*history), characters)
    assert kept[-1].parts == history[-1][1]
    made = fit([], kept, work, window, count)
    check(made, made)
    assert [message.text for message in made if message.role == "user"][-1] == "now"


@given(history=histories, work=works, window=st.integers(0, 400), count=counts)
def test_what_is_sent_is_never_more_than_the_window_unless_it_is_what_is_always_sent(
    history: list[Said], work: list[Part], window: int, count: Count
) -> None:
    made = request(history, instructions="Be brief.", work=work, window=window, count=count)
    least = request(history, instructions="Be brief.", work=work, window=0, count=len)
    assert size(made, count) <= window or made == least
    whole = iter(request(history, instructions="Be brief.", work=work))
    assert all(message in whole for message in made), "in their order, and nothing else"
    rest = [message for message in least if message.role != "system"]
    if not any(part["type"] == "tool_result" for part in history[-1][1]):
        assert rest[0] == user("now"), "of the history the question alone"


def told(messages: Iterable[ChatMessage]) -> list[Part]:
    """`messages` as the parts that they are made of."""
    parts: list[Part] = []
    for message in messages:
        if message.role == "tool":
            parts.append(tool_result_part(call_id=message.tool_call_id or "", content=message.text, is_error=False))
            continue
        if message.text:
            parts.append(text_part(message.text))
        parts += [tool_call_part(call_id=one.id, name=one.name, arguments=one.arguments) for one in message.tool_calls]
    return parts


def as_stored(messages: Iterable[ChatMessage]) -> list[Said]:
    """The same as messages of people and an agent."""
    said: list[Said] = []
    for message in messages:
        if message.role == "tool":
            said[-1][1].extend(told([message]))
        else:
            said.append(("user" if message.role == "user" else "agent", told([message])))
    return said


@given(talk=sound(), rounds=st.lists(rounds(), max_size=3), window=st.integers(0, 400))
def test_to_fit_what_was_fitted_changes_nothing(
    talk: list[ChatMessage], rounds: list[list[ChatMessage]], window: int
) -> None:
    history = [*as_stored(message for message in talk if message.role != "system"), ("user", [text_part("now")])]
    made = request(history, work=told(message for one in rounds for message in one), window=window)
    end = max(index for index, message in enumerate(made) if message == user("now")) + 1
    assert request(as_stored(made[:end]), work=told(made[end:]), window=window) == made


@given(sound(), st.data())
def test_a_conversation_cut_anywhere_fits_every_window(history: list[ChatMessage], data: st.DataObject) -> None:
    """Whatever a crash left of the work, at whatever point of it."""
    whole = [part for message in history for part in told([message])]
    work = whole[: data.draw(st.integers(0, len(whole)))]
    window = data.draw(st.integers(0, size(request(TALK, work=work)) + 10))
    made = request(TALK, work=work, window=window)
    check(made, made)
    assert user("Three?") in made
