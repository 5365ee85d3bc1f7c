"""Pauses between attempts, waits without a runner, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.domain.backoff import Backoff
from agents.domain.failures import ErrorClass
from agents.domain.fallback import Policy
from agents.domain.message_parts import text_part
from agents.domain.retry_adaptation import RetryAdaptation
from agents.domain.retry_budget import RetryBudget
from agents.domain.states import Priority, TurnStatus
from agents.engine.ports import Admission, FreeAdmission, Services
from agents.engine.turn import StopReason, UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn
from agents.llm.errors import (
    ContextTooLong,
    EmptyAnswer,
    ModelAuthFailed,
    ModelError,
    ModelRateLimited,
    TransientModelError,
)
from agents.models import Step
from agents.runner.reaper import reap
from foundation.clock import now
from foundation.db_threads import in_db_thread
from tests.support.candidates import add_release, pin
from tests.support.conversations import Conversation, lease_is_over, wake
from tests.support.scripted import Models, Reply, ScriptedModel, calls, for_ever, says, scripted
from tests.support.turns import (
    A_WHILE,
    Running,
    answer_of,
    begin,
    end_of,
    log,
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
AT_ONCE = Policy(backoff=Backoff(base_seconds=0))
FAILS = says(TransientModelError())


def retrying(*replies: Reply, policy: Policy = AT_ONCE, **more: Any) -> tuple[Services, ScriptedModel]:
    services, model, _ = scripted(*replies, tools={"clock": works("noon")})
    return replace(services, policy=policy, **more), model


def throttled(seconds: float) -> Reply:
    return says(ModelRateLimited(retry_after_seconds=seconds))


async def details(name: str) -> list[Any]:
    def read() -> list[Any]:
        return [step.details.get(name) for step in Step.objects.order_by("number")]

    return await in_db_thread(read)


async def in_pause(services: Services) -> Running:
    """A run that waits between two attempts, long enough for any test; its first outcome is written."""
    long = Policy(backoff=Backoff(base_seconds=20), patience_seconds=60)
    running = await start(replace(services, policy=long, draw=lambda: 1.0))

    async def until_written() -> None:
        while len(await steps()) < 2:
            """The outcome and the next intent are one commit."""

    await asyncio.wait_for(until_written(), A_WHILE)
    return running


async def woken(ada: Conversation) -> None:
    turn = await turn_of(ada)
    assert await in_db_thread(wake, turn)


# --- pauses ---


async def test_each_pause_is_drawn_anew_and_stands_with_its_attempt() -> None:
    ada = await begin(model_chain=[FIRST])
    draws = iter([0.5, 1.0])
    policy, off = Policy(backoff=Backoff(base_seconds=0.01)), RetryAdaptation(is_on=False)
    services, model = retrying(
        FAILS, FAILS, says("Hello"), policy=policy, draw=lambda: next(draws), retry_adaptation=off
    )
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert len(model.requests) == 3
    assert await details("pause_seconds") == [None, 0.005, 0.02]
    assert await details("attempt") == [1, 2, 3]
    end = await end_of(ada)
    assert (end["answered_by"], end["attempts"], end["fallback"]) == (FIRST, 3, None)


async def test_pauses_are_longer_where_retries_were_in_vain() -> None:
    ada = await begin(model_chain=[FIRST])
    services, _ = retrying(FAILS, policy=Policy(backoff=Backoff(base_seconds=0.01)), draw=lambda: 1.0)
    await run(services)
    # The third attempt knows that the second was in vain.
    assert await details("pause_seconds") == [None, 0.01, 0.024]
    assert services.retry_adaptation.factor(FIRST) > 1.3
    assert (await turn_of(ada)).error_class == "transient"


async def test_a_stop_ends_a_pause_at_once() -> None:
    ada = await begin(model_chain=[FIRST])
    services, model = retrying(FAILS)
    running = await in_pause(services)
    await stop(ada, running)
    assert await running.ended() == FinishedTurn(TurnStatus.CANCELLED, 0)
    assert len(model.requests) == 1
    # The second attempt was never made: it has asked nobody and costs nothing.
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "failed", "")]
    assert (await end_of(ada))["attempts"] == 1
    await log(ada)


async def test_a_drain_ends_a_pause_and_leaves_the_next_attempt_open() -> None:
    await begin(model_chain=[FIRST])
    running = await in_pause(retrying(FAILS)[0])
    running.run.stop(StopReason.DRAIN)
    assert await running.ended() is UnfinishedTurn.DRAINED
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "intent", FIRST)]


async def test_a_runner_that_dies_in_a_pause_leaves_a_turn_that_goes_on() -> None:
    ada = await begin(model_chain=[FIRST])
    running = await in_pause(retrying(FAILS)[0])
    running.task.cancel()
    await asyncio.wait([running.task])

    def lose() -> None:
        lease_is_over(ada.turn().pk)
        assert reap() == 1

    await in_db_thread(lose)
    await run(retrying(says("Hello"))[0])
    assert await answer_of(ada) == ([text_part("Hello")], False)
    assert await steps() == [(1, "model", "failed", FIRST), (2, "model", "done", FIRST)]
    await log(ada)


async def test_a_pause_that_does_not_fit_into_the_turn_is_not_made() -> None:
    ada = await begin(model_chain=[FIRST], limits={"turn_seconds": 2})
    services, model = retrying(throttled(3))
    await run(services)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, len(model.requests)) == ("failed", "rate_limit", 1)
    assert await details("gave_up") == ["time"]


@pytest.mark.parametrize(("seconds", "limits"), [(3, {"turn_seconds": 2}), (60, {})])
async def test_where_another_route_can_answer_nobody_waits_long(seconds: float, limits: dict[str, int]) -> None:
    ada = await begin(model_chain=CHAIN, limits=limits)
    services, model = retrying(throttled(seconds), says("Hello"))
    await run(services)
    assert [request.model for request in model.requests] == ["first", "second"]
    end = await end_of(ada)
    assert (end["answered_by"], end["attempts"], end["fallback"]) == (SECOND, 2, None)


async def test_an_empty_answer_is_asked_for_again() -> None:
    ada = await begin(model_chain=[FIRST])
    await run(retrying(says(EmptyAnswer()), says(""), says("Hello"))[0])
    assert await answer_of(ada) == ([text_part("Hello")], False)


# --- waits without a runner ---


async def test_a_long_wait_for_the_last_route_parks_and_counts_its_attempts() -> None:
    ada = await begin(model_chain=[FIRST])
    services, model = retrying(throttled(60), throttled(60), throttled(60))
    for attempt in (1, 2):
        before = now()
        assert await run(services) is UnfinishedTurn.PARKED
        turn = await turn_of(ada)
        assert turn.status == "retry_wait"
        assert turn.available_at is not None
        assert timedelta(seconds=59) < turn.available_at - before < timedelta(seconds=60 + A_WHILE)
        assert len(model.requests) == attempt
        await woken(ada)
    assert await run(services) == FinishedTurn(TurnStatus.FAILED, 0)
    assert len(model.requests) == 3, "the third is the last, whatever lay between them"
    assert await details("attempt") == [1, 2, 3]
    assert (await turn_of(ada)).error_class == "rate_limit"
    await log(ada)


async def test_a_wait_that_the_deadline_does_not_allow_is_an_error() -> None:
    ada = await begin(model_chain=[FIRST])
    services, model = retrying(throttled(60))
    await run(services, remaining_seconds=30.0)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, len(model.requests)) == ("failed", "rate_limit", 1)


async def test_words_that_were_shown_are_dropped_before_a_wait() -> None:
    ada = await begin(model_chain=[FIRST])

    async def until_they_are_shown() -> None:
        while "message.delta" not in [event.type for event in await in_db_thread(ada.events)]:
            """The first words go out at once."""

    broken = says("Hel", until_they_are_shown, ModelRateLimited(retry_after_seconds=60))
    services, _ = retrying(broken, says("Hello"))
    assert await run(services) is UnfinishedTurn.PARKED
    events = await in_db_thread(ada.events)
    assert [event.data for event in events if event.type == "model.retrying"] == [
        {"step": 1, "route": None, "reason": "rate_limit"}
    ]
    await woken(ada)
    assert isinstance(await run(services), FinishedTurn)
    assert await answer_of(ada) == ([text_part("Hello")], False)
    await log(ada)


# --- routes that must not be asked ---


@dataclass
class Noted(FreeAdmission):
    """Notes what is reported to it."""

    reports: list[str]
    first_token_seconds: float | None = None
    wants_tokens = False

    def record_tokens(self, *, estimated: int, reported: int, window: int | None) -> None:
        """Nothing."""

    on_failure: Callable[[], object] = lambda: None

    async def record_first_token(self, seconds: float) -> None:
        assert 0 <= seconds < A_WHILE
        self.reports.append("first_token")

    async def record_success(self, seconds: float | None = None) -> None:
        self.reports.append("success")

    async def record_failure(self, error: ModelError) -> None:
        self.reports.append(error.error_class)
        self.on_failure()

    async def release(self) -> None:
        self.reports.append("released")


@dataclass
class Guard:
    """Refuses the routes in `blocked`, and at their entry those in `probed`, which another process tries."""

    blocked: dict[str, datetime] = field(default_factory=dict)
    probed: set[str] = field(default_factory=set)
    by: ErrorClass | None = None
    probe_seconds: float | None = None
    reports: list[str] = field(default_factory=list)
    entered: list[str] = field(default_factory=list)
    on_enter: Callable[[], object] = lambda: None
    on_failure: Callable[[], object] = lambda: None

    async def enter(self, route: str, priority: int = Priority.INTERACTIVE) -> Admission | None:
        self.on_enter()
        self.entered.append(route)
        if self.blocked_until(route) is not None or route in self.probed:
            return None
        return Noted(self.reports, self.probe_seconds, self.on_failure)

    def token_factor(self, route: str) -> float:
        return 1.0

    def blocked_by(self, route: str) -> ErrorClass | None:
        return self.by if self.blocked_until(route) is not None else None

    def blocked_until(self, route: str) -> datetime | None:
        until = self.blocked.get(route)
        return until if until is not None and until > now() else None


async def test_when_no_route_may_be_asked_the_turn_waits_without_asking_any() -> None:
    ada = await begin(model_chain=CHAIN)
    soon = now() + timedelta(seconds=20)
    guard = Guard({FIRST: soon + timedelta(seconds=9), SECOND: soon})
    services, model = retrying(says("Hello"), routes=guard, draw=lambda: 0.0)
    assert await run(services) is UnfinishedTurn.PARKED
    turn = await turn_of(ada)
    assert turn.status == "retry_wait"
    assert turn.available_at is not None
    assert abs(turn.available_at - soon) < timedelta(seconds=1)
    assert (model.requests, guard.entered, await steps()) == ([], [], [(1, "model", "intent", "")])
    assert await details("waits_for") == [CHAIN]
    # It resumes too early: the next wait is twice as long as the first one would have been at least.
    guard.blocked = dict.fromkeys(CHAIN, now() + timedelta(seconds=2))
    await woken(ada)
    assert await run(services) is UnfinishedTurn.PARKED
    turn = await turn_of(ada)
    assert turn.available_at is not None
    assert turn.available_at > now() + timedelta(seconds=8)
    assert await details("waits") == [2]
    del guard.blocked[SECOND]
    await woken(ada)
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert [request.model for request in model.requests] == ["second"]
    end = await end_of(ada)
    assert (end["answered_by"], end["attempts"], end["fallback"]) == (SECOND, 1, None)
    await log(ada)


async def test_a_turn_that_waited_on_another_release_asks_the_routes_of_its_own() -> None:
    """Its release was withdrawn while it waited: the route that had failed is none of the live release's."""
    ada = await begin(model_chain=[FIRST])
    guard = Guard({})
    guard.on_failure = lambda: guard.blocked.update({FIRST: now() + timedelta(seconds=20)})
    services, model = retrying(FAILS, says("Hello"), routes=guard)
    assert await run(services) is UnfinishedTurn.PARKED

    await in_db_thread(lambda: pin(ada.row, add_release(ada.row.agent, model_chain=[SECOND])))
    await woken(ada)
    async with asyncio.timeout(10):
        assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert [request.model for request in model.requests] == ["first", "second"]


async def test_nobody_waits_for_a_credential_that_was_refused() -> None:
    ada = await begin(model_chain=CHAIN)
    soon = now() + timedelta(seconds=300)
    services, model = retrying(says("Hello"), routes=Guard(dict.fromkeys(CHAIN, soon), by=ErrorClass.AUTH))
    assert await run(services) == FinishedTurn(TurnStatus.FAILED, 0)
    turn = await turn_of(ada)
    assert (turn.error_class, turn.error_detail) == ("auth", ErrorClass.AUTH.failure.user_message)
    assert not model.requests
    assert await details("gave_up") == ["routes"]


async def test_a_wait_for_routes_that_does_not_fit_is_an_error_that_cost_nothing() -> None:
    ada = await begin(model_chain=[FIRST])
    services, model = retrying(says("Hello"), routes=Guard({FIRST: now() + timedelta(seconds=60)}))
    await run(services, remaining_seconds=30.0)
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class, turn.cost_usd) == ("failed", "transient", Decimal(0))
    assert not model.requests
    assert await details("gave_up") == ["time"]
    assert (await end_of(ada))["attempts"] == 0


async def test_a_route_that_another_process_tries_is_passed_by() -> None:
    await begin(model_chain=CHAIN)
    guard = Guard(probed={FIRST})
    services, model = retrying(says("Hello"), routes=guard)
    await run(services)
    assert guard.entered == CHAIN
    assert [request.model for request in model.requests] == ["second"]


async def test_the_last_route_that_another_process_tries_is_awaited_a_moment() -> None:
    ada = await begin(model_chain=[FIRST])
    guard = Guard(probed={FIRST})
    guard.on_enter = lambda: guard.probed.clear() if guard.entered else None
    await run(retrying(says("Hello"), routes=guard)[0])
    assert guard.entered == [FIRST, FIRST]
    assert (await turn_of(ada)).status == "completed"


@pytest.mark.parametrize(("reply", "parks"), [(throttled(1.2), False), (FAILS, True)])
async def test_a_short_wait_that_the_provider_asks_for_keeps_its_runner(reply: Reply, parks: bool) -> None:
    """A provider knows when it may be asked again; a route that is broken is awaited without a runner."""
    await begin(model_chain=[FIRST])
    guard = Guard()
    guard.on_failure = lambda: guard.blocked.update({FIRST: now() + timedelta(seconds=1.2)})
    services, model = retrying(reply, says("Hello"), routes=guard)
    assert (await run(services) is UnfinishedTurn.PARKED) == parks
    assert len(model.requests) == (1 if parks else 2)


async def test_a_failure_that_closes_the_only_route_waits_for_it() -> None:
    ada = await begin(model_chain=[FIRST])
    guard = Guard()
    guard.on_failure = lambda: guard.blocked.update({FIRST: now() + timedelta(seconds=15)})
    services, model = retrying(FAILS, routes=guard)
    assert await run(services) is UnfinishedTurn.PARKED
    assert (len(model.requests), guard.reports) == (1, ["transient"])
    assert (await turn_of(ada)).status == "retry_wait"


async def test_the_guard_learns_how_each_call_went() -> None:
    ada = await begin(model_chain=CHAIN, tools=["clock"])
    guard = Guard()
    services, _ = retrying(
        FAILS, says("Hel", ModelAuthFailed()), calls(("c1", "clock", "{}")), says("", for_ever), routes=guard
    )
    running = await start(services)

    async def until_asked() -> None:
        while len(guard.entered) < 4:
            await steps()

    await asyncio.wait_for(until_asked(), A_WHILE)
    await stop(ada, running)
    await running.ended()
    assert guard.reports[:5] == ["transient", "first_token", "auth", "first_token", "success"]
    assert guard.reports[-1] == "released"


async def test_a_probe_has_a_deadline_of_its_own() -> None:
    await begin(model_chain=[FIRST])
    services, model = retrying(says("Hello"), routes=Guard(probe_seconds=7))
    await run(services)
    [request] = model.requests
    assert request.deadlines.first_token_seconds == 7


# --- the retry budget ---


async def test_without_a_retry_budget_the_next_route_is_asked_and_then_nobody() -> None:
    ada = await begin(model_chain=CHAIN)
    budget = RetryBudget(1_000)
    budget.take_retry(FIRST, "transient")
    services, model = retrying(FAILS, retry_budget=budget)
    await run(services)
    assert [request.model for request in model.requests] == ["first", "second"]
    assert await details("gave_up") == [None, "retry_budget"]
    assert (await turn_of(ada)).error_class == "transient"


async def test_many_turns_that_fail_at_once_share_the_last_retry() -> None:
    budget = RetryBudget(1_000)
    services, model = retrying(FAILS, retry_budget=budget)
    ada = await begin(model_chain=[FIRST])
    await run(services)
    for _ in range(2):
        await in_db_thread(ada.ask, "Again")
        await run(services)
    assert len(model.requests) == 3 + 1


async def test_what_succeeds_at_once_fills_the_budget_and_a_retry_does_not() -> None:
    budget = RetryBudget(10)
    services, _ = retrying(FAILS, says("Hello"), retry_budget=budget)
    ada = await begin(model_chain=[FIRST])
    await run(services)
    assert budget.tokens(FIRST) == 50 - 14
    await in_db_thread(ada.ask, "Again")
    await run(services)
    assert budget.tokens(FIRST) == 50 - 14 + 1


# --- a context that is too long ---


async def test_a_context_that_is_too_long_is_made_smaller_once_and_stays_so() -> None:
    ada = await begin("x" * 300, model_chain=[FIRST], tools=["clock"])
    for text in ("y" * 300, "z" * 300):
        await run(scripted(says(text))[0])
        await in_db_thread(ada.ask, "And now?")
    services, model = retrying(says(ContextTooLong()), calls(("c1", "clock", "{}")), says("Noon."))
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    sent = [len(request.messages) for request in model.requests]
    assert sent[0] == 5
    first, second = (sum(len(message.text) for message in request.messages) for request in model.requests[:2])
    assert second < first / 2
    assert sent[2] == sent[1] + 2, "the call and its result"
    noted = [note["messages"] if note else None for note in await details("context_compressed")][-4:]
    assert noted == [None, sent[1], None, sent[2]]


async def test_a_context_that_is_too_long_again_ends_the_turn() -> None:
    ada = await begin("x" * 300, model_chain=CHAIN)
    await run(scripted(says("y" * 300))[0])
    await in_db_thread(ada.ask, "And now?")
    services, model = retrying(says(ContextTooLong()))
    await run(services)
    assert [request.model for request in model.requests] == ["first"] * 2
    assert (await end_of(ada))["error"]["error_class"] == "context_length"


async def test_a_question_that_is_too_long_alone_is_cut_and_the_step_says_so() -> None:
    await begin("x" * 3_000, model_chain=[FIRST])
    services, model = retrying(says(ContextTooLong()), says("Hello"))
    assert await run(services) == FinishedTurn(TurnStatus.COMPLETED, 0)
    assert "characters left out" in model.requests[1].messages[0].text
    assert [note.get("strategy") for note in await details("context")] == [None, "minimal"]


async def test_a_context_that_cannot_become_smaller_is_not_sent_again() -> None:
    ada = await begin("?", model_chain=CHAIN)
    services, model = retrying(says(ContextTooLong()))
    await run(services)
    assert len(model.requests) == 1
    assert (await turn_of(ada)).error_class == "context_length"
    assert await details("gave_up") == ["context"]


async def test_a_context_that_is_too_long_goes_whole_to_a_wider_route_for_the_rest_of_the_turn() -> None:
    ada = await begin("x" * 300, model_chain=CHAIN, tools=["clock"])
    await run(scripted(says("y" * 300))[0])
    await in_db_thread(ada.ask, "And now?")
    services, model = retrying(says(ContextTooLong()), calls(("c1", "clock", "{}")), says("Noon."))
    await run(replace(services, models=Models(model, windows={FIRST: 8_000, SECOND: 100_000})))
    assert [(request.model, len(request.messages)) for request in model.requests] == [
        ("first", 3), ("second", 3), ("second", 5),
    ]  # fmt: skip
    end = await end_of(ada)
    assert (end["answered_by"], end["fallback"]) == (SECOND, None)


@pytest.mark.parametrize("windows", [{SECOND: 8_000}, {FIRST: 100_000, SECOND: 50_000}, {FIRST: 100_000}])
async def test_a_route_that_is_not_known_to_be_wider_is_not_asked(windows: dict[str, int]) -> None:
    ada = await begin("x" * 12_000, model_chain=CHAIN)
    await run(scripted(says("y" * 14_000))[0])
    await in_db_thread(ada.ask, "And now?")
    services, model = retrying(says(ContextTooLong()), says("Hello"))
    await run(replace(services, models=Models(model, windows=windows)))
    assert [request.model for request in model.requests] == ["first"] * 2


async def test_each_attempt_is_sent_what_fits_its_window_also_when_it_is_compressed() -> None:
    ada = await begin("x" * 300, model_chain=[FIRST])
    await run(scripted(says("y" * 300))[0])
    await in_db_thread(ada.ask, "And now?")
    services, model = retrying(says(ContextTooLong()), says("Hello"))
    await run(replace(services, models=Models(model, windows={FIRST: 100_000})))
    first, second = (sum(len(message.text) for message in request.messages) for request in model.requests)
    assert second < first / 2
