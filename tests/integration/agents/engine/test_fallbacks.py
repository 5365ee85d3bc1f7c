"""What people get when no model of the chain answers: an earlier answer, that of a simpler model, a person, or the
error. The provider is a real server; a route's name says how it behaves (see `tests.provider.script`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from accounts.actor import Actor
from agents.domain.backoff import Backoff
from agents.domain.fallback import Policy
from agents.domain.response_fallbacks import HANDOFF_TEXT
from agents.domain.serialization import moment, turn_shape
from agents.domain.states import StepKind, StepStatus, TurnStatus
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.fallbacks import RESERVED_SECONDS
from agents.engine.ports import Services, UnguardedRoutes
from agents.engine.turn import UnfinishedTurn
from agents.journal import sql
from agents.journal.fenced_writes import FinishedTurn, Intent, NewEvent, StepOutcome, advance
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.model_catalog import Rates
from agents.models import Agent, Handoff, RouteHealth, Step
from agents.releases import publish
from agents.runner.reaper import reap
from agents.sessions import access_turn, cancel_turn, delete_session, give_feedback, read_completion_result
from foundation.db_threads import in_db_thread
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.conversations import Conversation, claimed, conversation, lease_is_over, wake
from tests.support.guarded import LATER, processes
from tests.support.people import agent, write_draft
from tests.support.scripted import ScriptedTools
from tests.support.turns import A_WHILE, Running, answer_of, claim_run, end_of, log, stop, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")

# The chain of the tests, and what is behind it while a test lets it fail.
MAIN, SMALL = "openai:main", "openai:small.text-in short"
QUESTION = "How far is the moon?"
CACHED, SIMPLER, PERSON = "cached_response", "simplified_response", "human_handoff"
ALL = [CACHED, SIMPLER, PERSON]
DOLLAR = Rates(input=Decimal(1), cached=Decimal(1), cache_write=Decimal(1), output=Decimal(1))
NOTHING = {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0.00000000"}
DONE = FinishedTurn(TurnStatus.COMPLETED, 0)


@dataclass
class World:
    """An agent with fallbacks, and its provider."""

    provider: Provider
    services: Services
    tools: ScriptedTools

    def ask(self, text: str = QUESTION, *, name: str = "ada") -> Conversation:
        ada = conversation(name, slug="special")
        ada.ask(text)
        return ada

    async def run(self, text: str = QUESTION, *, name: str = "ada") -> Conversation:
        """A new conversation of one turn, which has ended."""
        ada = await in_db_thread(self.ask, text, name=name)
        await self.go()
        return ada

    async def go(self, **changes: Any) -> FinishedTurn | UnfinishedTurn:
        run = await claim_run(self.services, **changes)
        return await asyncio.wait_for(run.run(), A_WHILE)

    async def start(self) -> Running:
        return Running(await claim_run(self.services))

    def breaks(self, fault: str = "503", *, times: int = 3, **more: Any) -> None:
        """The next answers of the provider; three is how often the last route of a chain is asked."""
        self.provider.queue.extend({"fault": fault, **more} for _ in range(times))


def publish_with(order: list[str], **draft: Any) -> None:
    made = agent("special")
    fallbacks = {"order": order, "simplified_models": [SMALL]}
    write_draft(made, model_chain=[MAIN], instructions="Be kind.", fallbacks=fallbacks, version=2, **draft)
    publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)


def publish_again() -> None:
    """The same, as another release."""
    made = Agent.objects.get(slug="special")
    write_draft(made, version=3)
    publish(Actor.system("tests"), agent_id=made.pk, expected_version=3)


def age_all_turns() -> None:
    """As time would do it; a finished turn changes in no other way."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE agents_turn DISABLE TRIGGER agents_guard_turn")
        cursor.execute("UPDATE agents_turn SET finished_at = now() - interval '25 hours'")
        cursor.execute("ALTER TABLE agents_turn ENABLE TRIGGER agents_guard_turn")


@asynccontextmanager
async def world(provider: Provider, order: list[str], *, guarded: bool = False, **draft: Any) -> AsyncIterator[World]:  # noqa: F811
    await in_db_thread(publish_with, order, **draft)
    config = GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url, prices={"openai:*": DOLLAR})
    gateway = Gateway(config)
    tools = ScriptedTools({"clock": works("noon")}, frozenset({"clock"}))
    policy = Policy(backoff=Backoff(base_seconds=0))
    services = Services(gateway, tools, BatchingDeltaWriter(), policy=policy)
    try:
        if not guarded:
            yield World(provider, services, tools)
            return
        async with processes(provider, breaker=LATER) as [one]:
            yield World(provider, replace(services, routes=one.guard), tools)
    finally:
        await gateway.aclose()


async def journal(ada: Conversation) -> list[tuple[str, str, str]]:
    """Kind, status, and route or name of each step of the newest turn."""

    def read() -> list[tuple[str, str, str]]:
        return [(s.kind, s.status, s.name) for s in Step.objects.filter(turn=ada.turns()[-1]).order_by("number")]

    return await in_db_thread(read)


async def shape(ada: Conversation) -> dict[str, Any]:
    """The newest turn as REST shows it."""
    return await in_db_thread(
        lambda: turn_shape(access_turn(actor=ada.actor, turn_id=ada.turns()[-1].pk), ada.messages()[-1])
    )


async def expect_end(ada: Conversation, fallback: str | None, **expected: Any) -> None:
    """The row, the event and REST agree on how the turn ended."""
    end, row = await end_of(ada), await shape(ada)
    for data in (end, row):
        assert {name: data[name] for name in ("fallback", *expected)} == {"fallback": fallback, **expected}
    assert (await in_db_thread(ada.turns))[-1].fallback == fallback


THREE_FAILURES = [("model", "failed", MAIN)] * 3


# --- an earlier answer ---


async def test_an_earlier_answer_to_the_same_request_is_shown_and_marked(provider: Provider) -> None:  # noqa: F811
    async with world(provider, ALL) as here:
        provider.defaults["text"] = "384,400 km."
        first = await here.run()
        await expect_end(first, None, answered_by=MAIN, attempts=1)
        here.breaks()
        ada = await here.run()
        asked = provider.count
    answered_at: datetime = (await turn_of(first)).finished_at  # type: ignore[assignment]
    assert await answer_of(ada) == (
        [{"type": "text", "text": "384,400 km.", "fallback": CACHED, "answered_at": moment(answered_at)}], False,
    )  # fmt: skip
    await expect_end(ada, CACHED, answered_by=None, attempts=3, usage=NOTHING)
    assert await journal(ada) == [*THREE_FAILURES, ("fallback", "done", CACHED)]
    assert await log(ada) == ["message.completed", "turn.completed"]
    assert asked == 4
    step = await in_db_thread(lambda: Step.objects.get(kind="fallback"))
    assert (step.request, step.details) == ({"reason": "transient"}, {"from_turn": str((await turn_of(first)).pk)})
    result = await in_db_thread(read_completion_result, ada.actor, turn_id=(await turn_of(ada)).pk)
    assert (result.fallback, result.text) == (CACHED, "384,400 km.")


def nothing(_: Conversation) -> None:
    """The control."""


def deleted(first: Conversation) -> None:
    delete_session(first.actor, session_id=first.session_id, expected_version=None)


def stale(_: Conversation) -> None:
    age_all_turns()


def disliked(first: Conversation) -> None:
    give_feedback(first.actor, message_id=first.messages()[-1].pk, value=-1)


def published_again(_: Conversation) -> None:
    publish_again()


@pytest.mark.parametrize(
    ("change", "name", "question", "is_found"),
    [
        (nothing, "ada", QUESTION, True),
        (nothing, "bob", QUESTION, False),
        (nothing, "ada", "How far is the moon", False),
        (deleted, "ada", QUESTION, False),
        (stale, "ada", QUESTION, False),
        (disliked, "ada", QUESTION, False),
        (published_again, "ada", QUESTION, False),
    ],
)
async def test_only_the_same_persons_fresh_answer_to_exactly_the_same_is_shown(
    provider: Provider,  # noqa: F811
    change: Callable[[Conversation], None],
    name: str,
    question: str,
    is_found: bool,
) -> None:
    async with world(provider, [CACHED]) as here:
        first = await here.run()
        await in_db_thread(change, first)
        here.breaks()
        ada = await here.run(question, name=name)
    if is_found:
        await expect_end(ada, CACHED, attempts=3)
        return
    await expect_end(ada, "error_response", answered_by=None, attempts=3)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, turn.error_id is not None) == ("failed", "transient", True)
    assert (await end_of(ada))["error"]["retry_suggested"] is True
    assert await journal(ada) == [*THREE_FAILURES, ("fallback", "failed", CACHED)]


async def test_an_answer_that_used_a_tool_is_never_shown_again(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [CACHED], tools=["clock"]) as here:
        provider.defaults.update(tool="clock")
        first = await here.run()
        assert [step[0] for step in await journal(first)] == ["model", "tool", "model"]
        assert (await turn_of(first)).prompt_hash is None


def test_the_end_of_other_turns_is_the_statement_that_it_was() -> None:
    assert "fallback" not in sql.FINISH
    assert "prompt_hash" not in sql.FINISH
    assert "handoff" not in sql.FINISH


async def test_an_agent_that_does_not_name_it_writes_no_hash(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [SIMPLER, PERSON]) as here:
        assert (await turn_of(await here.run())).prompt_hash is None


async def test_the_conversation_before_is_a_part_of_what_was_asked(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [CACHED]) as here:
        await here.run()
        other = await here.run("Something else?")
        here.breaks()
        await in_db_thread(other.ask, QUESTION)
        await here.go()
        await expect_end(other, "error_response")


# --- a simpler model ---


async def test_a_simpler_model_reads_the_last_message_only(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [CACHED, SIMPLER], tools=["clock"]) as here:
        ada = await here.run("First?")
        here.breaks()
        await in_db_thread(ada.ask, QUESTION)
        await here.go()
        small = provider.requests[-1].body
    assert await answer_of(ada) == ([{"type": "text", "text": "in short", "fallback": SIMPLER}], False)
    await expect_end(ada, SIMPLER, answered_by=SMALL, attempts=4)
    assert await journal(ada) == [
        *THREE_FAILURES, ("fallback", "failed", CACHED), ("fallback", "done", SIMPLER), ("model", "done", SMALL),
    ]  # fmt: skip
    assert (await log(ada, -3)) == ["message.delta", "message.completed", "turn.completed"]
    assert [message["content"] for message in small["messages"]] == ["Be kind.", QUESTION]
    assert "tools" not in small
    # What the simpler model used is billed to the turn; what was refused costs nothing.
    turn, step = await in_db_thread(lambda: (ada.turns()[-1], Step.objects.get(name=SMALL)))
    assert turn.cost_usd is not None
    assert turn.cost_usd == step.cost_usd
    assert turn.cost_usd > 0


async def test_words_of_the_model_that_failed_are_taken_back_first(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [SIMPLER]) as here:
        here.breaks("cut", after=2, text="bad one two three")
        ada = await here.run()
    assert (await answer_of(ada))[0] == [{"type": "text", "text": "in short", "fallback": SIMPLER}]
    events = await in_db_thread(ada.events)
    dropped = [event.data for event in events if event.type == "model.retrying"]
    assert dropped[-1] == {"step": 3, "route": None, "reason": "transient"}
    await log(ada)  # the replay law
    # A call that broke off may have been worked on: nobody knows what it cost.
    assert (await turn_of(ada)).cost_usd is None


async def test_calls_of_tools_that_nobody_offered_are_dropped(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [SIMPLER, PERSON], tools=["clock"]) as here:
        here.breaks()
        provider.queue.append({"tool": "clock", "text": ""})
        ada = await here.run()
    await expect_end(ada, PERSON, attempts=4)
    assert [part["type"] for part in (await answer_of(ada))[0]] == ["text"]
    assert here.tools.called == []


async def test_results_of_tools_stay_and_the_simpler_model_does_not_read_them(provider: Provider) -> None:  # noqa: F811
    async with world(provider, ALL, tools=["clock"]) as here:
        provider.queue.append({"tool": "clock"})
        here.breaks()
        ada = await here.run()
        small = provider.requests[-1].body
    await expect_end(ada, SIMPLER, answered_by=SMALL, attempts=5)
    assert [part["type"] for part in (await answer_of(ada))[0]] == ["tool_call", "tool_result", "text"]
    assert [message["role"] for message in small["messages"]] == ["system", "user"]


async def test_a_refusal_of_the_content_is_shown_as_it_is(provider: Provider) -> None:  # noqa: F811
    async with world(provider, ALL) as here:
        here.breaks("filter_http", times=1)
        ada = await here.run()
        assert provider.count == 1
    await expect_end(ada, None, answered_by=None)
    assert (await turn_of(ada)).error_class == "content_filter"


async def test_a_stop_ends_a_simpler_answer_too(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [SIMPLER]) as here:
        here.breaks()
        provider.queue.append({"fault": "silence", "after": 1})
        ada = await in_db_thread(here.ask)
        running = await here.start()
        await provider.until(lambda: provider.count == 4)
        await stop(ada, running)
        assert await running.ended() == FinishedTurn(TurnStatus.CANCELLED, 0)
    await expect_end(ada, None, answered_by=None)
    assert {status for _, status, _ in await journal(ada)} == {"failed"}


# --- a person ---


async def test_a_person_is_asked_once_in_a_session_and_people_read_so(provider: Provider) -> None:  # noqa: F811
    async with world(provider, ALL) as here:
        here.breaks(times=4)  # the simpler model, too
        ada = await here.run()
        assert await answer_of(ada) == ([{"type": "text", "text": HANDOFF_TEXT, "fallback": PERSON}], False)
        await expect_end(ada, PERSON, answered_by=None, attempts=4)
        assert await journal(ada) == [
            *THREE_FAILURES, ("fallback", "failed", CACHED), ("fallback", "failed", SIMPLER),
            ("model", "failed", SMALL), ("fallback", "done", PERSON),
        ]  # fmt: skip
        assert await log(ada) == ["handoff.requested", "message.completed", "turn.completed"]
        first = await turn_of(ada)
        here.breaks(times=4)
        await in_db_thread(ada.ask, "Hello?")
        assert await here.go() == DONE
    [handoff] = await in_db_thread(lambda: list(Handoff.objects.all()))
    assert (handoff.turn_id, handoff.state, handoff.requested_by) == (first.pk, "pending", "fallback")
    assert (handoff.agent_session_id, handoff.reason) == (ada.session_id, "transient")
    events = [event for event in await in_db_thread(ada.events) if event.type == "handoff.requested"]
    assert [event.data for event in events] == [{"reason": "transient", "by": "fallback", "on_duty": False}]
    assert handoff.due_at
    assert handoff.reply_due_at
    await in_db_thread(deleted, ada)
    assert not await in_db_thread(Handoff.objects.exists)


# --- routes that must not be asked ---


async def test_nobody_waits_for_a_route_where_something_can_stand_in(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [PERSON], guarded=True) as here:
        here.breaks(times=5)
        await here.run()
        await here.run()
        asked = provider.count
        ada = await here.run()
        assert provider.count == asked == 5
    await expect_end(ada, PERSON, answered_by=None, attempts=0, usage=NOTHING)
    assert await journal(ada) == [("model", "failed", ""), ("fallback", "done", PERSON)]


async def test_what_finds_nothing_to_stand_in_waits_as_before(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [CACHED], guarded=True) as here:
        here.breaks(times=5)
        await here.run("One")
        ada = await here.run("Two")
        assert (await turn_of(ada)).status == "retry_wait"
        tried = await journal(ada)
        before = [("model", "failed", MAIN)] * 2 + [("model", "failed", ""), ("fallback", "failed", CACHED)]
        assert tried == [*before, ("model", "intent", "")]
        waiting = await in_db_thread(Step.objects.filter(turn=await turn_of(ada), status=StepStatus.INTENT).get)
        assert waiting.details["waits_for"] == [MAIN], "or nobody resumes it when the route may be asked"
        # It comes back too early: the same wait, and nothing is tried twice.
        await in_db_thread(wake, await turn_of(ada))
        assert await here.go() is UnfinishedTurn.PARKED
        assert await journal(ada) == tried
        await in_db_thread(RouteHealth.objects.all().delete)
        here.services = replace(here.services, routes=UnguardedRoutes())
        await in_db_thread(wake, await turn_of(ada))
        assert await here.go() == DONE
    await expect_end(ada, None, answered_by=MAIN, attempts=3)


# --- a runner dies ---


def die_after(ada: Conversation, *intents: Intent) -> None:
    """What a runner leaves that was killed after it had committed these."""
    work = claimed()
    failed = StepOutcome(1, StepStatus.FAILED, error_class="transient", name=MAIN)
    advance(work, outcomes=[failed], intents=intents, events=[NewEvent("message.delta", {"text": "Hel"})])
    lease_is_over(ada.turn().pk)
    reap()


def fallback_intent(name: str, number: int = 2) -> Intent:
    return Intent(number, StepKind.FALLBACK, name, request={"reason": "transient"})


@pytest.mark.parametrize("name", [CACHED, SIMPLER, PERSON])
async def test_a_fallback_that_a_killed_runner_left_is_carried_out_once(provider: Provider, name: str) -> None:  # noqa: F811
    async with world(provider, ALL) as here:
        await here.run()
        asked = provider.count
        ada = await in_db_thread(here.ask)
        call = [Intent(3, StepKind.MODEL, request={"fallback": SIMPLER})] if name == SIMPLER else []
        await in_db_thread(die_after, ada, fallback_intent(name), *call)
        assert await here.go() == DONE
        assert provider.count - asked == (1 if name == SIMPLER else 0)
    [part] = (await answer_of(ada))[0]
    assert part["fallback"] == name
    await expect_end(ada, name)
    assert {step[:2] for step in await journal(ada)} <= {("model", "failed"), ("fallback", "done"), ("model", "done")}
    assert await in_db_thread(Handoff.objects.count) == (1 if name == PERSON else 0)
    types = await log(ada, -3)
    assert [types.count(one) for one in ("message.completed", "turn.completed")] == [1, 1]


async def test_a_simpler_model_that_hangs_leaves_time_for_what_follows(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [SIMPLER, PERSON]) as here:
        ada = await in_db_thread(here.ask)
        await in_db_thread(die_after, ada, fallback_intent(SIMPLER))
        provider.queue.append({"fault": "hang"})
        assert await here.go(remaining_seconds=RESERVED_SECONDS + 1) == DONE
    await expect_end(ada, PERSON)
    assert await in_db_thread(Step.objects.filter(kind="model", error_class="deadline").exists)


async def test_if_it_gives_nothing_the_models_are_asked_anew(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [CACHED]) as here:
        ada = await in_db_thread(here.ask)
        await in_db_thread(die_after, ada, fallback_intent(CACHED))
        assert await here.go() == DONE
    await expect_end(ada, None, answered_by=MAIN)
    assert (await journal(ada))[1:] == [("fallback", "failed", CACHED), ("model", "done", MAIN)]


async def test_a_turn_that_ends_without_a_runner_leaves_no_open_fallback(provider: Provider) -> None:  # noqa: F811
    async with world(provider, [PERSON]) as here:
        ada = await in_db_thread(here.ask)
        await in_db_thread(die_after, ada, fallback_intent(PERSON))
        await in_db_thread(cancel_turn, ada.actor, turn_id=(await turn_of(ada)).pk)
    assert (await turn_of(ada)).status == "cancelled"
    assert (await journal(ada))[1:] == [("fallback", "failed", PERSON)]
    assert not await in_db_thread(Handoff.objects.exists)
