"""What a model says becomes the answer of its turn."""

from __future__ import annotations

import pytest

from agents.domain.message_parts import text_part, tool_call_part, tool_result_part
from agents.domain.model_messages import ChatMessage, ToolCall
from agents.domain.prompt import valid_call_id
from agents.domain.states import TurnStatus
from agents.engine.model_call import MAX_TOKENS_PER_CALL
from agents.journal.fenced_writes import FinishedTurn
from agents.llm.interface import Usage
from foundation.db_threads import in_db_thread
from tests.support.scripted import Reply, calls, says, scripted
from tests.support.turns import answer_of, begin, log, pause, run, steps, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_an_answer_that_arrives_whole_is_one_commit() -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", "lo"))
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert await log(ada) == ["message.delta", "message.completed", "turn.completed"]
    assert await answer_of(ada) == ([text_part("Hello")], False)
    turn = await turn_of(ada)
    assert (turn.status, turn.input_tokens, turn.output_tokens) == ("completed", 3, 5)
    assert await steps() == [(1, "model", "done", "offline:")]
    [request] = model.requests
    assert request.messages == (ChatMessage("user", "Hi"),)
    assert (request.model, request.tools, request.max_output_tokens) == ("", (), None)
    assert (model.open, model.left) == (0, 0)


async def test_the_request_follows_the_release() -> None:
    ada = await begin(
        instructions="Be brief.", tools=["clock"], model_chain=["openai:small"], limits={"call_output_tokens": 9}
    )
    services, model, _ = scripted(says("Hello"))
    await run(services)
    [request] = model.requests
    assert request.messages == (ChatMessage("system", "Be brief."), ChatMessage("user", "Hi"))
    assert ([tool.name for tool in request.tools], request.model, request.max_output_tokens) == (["clock"], "small", 9)
    assert (await turn_of(ada)).status == "completed"


async def test_words_are_relayed_while_the_model_speaks() -> None:
    ada = await begin()
    await run(scripted(says("One ", pause(0.06), "two ", pause(0.06), "three."))[0])
    types = await log(ada)
    assert types[-2:] == ["message.completed", "turn.completed"]
    assert 2 <= types.count("message.delta") <= 3
    deltas = [event.data["text"] for event in await in_db_thread(ada.events) if event.type == "message.delta"]
    assert "".join(deltas) == "One two three."
    assert deltas[0] == "One ", "the first words do not wait"


@pytest.mark.parametrize("words", [[], ["  ", "\n"]])
async def test_an_answer_without_a_word_is_a_failure_of_its_own_which_is_paid_for(words: list[str]) -> None:
    ada = await begin()
    await run(scripted(says(*words, usage=Usage(7, 3)))[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, turn.error_detail) == (
        "failed",
        "empty_answer",
        "The model gave no answer. Try again.",
    )
    assert (turn.input_tokens, turn.output_tokens) == (7, 3)


@pytest.mark.parametrize("usage", [None, Usage(0, 0)])
async def test_usage_that_no_provider_reported_is_unknown(usage: Usage | None) -> None:
    ada = await begin()
    await run(scripted(says("One", usage=usage))[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.output_tokens) == ("completed", None if usage is None else 0)


async def test_an_answer_that_was_ended_before_its_first_word_is_one() -> None:
    ada = await begin()
    await run(scripted(Reply([], finish_reason="length"))[0])
    assert (await turn_of(ada)).status == "completed"
    assert (await answer_of(ada))[0] == [text_part("", cut="length")]


async def test_usage_that_no_model_can_have_does_not_cost_the_answer() -> None:
    ada = await begin()
    ended = await run(scripted(says("Hello", usage=Usage(3_000_000_000, 2**63)))[0])
    assert ended == FinishedTurn(TurnStatus.COMPLETED, 0)
    turn = await turn_of(ada)
    assert (turn.input_tokens, turn.output_tokens) == (MAX_TOKENS_PER_CALL, MAX_TOKENS_PER_CALL)


async def test_what_no_row_can_hold_is_replaced_wherever_the_model_says_it() -> None:
    ada = await begin()
    bad = "\x00\ud800"
    services, _, tools = scripted(
        Reply([f"a{bad}"], [ToolCall(f"c{bad}", f"n{bad}", f'{{"a": "{bad}"}}')]),
        says("done"),
        tools={"n\ufffd\ufffd": works(f"r{bad}")},
    )
    assert (await run(services)).status is TurnStatus.COMPLETED  # type: ignore[union-attr]
    good = "\ufffd\ufffd"
    assert await answer_of(ada) == (
        [
            text_part(f"a{good}"),
            tool_call_part(call_id=f"c{good}", name=f"n{good}", arguments=f'{{"a": "{good}"}}'),
            tool_result_part(call_id=f"c{good}", content=f"r{good}", is_error=False),
            text_part("done"),
        ],
        False,
    )
    assert len(tools.called) == 1
    await log(ada)


async def test_names_longer_than_their_columns_stay_one_call() -> None:
    ada = await begin()
    long = "x" * 300
    services, model, _ = scripted(
        calls((long, long, "{}")), says("done"), tools={long[:200]: works("noon"), long: works("noon")}
    )
    assert (await run(services)).status is TurnStatus.COMPLETED  # type: ignore[union-attr]
    [call_step] = [step for step in await steps() if step[1] == "tool"]
    said, result = model.requests[1].messages[1:]
    assert call_step[3] == long[:200]
    assert said.tool_calls[0].id == result.tool_call_id == valid_call_id(long[:200])
    await log(ada)
