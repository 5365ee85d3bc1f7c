"""Side work by cheaper models: titles, summaries, extraction. Nobody waits for it, and callers go on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import structlog
from django.db import IntegrityError

from agents.domain.configuration import AgentConfiguration
from agents.domain.failures import ErrorClass
from agents.domain.fallback import Attempt, FailedAttempt, Situation, can_retry, needs_compression, next_attempt
from agents.domain.retry_policies import POLICIES, OperationKind
from agents.domain.states import Priority
from agents.domain.usage import BilledUsage
from agents.engine.model_call import price_usage
from agents.engine.ports import Admission, Services
from agents.engine.progress import MAX_CHARACTERS_PER_TOKEN
from agents.engine.shielded import run_shielded
from agents.engine.utility_budget import reserve_utility_call
from agents.journal.utility_calls import UtilityOutcome, UtilityOwner, begin_utility_call, end_utility_call
from agents.llm.errors import EmptyAnswer, ModelError
from agents.llm.interface import (
    ChatMessage,
    Finished,
    FirstToken,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    UsageUpdate,
)
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError
from foundation.storable_text import storable_text

log = structlog.get_logger(__name__)


class UtilityCallFailed(BandstandError):
    """No model for side work could be asked, or none has answered."""

    code = "utility_call_failed"
    retryable = True


@dataclass(frozen=True, slots=True)
class UtilityAnswer:
    """`text` has a visible character; `is_cut`: a limit of tokens ended it. `usage` is that of the call that answered,
    with its cost in US dollars."""

    text: str
    route: str
    usage: BilledUsage
    is_cut: bool = False


async def ask_utility_model(
    services: Services,
    *,
    owner: UtilityOwner,
    configuration: AgentConfiguration,
    system: str,
    text: str,
    max_output_tokens: int,
    purpose: str,
    deadline: float,
) -> UtilityAnswer:
    """The answer of the first route of the configuration's `utility_chain` that gives one before `deadline`, by the
    event loop's clock. Routes are asked as for a turn, in the background: breakers, spaced calls and the retry budget
    hold, and so does a bound on the side work of the process. So do budgets: a call that has no money now is not made,
    nor does it wait for any. `text` is what the instructions in `system` are about.

    Every call is stored for `owner`, with its cost, under `purpose`. Raises `UtilityCallFailed`, and nothing else.
    """
    try:
        async with asyncio.timeout_at(deadline), services.utility_slots:
            work = _UtilityWork(services, owner, configuration.utility_chain, purpose, deadline)
            return await work.ask(system, text, max_output_tokens)
    except TimeoutError:
        raise UtilityCallFailed("It took too long.") from None
    except UtilityCallFailed:
        raise
    except (*DATABASE_FAULTS, IntegrityError) as error:
        # Without a row nobody would know what was spent.
        raise UtilityCallFailed("What it costs cannot be stored.") from error
    except Exception as error:
        log.exception("utility_call.crashed", purpose=purpose)
        raise UtilityCallFailed from error


class _UtilityWork:
    """The attempts at one answer."""

    def __init__(
        self, services: Services, owner: UtilityOwner, chain: tuple[str, ...], purpose: str, deadline: float
    ) -> None:
        self._services = services
        self._owner = owner
        self._chain = chain
        self._purpose = purpose
        self._deadline = deadline
        self._failures: list[FailedAttempt] = []

    async def ask(self, system: str, text: str, max_output_tokens: int) -> UtilityAnswer:
        refused: set[str] = set()
        while True:
            attempt = self._plan(refused)
            if attempt.pause_seconds:
                await asyncio.sleep(attempt.pause_seconds)
            admission = await self._services.routes.enter(attempt.route, Priority.BACKGROUND)
            if admission is None:
                refused.add(attempt.route)
                continue
            try:
                answer = await self._call(attempt, admission, system, text, max_output_tokens)
            except ModelError as error:
                self._failures.append(FailedAttempt(attempt.route, error.error_class, error.retry_after_seconds))
                log.warning("utility_call.failed", purpose=self._purpose, route=attempt.route, **error.log_fields)
            else:
                if not self._failures:
                    self._services.retry_budget.add_success(attempt.route)
                return answer

    def _plan(self, refused: set[str]) -> Attempt:
        """The next attempt, paid for if it repeats the last one. Raises `UtilityCallFailed`."""
        services, last = self._services, self._failures[-1] if self._failures else None
        chain = self._chain
        if last is not None and needs_compression([last]):
            # What belongs to the text is known to the caller only: another route may take all of it.
            chain = chain[chain.index(last.route) + 1 :]
        budget = services.retry_budget
        situation = Situation(
            frozenset(route for route in chain if route in refused or services.routes.blocked_until(route) is not None),
            self._deadline - asyncio.get_running_loop().time(),
            last is None or budget.allows_retry(last.route, last.error_class, Priority.BACKGROUND),
            services.draw(),
        )
        failures = [failure for failure in self._failures if failure.route in chain]
        policy = replace(POLICIES[OperationKind.UTILITY_CALL], backoff=services.policy.backoff)
        decision = next_attempt(chain, failures, policy, situation)
        if not isinstance(decision, Attempt):
            raise UtilityCallFailed
        if last is not None and decision.route == last.route and can_retry(last.error_class):
            budget.take_retry(last.route, last.error_class)
        return decision

    async def _call(
        self, attempt: Attempt, admission: Admission, system: str, text: str, max_output_tokens: int
    ) -> UtilityAnswer:
        """One call, between its intent and its outcome. Raises `ModelError`, `CancelledError` and database errors."""
        call = _UtilityCall(self._services, attempt.route, admission, self._reserve)
        number = len(self._failures) + 1
        try:
            call_id = await run_shielded(
                begin_utility_call, self._owner, purpose=self._purpose, route=attempt.route, attempt=number
            )
        except BaseException:
            await admission.release()
            raise
        error_class = str(ErrorClass.UNKNOWN)
        try:
            answer = await call.ask(call_id, system, text, max_output_tokens)
            error_class = ""
        except ModelError as error:
            error_class = str(error.error_class)
            raise
        except asyncio.CancelledError:
            error_class = str(ErrorClass.CANCELLED)
            raise
        finally:
            outcome = UtilityOutcome(call.usage, error_class, call.details)
            await run_shielded(end_utility_call, call_id, outcome)
            if call.reservation_id is not None:
                self._services.budgets.note_outcome()
        return answer

    async def _reserve(self, call_id: int, route: str, request: ModelRequest) -> tuple[ModelRequest, int | None]:
        return await reserve_utility_call(
            self._services,
            self._owner,
            call_id=call_id,
            purpose=self._purpose,
            route=route,
            request=request,
            seconds=self._deadline - asyncio.get_running_loop().time(),
        )


class _UtilityCall:
    """One call of one route; `usage` and `details` are what is known of it, also after an error."""

    def __init__(
        self,
        services: Services,
        route: str,
        admission: Admission,
        reserve: Callable[[int, str, ModelRequest], Awaitable[tuple[ModelRequest, int | None]]],
    ) -> None:
        self.usage = BilledUsage()
        self.details: dict[str, Any] = {}
        # Of what it may cost at most, where a budget applies.
        self.reservation_id: int | None = None
        self._reserve = reserve
        self._models = services.models
        self._route = route
        self._admission = admission
        self._has_begun = False

    async def ask(self, call_id: int, system: str, text: str, max_output_tokens: int) -> UtilityAnswer:
        """The answer of the call that the row `call_id` stands for. Raises `ModelError`; the admission has the outcome
        in any case."""
        try:
            answer = await self._stream(call_id, system, text, max_output_tokens)
        except ModelError as error:
            if error.not_billed and not self._has_begun:
                self.usage = BilledUsage()
            if error.report:
                self.details["error"] = error.report
            await self._admission.record_failure(error)
            raise
        except BaseException:
            await self._admission.release()
            raise
        await self._admission.record_success()
        return answer

    async def _stream(self, call_id: int, system: str, text: str, max_output_tokens: int) -> UtilityAnswer:
        llm, model = self._models.resolve(self._route)
        request = ModelRequest(
            model=model,
            messages=(ChatMessage("system", system), ChatMessage("user", text)),
            max_output_tokens=max_output_tokens,
            deadlines=self._models.deadlines(self._route),
        )
        if (seconds := self._admission.first_token_seconds) is not None:
            first = min(seconds, request.deadlines.first_token_seconds)
            request = replace(request, deadlines=replace(request.deadlines, first_token_seconds=first))
        request, self.reservation_id = await self._reserve(call_id, self._route, request)
        if self.reservation_id is not None:
            self.details["reservation"] = self.reservation_id
        # From here on it may be billed.
        self.usage = price_usage(self._models, self._route, None, None)
        started_at = asyncio.get_running_loop().time()
        chunks: list[str] = []
        finished: Finished | None = None
        async with aclosing(llm.stream(request)) as events:
            async for event in events:
                if isinstance(event, FirstToken | TextDelta | ReasoningDelta):
                    self._forget_output()
                match event:
                    case FirstToken():
                        self._has_begun = True
                        self.details["request_id"] = event.request_id
                        if event.rate_limits is not None:
                            self._admission.record_rate(event.rate_limits)
                        await self._admission.record_first_token(asyncio.get_running_loop().time() - started_at)
                    case TextDelta():
                        chunks.append(event.text)
                        # A provider that ignores the limit is stopped.
                        if sum(map(len, chunks)) > MAX_CHARACTERS_PER_TOKEN * (request.max_output_tokens or 1):
                            raise ModelError(provider_detail="its answer is longer than the limit of tokens")
                    case UsageUpdate():
                        self.usage = price_usage(self._models, self._route, event.usage, event.response_model)
                    case Finished():
                        finished = event
        assert finished is not None, "a stream ends with one Finished"
        if finished.usage is not None:
            self.usage = price_usage(self._models, self._route, finished.usage, finished.response_model)
        answer = storable_text("".join(chunks)).strip()
        if not answer:
            raise EmptyAnswer
        return UtilityAnswer(answer, self._route, self.usage, is_cut=finished.finish_reason == "length")

    def _forget_output(self) -> None:
        """More of the answer has come than what was reported until now."""
        if self.usage.output_tokens is not None:
            unknown = price_usage(self._models, self._route, None, None)
            self.usage = replace(self.usage, output_tokens=None, cost_usd=unknown.cost_usd)
