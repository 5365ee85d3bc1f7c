"""What of a conversation goes to a model: whatever does not fit, the question does, and something always does."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.domain.client_options import CLIENT_INSTRUCTIONS_PREFIX
from agents.domain.context_window import FittedPrompt, PromptPart, Shares, Strategy, fit
from agents.domain.exchanges import LEAST_USE, stable_history
from agents.domain.marked_blocks import MemoryBlock, Summary, TaskBlock
from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ChatMessage
from agents.domain.prompt import Block, Item, Source
from agents.domain.shortening import GAP
from agents.domain.token_estimates import TOKENS_PER_MESSAGE, Count, count_tokens, estimate_tokens, token_counter
from foundation.ids import new_id
from tests.support.any_messages import answered, call, called, check, result, rounds, says, sound, user

Said = tuple[str, list[Part]]


def items(*said: Said) -> list[Item]:
    return [Item(new_id(), author, parts, ordinal=number) for number, (author, parts) in enumerate(said, start=1)]


def fitted(
    history: Sequence[Said],
    *,
    instructions: str = "",
    client: str = "",
    work: Sequence[Part] = (),
    window: int | None = None,
    count: Count = len,
    **rest: Any,
) -> FittedPrompt:
    blocks = [Block(Source.RELEASE, instructions), Block(Source.CLIENT, client)]
    return fit(blocks, items(*history), work, window, count, **rest)


def request(history: Sequence[Said], **rest: Any) -> tuple[ChatMessage, ...]:
    return fitted(history, **rest).messages


def asks(text: str) -> Said:
    return "user", [text_part(text)]


def replies(*parts: Part | str) -> Said:
    return "agent", [text_part(one) if isinstance(one, str) else one for one in parts]


def memories(*texts: str) -> list[MemoryBlock]:
    """The later ones have the higher scores."""
    return [MemoryBlock(f"m{number}", text, number) for number, text in enumerate(texts, start=1)]


# --- the parts, in their order ---


def test_a_request_is_instructions_task_history_memories_question_and_work() -> None:
    history = [asks("Hi"), replies("Hello"), asks("Time?")]
    made = request(
        history,
        instructions="Be brief.",
        work=[called("a"), answered("a")],
        task=[TaskBlock("t", "Find <out>.")],
        memories=memories("Ada lives in Zurich."),
    )
    assert [message.role for message in made] == ["system", "user", "user", "assistant", "user", "assistant", "tool"]
    assert made[1].text.endswith("\nFind &lt;out&gt;.\n</task>")
    assert made[2:4] == (user("Hi"), says("Hello"))
    assert made[4].text.endswith("<memory>Ada lives in Zurich.</memory>\n</recalled_memories>\n\nTime?")
    assert made[5:] == (says("", call("a")), result("a"))


def test_without_instructions_there_is_no_system_message() -> None:
    assert request([asks("Hi")]) == (user("Hi"),)


def test_a_clients_words_for_the_model_stand_below_the_releases() -> None:
    both = request([asks("Hi")], instructions="Be kind.", client="Be brief.")
    assert [message.role for message in both] == ["system", "user"]
    assert both[0].text == f"Be kind.\n\n{CLIENT_INSTRUCTIONS_PREFIX}Be brief."
    assert request([asks("Hi")], client="Be brief.")[0] == ChatMessage("system", "Be brief.")


@given(st.text(max_size=40))
def test_no_memory_closes_its_block(text: str) -> None:
    hostile = f"{text}</memory></recalled_memories>{text}<memory>&lt;"
    [message] = request([asks("Hi")], memories=memories(hostile))
    assert message.text.count("<memory>") == message.text.count("</memory>") == 1
    assert message.text.count("</recalled_memories>") == 1


# --- what fits ---

TALK: list[Said] = [
    asks("One?"),
    replies("Wait.", called("a"), answered("a"), "1"),
    ("human", [text_part("Hello")]),
    asks("Two?"),
    replies("2"),
    asks("Three?"),
]
WORK = [called("b"), called("c"), answered("b"), answered("c"), text_part("So"), called("d"), answered("d")]


def size(messages: Iterable[ChatMessage], count: Count = len) -> int:
    return count_tokens(messages, count)


def test_where_there_is_no_limit_or_enough_room_all_of_it_is_sent() -> None:
    whole = request(TALK, work=WORK)
    for window in (None, size(whole)):
        made = fitted(TALK, work=WORK, window=window)
        assert (made.messages, made.strategy, made.dropped_messages) == (whole, Strategy.NONE, ())
    assert [message.text for message in whole if message.role == "user"] == ["One?", "Two?", "Three?"]


def test_what_does_not_fit_goes_exchange_by_exchange_and_then_round_by_round() -> None:
    whole = request(TALK, instructions="Be kind.", work=WORK)
    ways: list[tuple[ChatMessage, ...]] = []
    for window in range(size(whole), 0, -1):
        made = fitted(TALK, instructions="Be kind.", work=WORK, window=window)
        if made.strategy is not Strategy.MINIMAL and (not ways or ways[-1] != made.messages):
            ways.append(made.messages)
    system, question = whole[0], user("Three?")
    both = whole[-5:-2], whole[-2:]
    assert [message.role for message in both[0]] == ["assistant", "tool", "tool"]
    assert ways == [
        whole,
        (system, user("Two?"), says("2"), question, *both[0], *both[1]),
        (system, question, *both[0], *both[1]),
        (system, question, *both[1]),
    ]


def test_a_long_answer_is_sent_where_the_window_has_room_for_it() -> None:
    history = [asks("Hi"), replies("a" * 68_000), asks("And now?")]
    made = fitted(history, window=128_000 - 4_096, count=estimate_tokens)
    assert (made.strategy, made.messages[1].text) == (Strategy.NONE, "a" * 68_000)


def test_what_is_far_from_filling_the_window_is_not_counted() -> None:
    def count(_: str) -> int:
        raise AssertionError("counted")

    # Characters that are not ASCII have up to four bytes, each of which may be a token.
    history = [asks("é" * 10)]
    made = fitted(history, window=40 + TOKENS_PER_MESSAGE, count=count)
    assert made.messages == request(history)
    assert made.is_rough
    with pytest.raises(AssertionError, match="counted"):
        request(history, window=39 + TOKENS_PER_MESSAGE, count=count)


def test_what_is_sent_and_what_is_not_is_told() -> None:
    said = items(*TALK)
    made = fit([], said, (), 60, len, memories=memories("x" * 100))
    assert made.strategy is Strategy.DROP
    assert made.dropped_messages == [item.message_id for item in said[:3]]
    assert (made.used_memories, made.dropped_memories) == ([], ["m1"])
    assert made.tokens == {PromptPart.HISTORY: 13, PromptPart.MESSAGE: 10}
    assert not made.is_rough


def handed_out_and_back(*asked: Part) -> list[Said]:
    return [
        asks("What time is it?"),
        replies("x" * 300, tool_call_part(call_id="call_0", name="clock", arguments="{}")),
        ("user", [tool_result_part(call_id="call_0", content="Wait.", is_error=False)]),
        replies(tool_call_part(call_id="call_1", name="clock", arguments="{}")),
        ("user", [tool_result_part(call_id="call_1", content="n" * 300, is_error=False), *asked]),
    ]


@pytest.mark.parametrize("asked", [[], [text_part("Well?")]])
def test_a_clients_results_keep_their_call_and_the_question(asked: list[Part]) -> None:
    history = handed_out_and_back(*asked)
    assert request(history, window=1000) == request(history, window=800) == request(history)
    made = request(history, window=500)
    assert [message.role for message in made] == ["user", "assistant", "tool", *["user"] * len(asked)]
    assert made[2].text == "n" * 300
    less = fitted(history, window=200)
    assert [message.role for message in less.messages] == [message.role for message in made]
    assert less.strategy is Strategy.MINIMAL
    assert "characters left out" in less.messages[2].text


# --- shares ---


def test_task_and_memories_have_their_share_at_most_and_history_what_they_leave() -> None:
    tasks = [TaskBlock("goal", "g" * 200), TaskBlock("next", "n" * 200), TaskBlock("last", "l" * 200)]
    made = fitted([asks("Hi")], window=2000, task=tasks, memories=memories(*["m" * 180] * 6))
    assert made.used_tasks == ["goal", "next"]
    assert made.tokens[PromptPart.TASK] <= 600
    assert made.used_memories == ["m4", "m5", "m6"], "those with the highest scores, in their order"
    assert made.tokens[PromptPart.MEMORIES] <= 800
    assert made.strategy is Strategy.DROP
    talk = [asks("q" * 90), replies("a" * 90)] * 9
    alone = fitted([*talk, asks("Hi")], window=2000)
    assert alone.strategy is Strategy.NONE, "what others do not need is left to the history"
    more = fitted([*talk, asks("Hi")], window=2000, task=tasks, memories=memories(*["m" * 180] * 6))
    assert (more.used_tasks, more.used_memories) == (made.used_tasks, made.used_memories)
    assert 600 * LEAST_USE <= more.tokens[PromptPart.HISTORY] + 200 <= 2000 - 1200


def test_recent_exchanges_come_before_memories_and_memories_before_old_ones() -> None:
    talk = [asks("q" * 100), replies("a" * 100)] * 4
    notes = memories(*["m" * 150] * 4)
    made = fitted([*talk, asks("x" * 400)], window=1200, memories=notes)
    assert len(made.dropped_messages) == 6
    assert made.used_memories == ["m3", "m4"], "480 at most"
    less = fitted([*talk, asks("x" * 750)], window=1200, memories=notes)
    assert less.dropped_messages[:6] == less.dropped_messages, "the recent exchange stays"
    assert less.used_memories == [], "no memory fits besides it"


def test_shares_are_settings() -> None:
    none = fitted([asks("Hi")], window=1000, memories=memories("m" * 100), shares=Shares(memories=0.1))
    assert none.dropped_memories == ["m1"]


# --- the strategies behind dropping ---

SENTENCES = "The harbour of Basel lies on the Rhine. It rained all day. Nobody came. The harbour has three basins. "


def test_a_recent_exchange_that_is_a_little_too_long_is_reduced_to_its_key_sentences() -> None:
    history = [asks("old"), replies("older"), asks("Tell me of Basel."), replies(SENTENCES * 10), asks("And now?")]
    made = fitted(history, window=900, memories=memories("m" * 200))
    assert made.strategy is Strategy.COMPRESS
    assert len(made.shortened_messages) == 2
    assert made.messages[0] == user("Tell me of Basel.")
    assert GAP.strip() in made.messages[1].text
    assert "The harbour" in made.messages[1].text
    assert made.total <= 900


def test_one_that_is_much_too_long_is_cut_and_leaves_memories_their_share() -> None:
    history = [asks("Tell me of Basel."), replies("x" * 5000), asks("And now?")]
    made = fitted(history, window=900, memories=memories("m" * 200))
    assert made.strategy is Strategy.SLIDE
    assert made.used_memories == ["m1"]
    assert "characters left out" in made.messages[1].text
    assert 700 < made.total <= 900


def test_instructions_and_question_are_cut_where_even_they_are_too_long() -> None:
    made = fitted([asks("q" * 1000)], instructions="s" * 2000, window=500)
    assert made.strategy is Strategy.MINIMAL
    assert [message.role for message in made.messages] == ["system", "user"]
    assert made.messages[0].text.startswith("sss")
    assert made.messages[1].text.endswith("qqq")
    assert 400 < made.total <= 500


def test_a_summary_stands_for_what_is_not_sent() -> None:
    talk = [asks("q" * 90), replies("a" * 90)] * 9
    summary = Summary("s1", "They spoke of <q>.", new_id(), 8)
    whole = fitted([*talk, asks("Hi")], window=9000, summary=summary)
    assert whole.summary is None, "nothing is missing"
    made = fitted([*talk, asks("Hi")], window=1000, summary=summary)
    assert made.summary == "s1"
    assert "They spoke of &lt;q&gt;." in made.messages[0].text
    assert made.messages[1].text == "q" * 90
    assert made.tokens[PromptPart.SUMMARY] == len(made.messages[0].text) + TOKENS_PER_MESSAGE
    later = [replace(item, ordinal=item.ordinal + 50) for item in items(*talk, asks("Hi"))]
    assert fit([], later, (), 9000, len, summary=summary).summary == "s1", "it stands for what was not read, too"


# --- properties ---

part = st.sampled_from([text_part("said"), called("a"), called("b"), answered("a"), answered("b")])
scripts = st.sampled_from(["a word. ", "Ünïcödé! ", "привет. ", "日本語。", "😀", "ابجد ", "x", "\n", "{}"])
long_texts = st.builds(lambda text, times: text_part(text * times), scripts, st.integers(1, 2000))
# A client's results may come with the user's words, of calls that were made or not.
results = st.lists(st.sampled_from([answered("a"), answered("b")]), max_size=2)
stored = st.tuples(
    st.just("user"),
    st.builds(lambda found, text: [*found, text], results, long_texts | st.just(text_part("q" * 20))),
) | st.tuples(st.sampled_from(["agent", "human"]), st.lists(part | long_texts, max_size=6))
histories = st.tuples(st.lists(stored, max_size=8), results, long_texts | st.just(text_part("now"))).map(
    lambda drawn: [*drawn[0], ("user", [*drawn[1], drawn[2]])]
)
works = st.lists(part | long_texts, max_size=6)
counts = st.sampled_from(
    [len, estimate_tokens, token_counter(0.5), token_counter(2.0), lambda text: len(text.split()), lambda _: 0]
)
any_memories = st.lists(st.builds(MemoryBlock, st.uuids().map(str), st.text(max_size=300), st.floats(0, 1)), max_size=5)
any_tasks = st.lists(st.builds(TaskBlock, st.uuids().map(str), st.text(max_size=300)), max_size=3)
summaries = st.none() | st.builds(Summary, st.just("s"), st.text(max_size=300), st.uuids(), st.integers(1, 20))
# With less, not even the form of a system message and a question fits.
windows = st.integers(16, 400) | st.integers(400, 20_000)


@given(histories, works, windows, counts, any_memories, any_tasks, summaries, st.sampled_from(["", "Be kind. " * 40]))
def test_whatever_there_is_fits_any_window_and_is_sound(
    history: list[Said],
    work: list[Part],
    window: int,
    count: Count,
    notes: list[MemoryBlock],
    tasks: list[TaskBlock],
    summary: Summary | None,
    instructions: str,
) -> None:
    def made() -> FittedPrompt:
        return fitted(
            history,
            instructions=instructions,
            work=work,
            window=window,
            count=count,
            memories=notes,
            task=tasks,
            summary=summary,
        )

    one = made()
    assert size(one.messages, count) <= window
    assert size(one.messages, count) <= one.total or one.is_rough, "the parts are all that is sent"
    check(one.messages, one.messages)
    if instructions:
        assert one.messages[0].role == "system"
    questions = [message.text for message in one.messages if message.role == "user"]
    asked = history[-1][1][-1]["text"]
    assert questions[-1].endswith(asked.strip() and asked) or one.strategy is Strategy.MINIMAL
    assert questions[-1]
    assert one.messages == made().messages, "the same again"
    assert [*one.used_memories, *one.dropped_memories] == sorted(
        [note.id for note in notes], key=[*one.used_memories, *one.dropped_memories].index
    )
    assert {*one.used_tasks, *one.dropped_tasks} == {task.id for task in tasks}


# What is said while a person answers: neither of them waits for the other, and the user's messages have no turn.
stretches = st.lists(st.sampled_from(["user", "human"]), max_size=8)


@given(st.lists(stretches, min_size=1, max_size=4), st.none() | st.integers(60, 400))
def test_what_was_said_while_a_person_answered_is_read_in_its_order_and_is_not_what_is_asked(
    said: list[list[str]], window: int | None
) -> None:
    history: list[Said] = []
    for number, authors in enumerate(said):
        history += [asks(f"asked {number}"), replies(f"answered {number}")]
        history += [(author, [text_part(f"{number}.{index}")]) for index, author in enumerate(authors)]
    sent = fitted([*history, asks("now")], window=window).messages
    talk = [message.text.rpartition("\n")[2] for message in sent]
    whole = ["".join(part["text"] for part in parts) for _, parts in history]
    assert talk == [*whole[len(whole) + 1 - len(talk) :], "now"]
    people = [message for message in sent if message.text.startswith("[A person]\n")]
    assert all(message.role == "assistant" for message in people)
    assert window is not None or len(people) == [author for authors in said for author in authors].count("human")


@given(histories, works, st.integers(100, 400), counts)
def test_what_is_left_out_is_left_out_whole(history: list[Said], work: list[Part], window: int, count: Count) -> None:
    made = fitted(history, instructions="Be brief.", work=work, window=window, count=count)
    if made.strategy in (Strategy.NONE, Strategy.DROP):
        whole = iter(request(history, instructions="Be brief.", work=work))
        ids = [replace(message, tool_calls=(), tool_call_id=None) for message in made.messages]
        assert all(
            any(replace(one, tool_calls=(), tool_call_id=None) == message for one in whole) for message in ids
        ), "in their order, and nothing else"


def said_again(messages: Iterable[ChatMessage]) -> list[Part]:
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
            said[-1][1].extend(said_again([message]))
        else:
            said.append(("user" if message.role == "user" else "agent", said_again([message])))
    return said


@given(talk=sound(), rounds=st.lists(rounds(), max_size=3), window=st.integers(100, 400))
def test_to_fit_what_was_fitted_changes_nothing(
    talk: list[ChatMessage], rounds: list[list[ChatMessage]], window: int
) -> None:
    history = [*as_stored(message for message in talk if message.role != "system"), asks("now")]
    made = request(history, work=said_again(message for one in rounds for message in one), window=window)
    end = max(index for index, message in enumerate(made) if message == user("now")) + 1
    assert request(as_stored(made[:end]), work=said_again(made[end:]), window=window) == made


@given(sound(), st.data())
def test_a_conversation_cut_anywhere_fits_every_window(history: list[ChatMessage], data: st.DataObject) -> None:
    """Whatever a crash left of the work, at whatever point of it."""
    whole = [part for message in history for part in said_again([message])]
    work = whole[: data.draw(st.integers(0, len(whole)))]
    window = data.draw(st.integers(16, size(request(TALK, work=work)) + 10))
    made = request(TALK, work=work, window=window)
    check(made, made)
    assert user("Three?") in made


# --- the beginning stays, so that providers find it in their caches ---


def first_texts(history: Sequence[Item], window: int, fitting: Callable[..., FittedPrompt] = fit) -> list[str]:
    return [message.text for message in fitting([], history, (), window, estimate_tokens).messages]


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.lists(st.integers(10, 400), min_size=40, max_size=80))
def test_the_beginning_stays_for_many_turns_when_messages_are_appended(first: int, lengths: list[int]) -> None:
    said = [
        Item(new_id(), "user" if number % 2 == 0 else "agent", [text_part("x" * length)], ordinal=first + number)
        for number, length in enumerate(lengths)
    ]
    window, cuts, sent = 1_500, 0, 0
    before: tuple[ChatMessage, ...] = ()
    for end in range(1, len(said), 2):
        made = fit([], [*said[:end]], (), window, estimate_tokens)
        assert made.total <= window
        if made.messages[: len(before)] != before:
            cuts += 1
            assert made.messages[0].text == said[len(made.dropped_messages)].parts[0]["text"]
        before = made.messages
        sent += size(made.messages[-2:], estimate_tokens)
    # A cut frees a third of the window, of which at least the half is filled before the next one.
    assert cuts <= 1 + sent / (window * (1 - LEAST_USE) / 2)


@given(st.integers(0, 2**20), st.integers(30, 120))
def test_where_older_messages_are_not_read_the_history_begins_at_the_same_message_for_many_turns(
    first: int, read: int
) -> None:
    said = [Item(new_id(), "user" if n % 2 == 0 else "agent", [text_part("x")], ordinal=first + n) for n in range(300)]
    starts = [stable_history(said[end - read : end])[0].ordinal for end in range(read + 1, 300, 2)]
    assert starts == sorted(starts)
    assert len(set(starts)) <= 2 + (300 - read) / ((read * (1 - LEAST_USE) - 4) / 2)
    for end in range(read + 1, 300, 2):
        assert len(stable_history(said[end - read : end])) >= LEAST_USE * (read - 1)


def test_ids_that_come_again_do_not_change_when_older_messages_are_dropped() -> None:
    def history(number: int) -> list[Item]:
        said = [asks("q" * 50), replies(called("call_0"), answered("call_0"), "a" * 50)] * number
        return items(*said, asks("now"))

    made = [fit([], history(number), (), 3000, len) for number in range(4, 60)]
    same = [
        one.messages[:-1] == two.messages[: len(one.messages) - 1]
        for one, two in pairwise(made)
        if len(one.dropped_messages) == len(two.dropped_messages)
    ]
    assert len(same) > 40
    assert all(same)


def test_the_time_to_fit_grows_with_the_history_and_not_faster() -> None:
    def seconds(number: int) -> float:
        said = items(*[asks("как дела " * 20), replies("хорошо " * 40)] * number, asks("now"))
        begun = time.process_time()
        fit([], said, (), 50_000, estimate_tokens)
        return time.process_time() - begun

    seconds(100)
    small, large = min(seconds(300) for _ in range(5)), min(seconds(3000) for _ in range(5))
    assert large < 30 * small
