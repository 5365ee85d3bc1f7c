"""One turn from its claim to its end, with a model and tools that follow a script."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError, transaction

from agents.access.actor import Actor
from agents.engine import deltas
from agents.engine import turn as engine
from agents.engine.context import load_context
from agents.engine.model_call import MAX_TOKENS_PER_CALL
from agents.engine.services import Services
from agents.engine.turn import Stop, TurnRun
from agents.engine.work import MAX_CHARACTERS_PER_TOKEN
from agents.journal.fenced import Ended, LostTurn
from agents.journal.locked import lock_session
from agents.llm.errors import BY_CLASS, BadModelRequest, ModelAuthFailed, ModelUnreachable, TransientModelError
from agents.llm.port import LLM, Usage
from agents.models import AgentDraft, Step, Turn
from agents.releases import publish
from agents.rules.conversation import ChatMessage, ToolCall
from agents.rules.history import INTERRUPTED, sound_id
from agents.rules.parts import Part, text_part, tool_call_part, tool_result_part
from agents.rules.spending import money
from agents.rules.states import TERMINAL, TurnStatus
from agents.rules.steps import UNKNOWN_OUTCOME
from agents.runner.reaper import give_back, reap
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.conversations import (
    OTHER_RUNNER,
    Conversation,
    claimed,
    conversation,
    lease_is_over,
    replayed,
)
from tests.people import agent
from tests.scripted import USAGE, Models, Outcome, Reply, ScriptedModel, calls, for_ever, says, scripted

pytestmark = pytest.mark.usefixtures("transactional_db")

A_WHILE = 10.0


def asked(text: str = "Hi", **draft: Any) -> Conversation:
    """A conversation with one question; `draft` changes the release it is on."""
    if draft:
        made = agent("special")
        AgentDraft.objects.filter(agent=made).update(**draft, version=2)
        publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)
    ada = conversation(slug="special" if draft else "demo")
    ada.ask(text)
    return ada


async def begin(text: str = "Hi", **draft: Any) -> Conversation:
    return await in_db_thread(asked, text, **draft)


async def claim_run(services: Services, **changes: Any) -> TurnRun:
    """The one turn that can be claimed, as a runner begins it."""
    context = await in_db_thread(lambda: load_context(claimed()))
    return TurnRun(replace(context, claim=replace(context.claim, **changes)), services)


async def run(services: Services, **changes: Any) -> Ended | None:
    return await (await claim_run(services, **changes)).run()


async def log(ada: Conversation, begin: int = 3) -> list[str]:
    """The types of the events since the claim, after a look at the replay law."""

    def read() -> list[str]:
        empty = {"seq": 0, "session": ada.snapshot()["session"], "messages": [], "turns": {}}
        assert replayed(ada, empty) == ada.snapshot()
        return ada.log()[begin:]

    return await in_db_thread(read)


async def answer_of(ada: Conversation) -> tuple[list[Part], bool]:
    message = (await in_db_thread(ada.messages))[-1]
    assert message.author == "agent"
    return message.parts, message.partial


async def turn_of(ada: Conversation) -> Turn:
    return await in_db_thread(ada.turn)


async def steps() -> list[tuple[int, str, str, str]]:
    """Number, kind, status and name or call id of every step."""

    def read() -> list[tuple[int, str, str, str]]:
        return [(s.number, s.kind, s.status, s.call_id or s.name) for s in Step.objects.order_by("number")]

    return await in_db_thread(read)


async def costs() -> list[Decimal | None]:
    return await in_db_thread(lambda: list(Step.objects.order_by("number").values_list("cost_usd", flat=True)))


async def end_of(ada: Conversation) -> dict[str, Any]:
    """The data of the last event."""
    data: dict[str, Any] = (await in_db_thread(ada.events))[-1].data
    return data


def works(content: str) -> Callable[[str], Awaitable[Outcome]]:
    async def tool(_: str) -> Outcome:
        return Outcome(content)

    return tool


def breaks(content: str) -> Callable[[str], Awaitable[Outcome]]:
    async def tool(_: str) -> Outcome:
        return Outcome(content, is_error=True)

    return tool


def pause(seconds: float) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.sleep(seconds)


TWO_CALLS = calls(("c1", "clock", "{}"), ("c2", "notes", '{"a": 1}'), text="Wait.")


# --- answers ---


async def test_an_answer_that_arrives_whole_is_one_commit() -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", "lo"))
    assert await run(services) == Ended(TurnStatus.COMPLETED, 0)
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


@pytest.mark.parametrize("usage", [None, Usage(0, 0)])
async def test_an_empty_answer_is_an_answer_and_missing_usage_is_none(usage: Usage | None) -> None:
    ada = await begin()
    await run(scripted(says(usage=usage))[0])
    assert await answer_of(ada) == ([text_part("")], False)
    turn = await turn_of(ada)
    assert (turn.status, turn.output_tokens) == ("completed", 0)


async def test_usage_that_no_model_can_have_does_not_cost_the_answer() -> None:
    ada = await begin()
    ended = await run(scripted(says("Hello", usage=Usage(3_000_000_000, 2**63)))[0])
    assert ended == Ended(TurnStatus.COMPLETED, 0)
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
    assert said.tool_calls[0].id == result.tool_call_id == sound_id(long[:200])
    await log(ada)


# --- tools ---


async def test_tools_run_side_by_side_and_the_model_reads_their_results() -> None:
    ada = await begin()
    meet = asyncio.Barrier(2)

    async def clock(_: str) -> Outcome:
        await asyncio.wait_for(meet.wait(), A_WHILE)
        return Outcome("noon")

    async def notes(_: str) -> Outcome:
        await asyncio.wait_for(meet.wait(), A_WHILE)
        return Outcome("full", is_error=True)

    services, model, tools = scripted(TWO_CALLS, says("It is noon."), tools={"clock": clock, "notes": notes})
    await run(services)
    turn_id = (await turn_of(ada)).pk
    assert sorted((one.name, one.arguments, one.key) for one in tools.called) == [
        ("clock", "{}", f"{turn_id}:2"), ("notes", '{"a": 1}', f"{turn_id}:3"),
    ]  # fmt: skip
    assert model.requests[1].messages == (
        ChatMessage("user", "Hi"),
        ChatMessage("assistant", "Wait.", tuple(TWO_CALLS.calls)),
        ChatMessage("tool", "noon", tool_call_id="c1"),
        ChatMessage("tool", "full", tool_call_id="c2"),
    )
    assert await answer_of(ada) == (
        [
            text_part("Wait."),
            tool_call_part(call_id="c1", name="clock", arguments="{}"),
            tool_call_part(call_id="c2", name="notes", arguments='{"a": 1}'),
            tool_result_part(call_id="c1", content="noon", is_error=False),
            tool_result_part(call_id="c2", content="full", is_error=True),
            text_part("It is noon."),
        ],
        False,
    )
    assert await steps() == [
        (1, "model", "done", "offline:"), (2, "tool", "done", "c1"), (3, "tool", "failed", "c2"),
        (4, "model", "done", "offline:"),
    ]  # fmt: skip
    types = await log(ada)
    assert types[:3] == ["message.delta", "tool.started", "tool.started"]
    assert sorted(types[3:5]) == ["tool.failed", "tool.finished"]
    assert types[5:] == ["message.delta", "message.completed", "turn.completed"]
    turn = await turn_of(ada)
    assert (turn.input_tokens, turn.output_tokens) == (6, 10), "the usage of both calls"
    assert turn.cost_usd == Decimal("0.16")
    assert (await end_of(ada))["usage"] == {"input_tokens": 6, "output_tokens": 10, "cost_usd": "0.16000000"}
    assert await costs() == [Decimal("0.08"), 0, 0, Decimal("0.08")]


async def test_one_unknown_price_makes_the_whole_turn_unknown() -> None:
    ada = await begin(tools=["clock"])
    replies = [replace(calls(("c1", "clock", "{}")), usage=None), says("Noon.")]
    await run(scripted(*replies, tools={"clock": works("noon")})[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.output_tokens, turn.cost_usd) == ("completed", 5, None)
    assert (await end_of(ada))["usage"]["cost_usd"] is None
    assert await costs() == [None, 0, Decimal("0.08")]


@pytest.mark.parametrize(
    ("items", "cost"),
    [
        (["Hel", Usage(3, 1), TransientModelError()], Decimal("0.04")),
        ([Usage(3, 1), "Hel", Usage(3, 2), TransientModelError()], Decimal("0.05")),
        (["Hel", TransientModelError()], None),
        (["Hel", TransientModelError(status=500)], None),
        ([TransientModelError(status=503)], Decimal(0)),
        ([ModelUnreachable()], Decimal(0)),
        ([ModelAuthFailed()], Decimal(0)),
        ([TransientModelError()], None),
    ],
)
async def test_a_call_that_fails_costs_what_its_provider_told_until_then(
    items: list[Any], cost: Decimal | None
) -> None:
    ada = await begin()
    await run(scripted(says(*items))[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.cost_usd, await costs()) == ("failed", cost, [cost])
    assert (await end_of(ada))["usage"]["cost_usd"] == money(cost)


async def test_a_stopped_call_costs_what_its_provider_told_until_then() -> None:
    ada = await begin()
    reached = asyncio.Event()
    running = await start(scripted(says("Hel", Usage(3, 1), marked(reached)))[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    await running.ended()
    assert ((await turn_of(ada)).cost_usd, await costs()) == (Decimal("0.04"), [Decimal("0.04")])


async def test_a_turn_that_is_stopped_before_its_model_is_asked_costs_nothing() -> None:
    ada = await begin()
    turn_run = await claim_run(scripted(says("Hello"))[0])
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn_run.claim.turn_id)
    turn_run.stop(Stop.ASKED)
    await turn_run.run()
    assert ((await turn_of(ada)).cost_usd, await costs()) == (Decimal(0), [Decimal(0)])


async def test_a_call_that_is_stopped_before_it_is_made_costs_nothing_though_the_one_before_it_did() -> None:
    ada = await begin()
    runs: list[TurnRun] = []

    async def clock(_: str) -> Outcome:
        await in_db_thread(cancel_turn, ada.actor, turn_id=runs[0].claim.turn_id)
        # It arrives while the result and the intent of the next call are committed.
        asyncio.get_running_loop().call_soon(runs[0].stop, Stop.ASKED)
        return Outcome("noon")

    metered = Reply([USAGE], [ToolCall("c1", "clock", "{}")])
    services, model, _ = scripted(metered, says("Never."), tools={"clock": clock})
    runs.append(await claim_run(services))
    await runs[0].run()
    assert len(model.requests) == 1
    assert await costs() == [Decimal("0.08"), 0, 0]
    turn = await turn_of(ada)
    assert (turn.status, turn.input_tokens, turn.output_tokens) == ("cancelled", 3, 5)
    assert turn.cost_usd == Decimal("0.08")


async def test_rounds_of_tools_go_on_until_the_model_answers() -> None:
    ada = await begin()
    services, model, tools = scripted(
        *[calls(("c1", "clock", "{}"))] * 3, says("Done."), tools={"clock": works("noon")}
    )
    await run(services)
    assert (len(model.requests), len(tools.called)) == (4, 3)
    assert [number for number, *_ in await steps()] == list(range(1, 8))
    assert (await turn_of(ada)).status == "completed"
    await log(ada)


async def test_a_tool_that_breaks_its_promise_fails_the_turn_and_says_nothing_of_itself() -> None:
    ada = await begin()

    async def clock(_: str) -> Outcome:
        raise RuntimeError("password=hunter2")

    services, *_ = scripted(TWO_CALLS, tools={"clock": clock, "notes": lambda _: for_ever()})
    assert (await asyncio.wait_for(run(services), A_WHILE)).status is TurnStatus.FAILED  # type: ignore[union-attr]
    turn = await turn_of(ada)
    assert turn.error_class == "unknown"
    assert "hunter2" not in turn.error_detail + str([event.data for event in await in_db_thread(ada.events)])
    assert [step[2] for step in await steps()] == ["done", "unknown", "unknown"]


# --- failures ---


@pytest.mark.parametrize("error_class", sorted(BY_CLASS))
async def test_an_error_of_the_model_ends_the_turn_with_its_class(error_class: Any) -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", BY_CLASS[error_class]()))
    await run(services)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", error_class)
    assert turn.error_detail == BY_CLASS[error_class]().detail
    assert await answer_of(ada) == ([text_part("Hel")], True)
    assert await steps() == [(1, "model", "failed", "offline:")]
    last = (await in_db_thread(ada.events))[-1]
    assert last.data["error"]["error_id"] == str(turn.error_id)
    assert (await log(ada))[-2:] == ["message.completed", "turn.failed"]
    assert model.open == 0


async def test_an_error_before_the_first_word_leaves_no_message() -> None:
    ada = await begin()
    await run(scripted(says(TransientModelError()))[0])
    assert await log(ada) == ["turn.failed"]


async def test_an_error_after_tools_keeps_what_they_did() -> None:
    ada = await begin()
    services, *_ = scripted(
        calls(("c1", "clock", "{}")), says("So", TransientModelError()), tools={"clock": works("noon")}
    )
    await run(services)
    assert await answer_of(ada) == (
        [
            tool_call_part(call_id="c1", name="clock", arguments="{}"),
            tool_result_part(call_id="c1", content="noon", is_error=False),
            text_part("So"),
        ],
        True,
    )
    await log(ada)


async def test_a_model_that_is_not_there_any_more_fails_the_turn_in_words_and_costs_nothing() -> None:
    class Gone(Models):
        def resolve(self, route: str) -> tuple[LLM, str]:
            raise BadModelRequest("The agent's model is not available here.", provider_detail=f"route {route!r}")

    ada = await begin()
    services, *_ = scripted()
    await run(replace(services, models=Gone(ScriptedModel([]))))
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", "bad_request")
    assert turn.error_detail == "The agent's model is not available here."
    assert (turn.cost_usd, await log(ada)) == (Decimal(0), ["turn.failed"])


async def test_a_fault_of_our_own_is_not_shown() -> None:
    ada = await begin()
    await run(scripted(says("Hel", ValueError("password=hunter2")))[0])
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, turn.error_detail) == (
        "failed",
        "unknown",
        "Something went wrong on our side.",
    )
    assert await answer_of(ada) == ([text_part("Hel")], True)


# --- limits ---


async def test_the_steps_of_a_turn_are_limited() -> None:
    ada = await begin(limits={"steps": 2}, tools=["clock"])
    services, model, tools = scripted(calls(("c1", "clock", "{}")), tools={"clock": works("noon")})
    await run(services)
    assert (len(model.requests), len(tools.called)) == (2, 2)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", "limit_reached")
    assert (await answer_of(ada))[1] is True
    await log(ada)


async def test_the_tool_calls_of_a_turn_are_limited_before_they_run() -> None:
    ada = await begin(limits={"tool_calls": 3}, tools=["clock"])
    two = calls(("c1", "clock", "{}"), ("c2", "clock", "{}"))
    services, _, tools = scripted(two, tools={"clock": works("noon")})
    await run(services)
    assert len(tools.called) == 2
    assert (await turn_of(ada)).error_class == "limit_reached"
    await log(ada)


async def test_the_output_of_a_turn_is_limited() -> None:
    ada = await begin(limits={"output_tokens": 8}, tools=["clock"])
    services, model, _ = scripted(calls(("c1", "clock", "{}")), tools={"clock": works("noon")})
    await run(services)
    assert len(model.requests) == 2, "5 tokens each: the third call is not made"
    assert (await turn_of(ada)).error_class == "limit_reached"
    await log(ada)


async def test_a_model_that_talks_without_end_is_cut_off() -> None:
    ada = await begin(limits={"output_tokens": 2})
    services, model, _ = scripted(says(*["x" * MAX_CHARACTERS_PER_TOKEN] * 3, for_ever))
    await asyncio.wait_for(run(services), A_WHILE)
    assert (await turn_of(ada)).error_class == "limit_reached"
    assert (model.open, model.left) == (0, 1)
    parts, partial = await answer_of(ada)
    assert (parts, partial) == ([text_part("x" * 3 * MAX_CHARACTERS_PER_TOKEN)], True)
    await log(ada)


@pytest.mark.parametrize("remaining", [0.1, 0.0, -5.0])
async def test_a_turn_that_takes_too_long_expires(remaining: float) -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", for_ever))
    ended = await asyncio.wait_for(run(services, remaining_seconds=remaining), A_WHILE)
    assert ended is not None
    assert ended.status is TurnStatus.EXPIRED
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("expired", "deadline")
    assert model.open == 0
    await log(ada)


async def test_a_tool_that_takes_too_long_ends_with_its_turn() -> None:
    ada = await begin()
    services, *_ = scripted(calls(("c1", "clock", "{}")), tools={"clock": lambda _: for_ever()})
    await asyncio.wait_for(run(services, remaining_seconds=0.3), A_WHILE)
    assert (await turn_of(ada)).status == "expired"
    assert (await steps())[-1][2] == "unknown"


# --- stops ---


class Running:
    """A run in a task of its own, which the test can wait for and stop."""

    def __init__(self, run: TurnRun) -> None:
        self.run = run
        self.task = asyncio.ensure_future(run.run())

    async def ended(self) -> Ended | None:
        return await asyncio.wait_for(self.task, A_WHILE)


async def start(services: Services) -> Running:
    return Running(await claim_run(services))


async def stop(ada: Conversation, running: Running) -> None:
    """As a person's stop reaches the runner."""
    turn_id = (await turn_of(ada)).pk
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn_id)
    running.run.stop(Stop.ASKED)


def marked(mark: asyncio.Event) -> Callable[[], Awaitable[object]]:
    """An item of a reply: says that it was reached, and waits for ever."""

    async def item() -> None:
        mark.set()
        await for_ever()

    return item


async def test_a_stop_closes_the_stream_and_keeps_the_text_that_was_said() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, model, _ = scripted(says("Let me ", "see", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    ended = await running.ended()
    assert ended is not None
    assert ended.status is TurnStatus.CANCELLED
    assert await answer_of(ada) == ([text_part("Let me see")], True)
    assert (model.open, model.left) == (0, 1)
    assert await steps() == [(1, "model", "failed", "offline:")]
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("cancelled", "")
    assert (await log(ada))[-1] == "turn.cancelled"


async def test_a_stop_among_tools_says_which_outcomes_are_unknown() -> None:
    ada = await begin()
    reached = asyncio.Event()

    async def notes(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, *_ = scripted(
        calls(("c1", "clock", "{}"), ("c2", "notes", "{}"), ("c3", "search", "{}")),
        tools={"clock": works("noon"), "notes": notes, "search": lambda _: for_ever()},
        idempotent=frozenset({"search"}),
    )
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    while ("tool", "done", "c1") not in [step[1:] for step in await steps()]:  # noqa: ASYNC110 - a row is no event
        await asyncio.sleep(0.01)
    await stop(ada, running)
    await running.ended()
    assert [step[1:] for step in await steps()] == [
        ("model", "done", "offline:"), ("tool", "done", "c1"), ("tool", "unknown", "c2"), ("tool", "failed", "c3"),
    ]  # fmt: skip
    assert (await turn_of(ada)).status == "cancelled"
    await log(ada)


async def test_a_drain_ends_nothing_and_writes_nothing_more() -> None:
    ada = await begin()
    reached = asyncio.Event()
    running = await start(scripted(says("Hel", marked(reached)))[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(Stop.DRAIN)
    assert await running.ended() is None
    assert (await turn_of(ada)).status == "running"
    before = await log(ada)
    await asyncio.sleep(0.1)  # longer than the pump's beat
    assert await log(ada) == before


async def test_a_lost_lease_ends_the_work_and_writes_nothing_more() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, model, _ = scripted(says("Hel", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(Stop.LOST)
    with pytest.raises(LostTurn):
        await running.ended()
    before = await log(ada)
    assert before in ([], ["message.delta"])
    assert model.open == 0
    await asyncio.sleep(0.1)
    assert await log(ada) == before


async def test_a_run_that_lost_its_turn_finds_out_at_its_next_write() -> None:
    ada = await begin()
    speaking, taken = asyncio.Event(), asyncio.Event()

    async def speak() -> None:
        while "message.delta" not in await log(ada):
            """The first words hold the session's lock until they are written."""
        speaking.set()
        await taken.wait()

    services, model, _ = scripted(says("Hel", speak, "lo", for_ever))
    running = await start(services)

    def take() -> None:
        lease_is_over(ada.turn().pk)
        assert reap() == 1
        claimed(runner=OTHER_RUNNER)

    await asyncio.wait_for(speaking.wait(), A_WHILE)
    await in_db_thread(take)
    taken.set()
    with pytest.raises(LostTurn):
        await running.ended()
    assert model.open == 0
    assert (await turn_of(ada)).status == "running"
    texts = [event.data["text"] for event in await in_db_thread(ada.events) if event.type == "message.delta"]
    assert "lo" not in "".join(texts)


async def test_a_lost_database_is_told_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await begin()

    def down(*_: Any, **__: Any) -> int:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(deltas, "append", down)
    services, model, _ = scripted(says("Hel", for_ever))
    with pytest.raises(OperationalError):
        await asyncio.wait_for(run(services), A_WHILE)
    assert model.open == 0
    assert (await turn_of(ada)).status == "running"


class Held:
    """Somebody who holds the session's lock, so that a write under way stays under way."""

    def __init__(self, ada: Conversation) -> None:
        self._ada = ada
        self._locked, self._release = asyncio.Event(), threading.Event()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Held:
        self._task = asyncio.ensure_future(in_db_thread(self._hold))
        await asyncio.wait_for(self._locked.wait(), A_WHILE)
        return self

    def _hold(self) -> None:
        with transaction.atomic():
            lock_session(self._ada.session_id)
            self._loop.call_soon_threadsafe(self._locked.set)
            self._release.wait(1.5)  # less than the lock timeout of the others

    async def __aexit__(self, *_: object) -> None:
        self._release.set()
        await self._task


@pytest.mark.parametrize("why", [Stop.ASKED, Stop.DRAIN])
async def test_a_stop_while_a_failure_waits_for_its_last_flush_does_not_leave_the_turn_without_an_owner(
    why: Stop,
) -> None:
    ada = await begin()
    failing = asyncio.Event()

    async def fail() -> None:
        failing.set()
        raise TransientModelError

    services, *_ = scripted(says("Hel", pause(0), pause(0), pause(0.01), fail))
    context = await in_db_thread(lambda: load_context(claimed()))
    async with Held(ada):
        running = Running(TurnRun(context, services))
        await asyncio.wait_for(failing.wait(), A_WHILE)
        for _ in range(10):
            await asyncio.sleep(0)
        running.run.stop(why)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.task.done(), "it waits for the flush"
    ended = await running.ended()
    assert ended is not None
    assert ended.status is TurnStatus.FAILED
    assert await answer_of(ada) == ([text_part("Hel")], True)
    await log(ada)


@pytest.mark.parametrize("ticks", range(0, 40, 4))
async def test_a_stop_at_any_moment_has_one_end(ticks: int) -> None:
    ada = await begin()
    services, model, _ = scripted(
        calls(("c1", "clock", "{}"), ("c2", "notes", "{}"), text="Wait."),
        says("So it", pause(0.001), " is noon."),
        tools={"clock": works("noon"), "notes": breaks("full")},
    )
    turn_id = (await turn_of(ada)).pk
    running = await start(services)
    for _ in range(ticks):
        await asyncio.sleep(0.001)
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn_id)
    running.run.stop(Stop.ASKED)
    ended = await running.ended()
    assert ended is not None
    assert ended.status in (TurnStatus.CANCELLED, TurnStatus.COMPLETED)
    assert (await turn_of(ada)).status == ended.status
    assert model.open == 0
    assert not [step for step in await steps() if step[2] == "intent"]
    await log(ada)


async def test_a_stop_while_tool_calls_are_committed_keeps_the_text_once_and_leaves_no_open_step() -> None:
    ada = await begin()
    services, _, tools = scripted(calls(("c1", "clock", "{}"), text="Wait."), tools={"clock": works("noon")})
    context = await in_db_thread(lambda: load_context(claimed()))
    await in_db_thread(cancel_turn, ada.actor, turn_id=context.claim.turn_id)
    async with Held(ada):
        running = Running(TurnRun(context, services))
        for _ in range(50):
            await asyncio.sleep(0.001)
        running.run.stop(Stop.ASKED)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.task.done(), "it waits for the commit"
    ended = await running.ended()
    assert ended is not None
    assert ended.status is TurnStatus.CANCELLED
    parts = [text_part("Wait."), tool_call_part(call_id="c1", name="clock", arguments="{}")]
    assert await answer_of(ada) == (parts, True)
    assert tools.called == []
    assert not [step for step in await steps() if step[2] == "intent"]
    await log(ada)


async def test_a_stop_that_comes_before_the_work_begins_is_not_forgotten() -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", for_ever))
    run = await claim_run(services)
    run.stop(Stop.DRAIN)
    assert await asyncio.wait_for(run.run(), A_WHILE) is None
    assert model.requests == []
    assert (await turn_of(ada)).status == "running"


async def test_a_stop_after_the_end_leaves_the_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    await begin()

    def down(*_: Any, **__: Any) -> int:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(engine, "finish", down)
    run = await claim_run(scripted(says("Hello"))[0])

    async def caller() -> str:
        with pytest.raises(OperationalError):
            await run.run()
        run.stop(Stop.ASKED)
        await asyncio.sleep(0)  # as giving back waits for the database
        return "given back"

    assert await asyncio.create_task(caller()) == "given back"


@pytest.mark.parametrize("ticks", range(0, 40, 4))
async def test_a_turn_given_back_at_any_moment_is_finished_by_the_next_runner(ticks: int) -> None:
    ada = await begin()
    script = [
        calls(("c1", "clock", "{}"), ("c2", "notes", "{}"), text="Wait."),
        says("So it", pause(0.001), " is noon."),
    ]
    tools = {"clock": works("noon"), "notes": works("noted")}
    services, _, first = scripted(*script, tools=tools, idempotent=frozenset({"clock"}))
    running = await start(services)
    for _ in range(ticks):
        await asyncio.sleep(0.001)
    running.run.stop(Stop.DRAIN)
    if await running.ended() is not None:
        assert (await turn_of(ada)).status == "completed"
        return
    claim = running.run.claim
    await in_db_thread(
        give_back, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, fruitless=False
    )
    assert (await turn_of(ada)).status == "queued"
    settled = len([step for step in await steps() if step[1:3] == ("model", "done")])
    services, _, second = scripted(*script[settled:], tools=tools, idempotent=frozenset({"clock"}))
    ended = await run(services)
    assert ended is not None
    assert ended.status is TurnStatus.COMPLETED
    notes = [one.key for one in [*first.called, *second.called] if one.name == "notes"]
    assert len(notes) <= 1, "a tool is never silently run twice"
    clocks = {one.key for one in [*first.called, *second.called] if one.name == "clock"}
    assert len(clocks) == 1, "an idempotent one keeps its key"
    parts, partial = await answer_of(ada)
    assert parts[-1] == text_part("So it is noon.")
    assert [part["type"] for part in parts] == ["text", "tool_call", "tool_call", "tool_result", "tool_result", "text"]
    assert not partial
    assert not [step for step in await steps() if step[2] == "intent"]
    await log(ada)


# --- recovery ---


async def crash_among_tools(**options: Any) -> tuple[Conversation, list[str]]:
    """A turn whose runner died while both tools ran; the names that had been called."""
    ada = await begin()
    both = asyncio.Event()
    begun: list[str] = []

    def hangs(name: str) -> Callable[[str], Awaitable[Outcome]]:
        async def tool(_: str) -> Outcome:
            begun.append(name)
            if len(begun) == 2:
                both.set()
            await for_ever()
            return Outcome("never")

        return tool

    services, *_ = scripted(TWO_CALLS, tools={"clock": hangs("clock"), "notes": hangs("notes")}, **options)
    running = await start(services)
    await asyncio.wait_for(both.wait(), A_WHILE)
    running.task.cancel()
    with suppress(asyncio.CancelledError):
        await running.task

    def lose() -> None:
        lease_is_over(ada.turn().pk)
        assert reap() == 1

    await in_db_thread(lose)
    return ada, begun


async def test_after_a_crash_an_idempotent_tool_runs_again_and_another_s_outcome_is_unknown() -> None:
    idempotent = frozenset({"clock"})
    ada, _ = await crash_among_tools(idempotent=idempotent)
    services, model, tools = scripted(says("Noon."), tools={"clock": works("noon")}, idempotent=idempotent)
    await run(services)
    turn = await turn_of(ada)
    assert [(one.name, one.key) for one in tools.called] == [("clock", f"{turn.pk}:2")]
    assert model.requests[0].messages[1:] == (
        ChatMessage("assistant", "Wait.", tuple(TWO_CALLS.calls)),
        ChatMessage("tool", "noon", tool_call_id="c1"),
        ChatMessage("tool", UNKNOWN_OUTCOME, tool_call_id="c2"),
    )
    assert [step[1:3] for step in await steps()] == [
        ("model", "done"), ("tool", "done"), ("tool", "unknown"), ("model", "done"),
    ]  # fmt: skip
    failed = [event.data for event in await in_db_thread(ada.events) if event.type == "tool.failed"]
    assert [(one["call_id"], one["outcome"], one["content"]) for one in failed] == [("c2", "unknown", UNKNOWN_OUTCOME)]
    assert (turn.status, turn.attempts_without_progress) == ("completed", 0)
    await log(ada)


async def test_after_a_crash_in_a_model_call_the_model_is_asked_again() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, first, _ = scripted(says("Half an an", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.task.cancel()
    with suppress(asyncio.CancelledError):
        await running.task

    def lose() -> None:
        lease_is_over(ada.turn().pk)
        reap()

    await in_db_thread(lose)
    services, second, _ = scripted(says("A whole answer."))
    await run(services)
    assert second.requests == first.requests
    assert await answer_of(ada) == ([text_part("A whole answer.")], False)
    assert await steps() == [(1, "model", "done", "offline:")]
    types = await log(ada)
    assert types[types.index("turn.queued") + 1] == "turn.restarted"


async def test_a_crash_after_the_last_tool_goes_on_with_the_model() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, *_ = scripted(calls(("c1", "clock", "{}")), says(marked(reached)), tools={"clock": works("noon")})
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.task.cancel()
    with suppress(asyncio.CancelledError):
        await running.task

    def lose() -> None:
        lease_is_over(ada.turn().pk)
        reap()

    await in_db_thread(lose)
    services, model, tools = scripted(says("Noon."), tools={})
    await run(services)
    assert tools.called == []
    assert model.requests[0].messages[-1] == ChatMessage("tool", "noon", tool_call_id="c1")
    turn = await turn_of(ada)
    assert (turn.input_tokens, turn.output_tokens) == (6, 10), "the first runner's call is paid for too"
    assert INTERRUPTED not in str(model.requests)


async def test_what_earlier_runners_used_counts_against_the_limits() -> None:
    ada = await begin(limits={"output_tokens": 5}, tools=["clock"])
    reached = asyncio.Event()

    async def clock(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, *_ = scripted(calls(("c1", "clock", "{}")), tools={"clock": clock}, idempotent=frozenset({"clock"}))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(Stop.DRAIN)
    await running.ended()
    claim = running.run.claim
    await in_db_thread(
        give_back, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch, fruitless=False
    )
    services, model, _ = scripted(says("More"), tools={"clock": works("noon")}, idempotent=frozenset({"clock"}))
    await run(services)
    assert model.requests == []
    turn = await turn_of(ada)
    assert (turn.error_class, turn.output_tokens) == ("limit_reached", 5)


async def test_a_turn_that_cannot_end_any_more_is_lost() -> None:
    ada = await begin()
    services, *_ = scripted(says("Hello"))
    one = await claim_run(services)

    def end() -> None:
        lease_is_over(ada.turn().pk)
        reap()
        cancel_turn(ada.actor, turn_id=ada.turn().pk)

    await in_db_thread(end)
    with pytest.raises(LostTurn):
        await one.run()
    assert (await turn_of(ada)).status in TERMINAL
    assert await log(ada) == ["turn.queued", "turn.cancelled"]
