"""Messages of OpenAI clients: what is history, what is asked, and what is refused."""

from typing import Any

import pytest

from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.openai_api.request_messages import check_history, read_messages
from foundation.errors import InvalidInput, TooLarge

HI: Any = {"role": "user", "content": "Hi"}
CALL: Any = {"id": "a", "type": "function", "function": {"name": "light", "arguments": "{}"}}
SAYS: Any = {"role": "assistant", "content": "Hello."}
CALLS: Any = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: Any = {"role": "tool", "tool_call_id": "a", "content": "on"}

CALL_PART = tool_call_part(call_id="a", name="light", arguments="{}")
RESULT_PART = tool_result_part(call_id="a", content="on", is_error=False)


def test_the_last_message_of_the_user_is_what_is_asked() -> None:
    read = read_messages([HI, SAYS, {"role": "user", "content": "And?"}])
    assert read.history == [("user", [text_part("Hi")]), ("agent", [text_part("Hello.")])]
    assert read.turn_parts == [text_part("And?")]


def test_words_for_the_model_are_put_together_wherever_they_stand() -> None:
    read = read_messages([{"role": "system", "content": "A"}, HI, {"role": "developer", "content": "B"}])
    assert (read.instructions, read.turn_parts) == ("A\n\nB", [text_part("Hi")])


def test_words_for_the_model_are_the_question_where_there_is_no_other() -> None:
    read = read_messages([{"role": "system", "content": "Say"}, {"role": "developer", "content": "hello."}])
    assert (read.instructions, read.history, read.turn_parts) == ("", [], [text_part("Say\n\nhello.")])


def test_text_may_come_in_parts() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert read_messages([{"role": "user", "content": parts}]).turn_parts == [text_part("Hello")]
    assert read_messages([{**SAYS, "content": parts}, HI]).history == [("agent", [text_part("Hello")])]


def test_results_at_the_end_are_what_is_asked_and_words_behind_them_too() -> None:
    read = read_messages([HI, CALLS, RESULT])
    assert (read.history[-1], read.turn_parts) == (("agent", [CALL_PART]), [RESULT_PART])
    read = read_messages([HI, CALLS, RESULT, {"role": "user", "content": "Well?"}])
    assert read.turn_parts == [RESULT_PART, text_part("Well?")]
    check_history(read)


def test_results_in_the_middle_are_history() -> None:
    read = read_messages([HI, CALLS, RESULT, SAYS, HI])
    assert [author for author, _ in read.history] == ["user", "agent", "user", "agent"]
    assert read.history[2] == ("user", [RESULT_PART])
    check_history(read)


@pytest.mark.parametrize(
    "echo",
    [
        {"refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": None},
        {"parsed": {"city": "Zurich"}, "reasoning_content": "Hm.", "provider_specific_fields": {}, "images": []},
        {"id": "msg_1", "name": "demo", "tool_calls": []},
    ],
)
def test_an_answer_comes_back_with_whatever_the_library_put_into_it(echo: Any) -> None:
    assert read_messages([HI, {**SAYS, **echo}, HI]).history[1] == ("agent", [text_part("Hello.")])


def test_a_call_comes_back_with_whatever_the_library_put_into_it() -> None:
    call = {**CALL, "index": 0, "function": {**CALL["function"], "parsed_arguments": {}}}
    contents: list[Any] = [None, "", []]
    for content in contents:
        read = read_messages([HI, {**CALLS, "content": content, "tool_calls": [call]}, RESULT])
        assert read.history[-1] == ("agent", [CALL_PART])


def test_a_result_may_come_in_parts() -> None:
    read = read_messages([HI, CALLS, {**RESULT, "name": "light", "content": [{"type": "text", "text": "on"}]}])
    assert read.turn_parts == [RESULT_PART]


def test_calls_that_got_no_result_are_taken_and_mended_later() -> None:
    check_history(read_messages([HI, CALLS, HI]))


@pytest.mark.parametrize(
    "messages",
    [
        [HI, RESULT],
        [HI, SAYS, RESULT],
        [HI, CALLS, {**RESULT, "tool_call_id": "forged"}],
        [HI, CALLS, {**RESULT, "tool_call_id": "forged"}, SAYS, HI],
        [HI, CALLS, RESULT, SAYS, RESULT],
        [HI, {**CALLS, "tool_calls": [CALL, {**CALL, "id": "b"}]}, RESULT],
    ],
    ids=["no calls", "an answer", "forged", "forged before", "given before", "one is missing"],
)
def test_a_result_belongs_to_a_call_right_before_it(messages: list[Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_history(read_messages(messages))
    assert refused.value.pointer == "/messages"


@pytest.mark.parametrize(
    ("messages", "pointer"),
    [
        (None, "/messages"),
        ([], "/messages"),
        ("Hi", "/messages"),
        (["Hi"], "/messages/0"),
        ([{"content": "Hi"}], "/messages/0/role"),
        ([{"role": "function", "content": "Hi", "name": "f"}], "/messages/0/role"),
        ([{"role": ["user"], "content": "Hi"}], "/messages/0/role"),
        ([{**HI, "mystery": 1}], "/messages/0/mystery"),
        ([{"role": "system", "content": "A", "mystery": 1}, HI], "/messages/0/mystery"),
        ([HI, CALLS, {**RESULT, "mystery": 1}], "/messages/2/mystery"),
        ([{"role": "user"}], "/messages/0/content"),
        ([{"role": "user", "content": None}], "/messages/0/content"),
        ([{"role": "user", "content": 7}], "/messages/0/content"),
        ([{"role": "user", "content": ["Hi"]}], "/messages/0/content/0"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "/messages/0/content/0"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "/messages/0/content/0/type"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "/messages/0/content/0/type"),
        ([{"role": "user", "content": []}], "/messages/0"),
        ([{"role": "user", "content": "  "}], "/messages/0/content"),
        ([HI, SAYS], "/messages/1"),
        ([{"role": "system", "content": "  "}], "/messages/0/content"),
        ([{"role": "system", "content": ""}], "/messages/0"),
        ([{"role": "system", "content": "A"}, SAYS], "/messages/1"),
        ([{**SAYS, "function_call": {"name": "f"}}, HI], "/messages/0/function_call"),
        ([{**CALLS, "tool_calls": {}}, HI], "/messages/0/tool_calls"),
        ([{**CALLS, "tool_calls": ["a"]}, HI], "/messages/0/tool_calls/0"),
        ([{**CALLS, "tool_calls": [{**CALL, "id": ""}]}, HI], "/messages/0/tool_calls/0/id"),
        ([{**CALLS, "tool_calls": [{**CALL, "type": "custom"}]}, HI], "/messages/0/tool_calls/0"),
        ([{**CALLS, "tool_calls": [CALL, CALL]}, HI], "/messages/0/tool_calls/1/id"),
        ([HI, CALLS, {**RESULT, "tool_call_id": None}], "/messages/2/tool_call_id"),
        ([HI, CALLS, RESULT, RESULT], "/messages/3/tool_call_id"),
    ],
)
def test_what_is_no_message_is_refused_where_it_stands(messages: Any, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_messages(messages)
    assert refused.value.pointer == pointer


def test_too_much_is_refused() -> None:
    with pytest.raises(TooLarge):
        read_messages([HI] * 2001)


def test_only_the_request_as_a_whole_bounds_what_was_said() -> None:
    answer, result, text = "a" * 68_000, "r" * 1_048_576, "t" * 524_288
    read = read_messages(
        [
            {"role": "system", "content": text},
            HI,
            {**SAYS, "content": answer},
            HI,
            CALLS,
            {**RESULT, "content": result},
            {"role": "user", "content": text},
        ]
    )
    assert (read.instructions, read.history[1]) == (text, ("agent", [text_part(answer)]))
    assert read.turn_parts == [{**RESULT_PART, "content": result}, text_part(text)]
