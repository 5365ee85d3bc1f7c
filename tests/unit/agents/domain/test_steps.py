"""The journal of a turn: what it has done, what comes next, at whatever point it was cut."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ProviderExtras
from agents.domain.prompt import flatten, repair, unique_call_ids
from agents.domain.states import StepKind, StepStatus
from agents.domain.steps import StepRecord, message_parts, open_model_call, open_tools, provider_extras


def model(number: int, text: str = "", *call_ids: str) -> StepRecord:
    calls = [{"id": call_id, "name": "clock", "arguments": "{}"} for call_id in call_ids]
    result = {"text": text, "tool_calls": calls}
    return StepRecord(number, StepKind.MODEL, StepStatus.DONE, "offline:", idempotent=True, result=result)


def tool(number: int, call_id: str, status: StepStatus = StepStatus.DONE) -> StepRecord:
    result = {"content": f"result of {call_id}", "is_error": status is not StepStatus.DONE}
    return StepRecord(number, StepKind.TOOL, status, "clock", call_id, request="{}", result=result)


def undone(step: StepRecord) -> StepRecord:
    return replace(step, status=StepStatus.INTENT, result=None)


JOURNAL = [model(1, "Wait.", "a", "b"), tool(2, "a"), tool(3, "b", StepStatus.FAILED), model(4, "Noon.")]


def test_nothing_is_open_when_every_step_has_its_outcome() -> None:
    assert open_tools(JOURNAL) == []
    assert open_model_call(JOURNAL) is None


def test_a_new_turn_has_its_first_model_call_open() -> None:
    first = undone(model(1))
    assert open_model_call([first]) == first
    assert open_tools([first]) == []


def test_a_cut_among_tools_leaves_those_open_that_have_no_outcome() -> None:
    cut = [JOURNAL[0], undone(JOURNAL[1]), JOURNAL[2]]
    assert [step.number for step in open_tools(cut)] == [2]
    assert open_model_call(cut) is None


def test_an_unknown_outcome_is_an_outcome() -> None:
    unknown = tool(2, "a", StepStatus.UNKNOWN)
    assert open_tools([JOURNAL[0], unknown]) == []
    [part] = message_parts([unknown])
    assert part == tool_result_part(call_id="a", content="result of a", is_error=True, outcome="unknown")
    assert part["outcome"] == "unknown"


def test_a_call_that_was_not_let_run_is_refused() -> None:
    refused = tool(2, "a", StepStatus.FAILED)
    refused = replace(refused, result={"content": "No.", "is_error": True, "outcome": "refused"})
    assert message_parts([refused]) == [tool_result_part(call_id="a", content="No.", is_error=True, outcome="refused")]


def test_the_parts_of_a_turn_stand_in_the_order_of_its_steps() -> None:
    assert message_parts(JOURNAL) == [
        text_part("Wait."),
        tool_call_part(call_id="a", name="clock", arguments="{}"),
        tool_call_part(call_id="b", name="clock", arguments="{}"),
        tool_result_part(call_id="a", content="result of a", is_error=False),
        tool_result_part(call_id="b", content="result of b", is_error=True),
        text_part("Noon."),
    ]


def test_a_step_that_was_given_up_shows_nothing() -> None:
    given_up = replace(tool(2, "a"), status=StepStatus.FAILED, result=None)
    assert message_parts([model(1), given_up]) == []


@st.composite
def journals(draw: st.DrawFn) -> list[StepRecord]:
    """Rounds of tools; the last outcomes are missing, as after a crash: those of one model call or of some tools."""
    steps: list[StepRecord] = []
    for _ in range(draw(st.integers(0, 3))):
        ids = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
        steps.append(model(len(steps) + 1, draw(st.sampled_from(["", "Wait."])), *ids))
        steps += [tool(number, one) for number, one in enumerate(ids, start=len(steps) + 1)]
    last_round = max((step.number for step in steps if step.kind is StepKind.MODEL), default=0)
    if draw(st.booleans()):
        return [*steps, undone(model(len(steps) + 1))]
    return [undone(step) if step.number > last_round and draw(st.booleans()) else step for step in steps]


@given(journals())
def test_the_next_request_is_sound_wherever_the_journal_was_cut(steps: list[StepRecord]) -> None:
    work = flatten("agent", message_parts(steps))
    request = repair(work)
    done = {step.number for step in steps if not step.open}
    open_ids = {step.number for step in [*open_tools(steps), *filter(None, [open_model_call(steps)])]}
    assert done | open_ids == {step.number for step in steps}
    assert not done & open_ids
    if not open_tools(steps):
        assert request == unique_call_ids(work), "with every outcome there is nothing to repair but repeated ids"
    asked = [call.id for message in request for call in message.tool_calls]
    answered = [message.tool_call_id for message in request if message.role == "tool"]
    assert asked == answered


def asked(number: int, *ids: str, **result: object) -> StepRecord:
    step = model(number, "", *ids)
    return replace(step, name="openai:a", result={**(step.result or {}), **result})


def test_what_came_with_an_answer_is_found_again_at_its_first_call_even_where_ids_come_again() -> None:
    steps = [
        asked(1, "call_0", "call_1", reasoning="One."),
        tool(2, "call_0"),
        tool(3, "call_1"),
        asked(4, "call_0", extra_fields={"message": {"x": 1}}),
        tool(5, "call_0"),
        asked(6, "call_1"),
        asked(7, reasoning="Of an answer without calls."),
    ]
    extras = provider_extras(steps)
    assert extras == {
        "call_0": {"route": "openai:a", "reasoning": "One.", "fields": {}},
        "call_0#2": {"route": "openai:a", "reasoning": "", "fields": {"message": {"x": 1}}},
    }
    answers = [message for message in flatten("agent", message_parts(steps), extras) if message.role == "assistant"]
    assert [answer.extras for answer in answers] == [
        ProviderExtras("openai:a", "One."),
        ProviderExtras("openai:a", "", {"message": {"x": 1}}),
        None,
    ]
    assert [message.extras for message in repair(flatten("agent", message_parts(steps), extras)) if message.extras] == [
        answer.extras for answer in answers[:2]
    ]
