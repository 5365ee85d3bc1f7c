"""A model that fails is asked again, or the next one is: each attempt is a step, and its words are never mixed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from django.db import connection

from agents.domain.backoff import Backoff
from agents.domain.fallback import ONE_ATTEMPT, Policy
from agents.domain.message_parts import reasoning_part, text_part, tool_call_part, tool_result_part
from agents.domain.states import TurnStatus
from agents.engine.model_call import MAX_NOTES_BYTES
from agents.engine.ports import Services
from agents.engine.turn import StopReason, UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn
from agents.llm.dialect_settings import read_dialects
from agents.llm.errors import BadModelRequest, ModelAuthFailed, TransientModelError
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.interface import LLM, Usage
from agents.llm.model_catalog import Rates
from agents.models import Step
from agents.runner.reaper import reap
from agents.sessions import read_completion_result
from foundation.db_threads import in_db_thread
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.completions import LIGHT, client, complete, talk
from tests.support.conversations import Conversation, lease_is_over
from tests.support.scripted import Models, ScriptedModel, calls, says, scripted
from tests.support.turns import (
    A_WHILE,
    answer_of,
    begin,
    costs,
    end_of,
    log,
    marked,
    run,
    start,
    steps,
    stop,
    turn_of,
    works,
)

pytestmark = pytest.mark.usefixtures("transactional_db")

FIRST, SECOND = "openai:first", "openai:second"
CHAIN = [FIRST, SECOND]
# The policy of runners, without its pauses.
POLICY = Policy(backoff=Backoff(base_seconds=0))
# A dollar for a token that goes in, two for one that comes out.
MILLION = Decimal(1_000_000)
PRICE = Rates(input=MILLION, cached=MILLION, cache_write=MILLION, output=2 * MILLION)


@pytest_asyncio.fixture
async def services(provider: Provider) -> AsyncIterator[Services]:  # noqa: F811
    gateway = Gateway(
        GatewayConfig(
            openai_api_key="sk-test", openai_base_url=provider.base_url, prices={FIRST: PRICE, "openai:*": PRICE}
        )
    )
    yield replace(scripted(tools={"clock": works("noon")})[0], models=gateway, policy=POLICY)
    await gateway.aclose()


async def details() -> list[dict[str, Any]]:
    """Of every step; how long the first word took, and what was sent, is looked at and left out."""

    def read() -> list[dict[str, Any]]:
        return list(Step.objects.order_by("number").values_list("details", flat=True))

    found = await in_db_thread(read)
    for one in found:
        if (sent := one.pop("context", None)) is not None:
            assert 0 < sum(sent["tokens"].values()) <= sent["window"]
        assert 0 <= one.pop("first_token_seconds", 0) <= one.pop("seconds", 0) < A_WHILE
        # Every request is proved by a fixture.
        assert ("hash" in one.pop("request", {})) is (sent is not None)
    return found


async def errors() -> list[str]:
    return await in_db_thread(lambda: list(Step.objects.order_by("number").values_list("error_class", flat=True)))


async def retried(ada: Conversation) -> list[dict[str, Any]]:
    return [event.data for event in await in_db_thread(ada.events) if event.type == "model.retrying"]


# --- against a server ---


async def test_before_the_first_word_the_next_attempt_follows_in_silence(
    provider: Provider,  # noqa: F811
    services: Services,
) -> None:
    ada = await begin(model_chain=CHAIN)
    provider.queue.extend([{"fault": "503"}, {"fault": "401"}, {"text": "Hello."}])
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert await answer_of(ada) == ([text_part("Hello.")], False)
    assert await steps() == [
        (1, "model", "failed", FIRST), (2, "model", "failed", FIRST), (3, "model", "done", SECOND),
    ]  # fmt: skip
    assert await errors() == ["transient", "auth", ""]
    assert await details() == [
        {
            "attempt": 1,
            "request_id": "req-1",
            "error": {"status": 503, "code": "server_error", "message": "Overloaded.", "request_id": "req-1"},
        },
        {
            "attempt": 2,
            "request_id": "req-2",
            "error": {
                "status": 401,
                "code": "invalid_api_key/invalid_request_error",
                "message": "Incorrect API key provided: [removed]",
                "request_id": "req-2",
            },
        },
        {"attempt": 3, "request_id": "req-3", "fallback": True},
    ]
    assert [request.body["model"] for request in provider.requests] == ["first", "first", "second"]
    assert await costs() == [0, 0, 11 + 2]
    assert await log(ada) == ["message.delta", "message.completed", "turn.completed"]
    step = await in_db_thread(lambda: Step.objects.get(number=3))
    assert step.details["first_token_seconds"] < A_WHILE


async def test_reasoning_beside_a_call_goes_back_in_this_turn_and_the_next_but_to_no_other_route(
    provider: Provider,  # noqa: F811
    services: Services,
) -> None:
    dialects = read_dialects("deepseek")
    gateway = Gateway(GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url, dialects=dialects))
    services = replace(services, models=gateway)
    ada = await begin(model_chain=CHAIN, tools=["clock"])
    provider.queue.extend([{"reasoning": "Hm.", "calls": [["clock", {}]]}, {"text": "Noon."}])
    await run(services)
    assert await answer_of(ada) == (
        [
            reasoning_part("Hm."),
            tool_call_part(call_id="call_0", name="clock", arguments="{}"),
            tool_result_part(call_id="call_0", content="noon", is_error=False),
            text_part("Noon."),
        ],
        False,
    )
    await in_db_thread(ada.ask, "And now?")
    provider.queue.extend([{"fault": "401"}, {"text": "Still."}])
    await run(services)
    await gateway.aclose()

    returned = [
        (
            request.body["model"],
            [message.get("reasoning_content") for message in request.body["messages"] if "tool_calls" in message],
        )
        for request in provider.requests
    ]
    # The server wants some reasoning with each call: of another model there is none.
    assert returned == [("first", []), ("first", ["Hm."]), ("first", ["Hm."]), ("second", [" "])]


async def test_words_of_an_attempt_that_breaks_off_are_taken_back(
    provider: Provider,  # noqa: F811
    services: Services,
) -> None:
    ada = await begin(model_chain=CHAIN)
    provider.queue.extend(
        [{"text": "One two three four", "tps": 50, "fault": "cut", "after": 3}, {"text": "Anew.", "tps": 50}]
    )
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert await answer_of(ada) == ([text_part("Anew.")], False)
    assert await retried(ada) == [{"step": 1, "route": FIRST, "reason": "transient"}]
    types = [one for one, before in pairs(await log(ada)) if one != before]
    assert types == ["message.delta", "model.retrying", "message.delta", "message.completed", "turn.completed"]
    # What the first has cost its provider did not say before it went away.
    assert await costs() == [None, 11 + 2]
    assert (await turn_of(ada)).cost_usd is None
    assert [one["request_id"] for one in await details()] == ["req-1", "req-2"]


def pairs(types: list[str]) -> list[tuple[str, str]]:
    return list(zip(types, ["", *types[:-1]], strict=True))


async def test_between_tools_it_is_the_words_since_their_results_that_go(
    provider: Provider,  # noqa: F811
    services: Services,
) -> None:
    ada = await begin(model_chain=CHAIN, tools=["clock"])
    provider.queue.extend(
        [
            {"fault": "401"},
            {"text": "Wait.", "tool": "clock", "tps": 50},
            {"text": "One two three four", "tps": 50, "fault": "cut", "after": 3},
            {"text": "Noon.", "tps": 50},
        ]
    )
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    parts, partial = await answer_of(ada)
    assert [part["type"] for part in parts] == ["tool_call", "tool_result", "text"]
    assert (parts[-1], partial) == (text_part("Noon."), False)
    assert await steps() == [
        (1, "model", "failed", FIRST), (2, "model", "done", SECOND), (3, "tool", "done", "call_0"),
        (4, "model", "failed", FIRST), (5, "model", "done", FIRST),
    ]  # fmt: skip
    assert [one.get("attempt") for one in await details()] == [1, 2, None, 1, 2], "each answer has attempts of its own"
    assert await retried(ada) == [{"step": 4, "route": FIRST, "reason": "transient"}]


async def test_the_log_has_what_the_provider_said_once_for_each_attempt(
    provider: Provider,  # noqa: F811
    services: Services,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await begin(model_chain=[FIRST])
    provider.queue.extend([{"fault": "503"}, {"fault": "429", "retry_after": 7_000}])
    await run(services)
    lines: list[Any] = [record.msg for record in caplog.records if "provider_message" in record.msg]
    assert [
        (line["event"], line["status"], line["provider_message"], line["provider_request_id"]) for line in lines
    ] == [
        ("model.retried", 503, "Overloaded.", "req-1"),
        ("turn.not_completed", 429, "Rate limit reached for requests.", "req-2"),
    ]
    assert (await details())[-1]["error"]["retry_after_seconds"] == 7_000


async def test_what_was_odd_about_an_answer_stands_in_its_details() -> None:
    await begin()
    notes = {"unconfirmed_end": True, "finish_reason": "xyz"}
    await run(scripted(replace(says("Hello"), notes=notes))[0])
    assert await details() == [{"attempt": 1, "request_id": "req-1", **notes}]


@pytest.mark.parametrize("notes", [{"finish_reason": "\x00"}, {"learned": "x" * MAX_NOTES_BYTES}, {"end": "\ud800"}])
async def test_notes_that_no_row_can_hold_do_not_cost_the_answer(notes: dict[str, Any]) -> None:
    ada = await begin()
    await run(scripted(replace(says("Hello"), notes=notes))[0])
    assert (await turn_of(ada)).status == "completed"
    assert await details() == [{"attempt": 1, "request_id": "req-1", "notes_dropped": True}]


async def test_when_no_attempt_is_left_the_turn_fails_with_the_last_error(
    provider: Provider,  # noqa: F811
    services: Services,
) -> None:
    ada = await begin(model_chain=CHAIN)
    provider.queue.extend(
        [{"fault": "503"}, {"fault": "503"}, {"text": "One two", "tps": 50, "fault": "cut", "after": 1}]
    )
    ended = await run(replace(services, policy=Policy(attempts=3, backoff=POLICY.backoff)))
    assert isinstance(ended, FinishedTurn)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("failed", "transient")
    assert await answer_of(ada) == ([text_part("One ")], True)
    assert await steps() == [
        (1, "model", "failed", FIRST), (2, "model", "failed", FIRST), (3, "model", "failed", SECOND),
    ]  # fmt: skip
    last = (await details())[-1]
    assert last.pop("error")["message"].startswith("ClientPayloadError")
    assert last == {
        "attempt": 3, "request_id": "req-3", "fallback": True, "gave_up": "attempts", "estimated_output_tokens": 2,
    }  # fmt: skip
    assert await retried(ada) == []
    await log(ada)


@pytest.mark.parametrize(
    ("fault", "chain", "gave_up"),
    [("401", [FIRST], "routes"), ("filter_http", CHAIN, "error_class")],
)
async def test_what_would_not_help_is_not_tried(
    provider: Provider,  # noqa: F811
    services: Services,
    fault: str,
    chain: list[str],
    gave_up: str,
) -> None:
    await begin(model_chain=chain)
    provider.queue.append({"fault": fault})
    await run(services)
    assert provider.count == 1
    assert [one["gave_up"] for one in await details()] == [gave_up]


async def test_with_one_attempt_a_failure_is_the_end(
    provider: Provider,  # noqa: F811
    services: Services,
) -> None:
    ada = await begin(model_chain=CHAIN)
    provider.queue.append({"fault": "503"})
    await run(replace(services, policy=ONE_ATTEMPT))
    assert provider.count == 1
    assert (await turn_of(ada)).status == "failed"
    [only] = await details()
    assert only.pop("error")["status"] == 503
    assert only == {"attempt": 1, "request_id": "req-1", "gave_up": "attempts"}


# --- what it costs, and what it counts for ---


def several(*replies: Any, policy: Policy = POLICY, **tools: Any) -> tuple[Services, ScriptedModel]:
    services, model, _ = scripted(*replies, **tools)
    return replace(services, policy=policy), model


async def test_what_each_attempt_has_used_is_billed_once() -> None:
    ada = await begin(model_chain=CHAIN)
    services, _ = several(
        says("Hel", Usage(3, 1), TransientModelError()),
        says(Usage(3, 2, cached_tokens=1), ModelAuthFailed()),
        says("Hello", usage=Usage(3, 5, cached_tokens=2, reasoning_tokens=4)),
    )
    await run(services)
    assert await costs() == [Decimal("0.04"), Decimal("0.05"), Decimal("0.08")]
    turn = await turn_of(ada)
    assert (turn.input_tokens, turn.output_tokens, turn.cost_usd) == (9, 8, Decimal("0.17"))
    assert (await end_of(ada))["usage"] == {"input_tokens": 9, "output_tokens": 8, "cost_usd": "0.17000000"}
    assert (await details())[-1] == {
        "attempt": 3, "request_id": "req-3", "cached_tokens": 2, "reasoning_tokens": 4, "fallback": True,
    }  # fmt: skip
    result = await in_db_thread(read_completion_result, ada.actor, turn_id=turn.pk)
    assert (result.input_tokens, result.output_tokens, result.cached_tokens, result.reasoning_tokens) == (9, 8, 3, 4)


async def test_attempts_that_failed_do_not_use_up_the_calls_of_a_turn() -> None:
    ada = await begin(model_chain=CHAIN, limits={"steps": 2}, tools=["clock"])
    fails = says(TransientModelError())
    services, model = several(
        fails, calls(("c1", "clock", "{}")), fails, fails, says("Noon."), tools={"clock": works("noon")}
    )
    await run(services)
    assert (await turn_of(ada)).status == "completed"
    assert len(model.requests) == 5


async def test_output_of_attempts_that_failed_counts_and_ends_them() -> None:
    ada = await begin(model_chain=CHAIN, limits={"output_tokens": 6})
    fails = says("Hel", Usage(1, 3), TransientModelError())
    services, model = several(fails, fails, says("Never"))
    await run(services)
    assert len(model.requests) == 2
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, turn.output_tokens) == ("failed", "transient", 6)
    assert (await details())[-1]["gave_up"] == "limits"
    await log(ada)


async def test_words_that_nobody_has_seen_are_dropped_in_silence() -> None:
    ada = await begin(model_chain=CHAIN)
    services, _ = several(says("Hel", TransientModelError()), says("Hello"))
    await run(services)
    assert await answer_of(ada) == ([text_part("Hello")], False)
    assert await log(ada) == ["message.delta", "message.completed", "turn.completed"]


async def test_each_attempt_is_sent_what_fits_its_route() -> None:
    ada = await begin("x" * 3000, model_chain=CHAIN)
    await run(scripted(says("y" * 3000))[0])
    await in_db_thread(ada.ask, "And now?")
    services, model = several(says(ModelAuthFailed()), says("Hello"))
    await run(replace(services, models=Models(model, windows={SECOND: 4000})))
    first, second = (sum(len(message.text) for message in request.messages) for request in model.requests)
    assert first == 6_008
    assert second < first


async def test_a_call_that_is_forced_is_forced_at_each_attempt() -> None:
    def ask() -> Conversation:
        ada = client()
        return talk(ada, complete(ada, "Light, please.", tools=(LIGHT,), must_call=("light",)).session_id)

    await in_db_thread(ask)
    services, model = several(says(TransientModelError()), calls(("c1", "light", "{}")))
    await run(services)
    assert [request.must_call for request in model.requests] == [True, True]


async def test_one_commit_settles_an_attempt_and_begins_the_next() -> None:
    ada = await begin(model_chain=CHAIN)
    written: list[set[int]] = []

    async def until_they_are_shown() -> None:
        while "message.delta" not in [event.type for event in await in_db_thread(ada.events)]:
            """The first words go out at once."""

    def transactions() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT xmin::text::bigint FROM agents_step UNION "
                "SELECT xmin::text::bigint FROM agents_event WHERE type = 'model.retrying'"
            )
            written.append({row[0] for row in cursor.fetchall()})
        assert [(step.status, step.name) for step in Step.objects.order_by("number")] == [
            ("failed", FIRST), ("intent", SECOND),
        ]  # fmt: skip

    async def look() -> None:
        await in_db_thread(transactions)

    services, _ = several(says("Hel", until_they_are_shown, ModelAuthFailed()), says(look, "Hello"))
    await run(services)
    [transaction] = written
    assert len(transaction) == 1
    assert await retried(ada) == [{"step": 1, "route": SECOND, "reason": "auth"}]


# --- stops and crashes ---


async def test_a_stop_during_a_second_attempt_keeps_its_words_alone() -> None:
    ada = await begin(model_chain=CHAIN)
    reached = asyncio.Event()
    services, _ = several(
        says("First", Usage(3, 1), TransientModelError()), says("Second", Usage(3, 2), marked(reached))
    )
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    assert isinstance(await running.ended(), FinishedTurn)
    assert await answer_of(ada) == ([text_part("Second")], True)
    assert await costs() == [Decimal("0.04"), Decimal("0.05")]
    assert await errors() == ["transient", "cancelled"]
    await log(ada)


@pytest.mark.parametrize("ticks", range(0, 24, 3))
async def test_a_stop_at_any_moment_between_two_attempts_leaves_a_whole_journal(ticks: int) -> None:
    ada = await begin(model_chain=CHAIN)
    services, _ = several(says("First", Usage(3, 1), TransientModelError()), says("Second"))
    running = await start(services)
    for _ in range(ticks):
        await asyncio.sleep(0.0005)
    await stop(ada, running)
    ended = await running.ended()
    assert isinstance(ended, FinishedTurn)
    assert not [step for step in await steps() if step[2] == "intent"]
    turn = await turn_of(ada)
    assert turn.status == ended.status
    used = [cost for cost in await costs() if cost is not None]
    assert turn.cost_usd is None or turn.cost_usd == sum(used)
    await log(ada)


async def test_an_attempt_that_a_crash_left_open_is_planned_anew() -> None:
    ada = await begin(model_chain=CHAIN)
    reached = asyncio.Event()
    services, _ = several(says(ModelAuthFailed()), says("Half an an", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "intent", SECOND)]
    running.task.cancel()
    await asyncio.wait([running.task])

    def lose() -> None:
        lease_is_over(ada.turn().pk)
        assert reap() == 1

    await in_db_thread(lose)
    services, model = several(says("Hello"))
    await run(services)
    assert await answer_of(ada) == ([text_part("Hello")], False)
    # By the state of the routes as it is now, so that the intent's route counts no more.
    assert [request.model for request in model.requests] == ["first"]
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "done", FIRST)]
    await log(ada)


async def test_a_drain_during_a_second_attempt_is_finished_by_the_next_runner() -> None:
    await begin(model_chain=CHAIN)
    reached = asyncio.Event()
    services, _ = several(says(TransientModelError()), says("Half", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(StopReason.DRAIN)
    assert await running.ended() is UnfinishedTurn.DRAINED
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "intent", FIRST)]


async def test_a_route_that_leads_nowhere_is_passed_by() -> None:
    ada = await begin(model_chain=CHAIN)
    services, model = several(says("Hello"))

    class Half(Models):
        def resolve(self, route: str) -> tuple[LLM, str]:
            if route == FIRST:
                raise BadModelRequest("The agent's model is not available here.")
            return super().resolve(route)

    await run(replace(services, models=Half(model)))
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "done", SECOND)]
    assert await costs() == [0, Decimal("0.08")]
    assert await answer_of(ada) == ([text_part("Hello")], False)
