"""What a client asks of one turn, in its row and back."""

import json

import pytest

from agents.domain.client_options import (
    NO_OPTIONS,
    ClientOptions,
    check_results,
    client_tool_calls,
    dump_options,
    read_options,
    smaller_limit,
)
from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import JsonFormat, ToolSpec
from foundation.errors import InvalidInput

LIGHT = ToolSpec("light", "Switch a light.", {"type": "object", "properties": {"on": {"type": "boolean"}}})


def test_options_come_back_from_their_row_as_they_went() -> None:
    options = ClientOptions(
        tools=(LIGHT, ToolSpec("door", "", {}, strict=True)),
        max_output_tokens=7,
        instructions="Be brief.",
        stop=("\n\n",),
        must_call=("light",),
        one_call=True,
        json=JsonFormat({"type": "object"}, "city", "A city.", strict=True),
    )
    stored = dump_options(options, system="an-id")
    assert stored is not None
    assert stored["system"] == "an-id"
    assert "Be brief." not in str(stored), "the words stand in a message of their own"
    assert read_options(json.loads(json.dumps(stored)), [text_part("Be brief.")]) == options
    assert options.forced_tools == (LIGHT,)


def test_a_turn_without_options_holds_nothing() -> None:
    assert dump_options(ClientOptions(), system=None) is None
    assert read_options(None) is NO_OPTIONS


def test_json_without_a_schema_is_something_to_hold() -> None:
    options = ClientOptions(json=JsonFormat())
    assert read_options(dump_options(options, system=None)) == options


def test_what_a_client_must_run_is_what_has_no_result() -> None:
    ours = tool_call_part(call_id="a", name="clock", arguments="{}")
    theirs = tool_call_part(call_id="b", name="light", arguments="{}")
    result = tool_result_part(call_id="a", content="noon", is_error=False)
    assert client_tool_calls([text_part("Let me see."), ours, theirs, result]) == [theirs]


def test_results_are_those_of_the_calls_that_wait_and_of_all_of_them() -> None:
    calls = [tool_call_part(call_id=name, name="light", arguments="{}") for name in "ab"]
    results = [tool_result_part(call_id=name, content="on", is_error=False) for name in "abc"]
    check_results(calls, [*results[:2], text_part("Well?")])
    check_results(calls, [text_part("Never mind.")])
    check_results(calls, results[:1], require_all=False)
    with pytest.raises(InvalidInput, match="'c'"):
        check_results(calls, results)
    with pytest.raises(InvalidInput, match="'b' is missing"):
        check_results(calls, results[:1])


def test_the_tighter_of_two_bounds_counts() -> None:
    assert [smaller_limit(1, 2), smaller_limit(None, 2), smaller_limit(1, None), smaller_limit(None, None)] == [
        1,
        2,
        1,
        None,
    ]
