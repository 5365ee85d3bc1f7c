"""The attempts to get one answer of a model: each is a step, until one succeeds or `next_attempt` gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from agents.domain.context_window import UNKNOWN_WINDOW
from agents.domain.events import EventType, ModelRetrying
from agents.domain.failures import ErrorClass, Recovery, parse_error_class
from agents.domain.fallback import (
    ASK_ONCE,
    Attempt,
    Decision,
    FailedAttempt,
    GiveUp,
    Postponed,
    Reason,
    Situation,
    can_retry,
    needs_compression,
    next_attempt,
)
from agents.domain.message_parts import Part
from agents.domain.states import StepStatus, WaitReason
from agents.domain.steps import StepRecord, failed_calls_before, limited_output_tokens
from agents.domain.token_estimates import count_tokens, token_counter
from agents.domain.usage import FREE, BilledUsage
from agents.domain.waits import Park
from agents.engine.context import TurnContext
from agents.engine.model_call import ModelCall, Reply
from agents.engine.ports import Admission, Services
from agents.engine.progress import NO_USAGE, TurnProgress, step_intent
from agents.engine.prompt import assemble
from agents.engine.shielded import run_shielded
from agents.journal.fenced_writes import NewEvent, StepOutcome, advance
from agents.llm.errors import BY_CLASS, ModelError
from foundation.clock import now

log = structlog.get_logger(__name__)

# A shorter wait for a route is not worth parking a turn; and the wait where nobody knows when a route may be asked.
SHORT_WAIT_SECONDS = 1.0
# The least wait for a route: the clock by which it is blocked may be behind ours.
_LEAST_WAIT_SECONDS = 0.1
# Half of a request that has hardly more says nothing: its length is not what the provider minds.
_LEAST_CONTEXT_TOKENS = 50


class Attempts:
    """The model calls of one claim of a turn, one at a time. `on_lost` is called when their text cannot be written.

    `deadline_at` is when the claim's work must end, by the event loop's clock.
    """

    def __init__(
        self, context: TurnContext, progress: TurnProgress, services: Services, *, on_lost: Callable[[], object]
    ) -> None:
        self.deadline_at = float("inf")
        self._context = context
        self._progress = progress
        self._services = services
        self._policy = services.policy
        self._on_lost = on_lost
        # Set while a fallback asks other models than those of the chain.
        self._fallback = ""
        self._loop = asyncio.get_running_loop()
        # A turn that parks goes on with another claim, so only its own deadline bounds that.
        self._turn_deadline_at = self._loop.time() + context.claim.remaining_seconds
        # The current attempt, and its call until its step has an outcome.
        self._attempt = Attempt(0, "")
        self._call: ModelCall | None = None
        self._failures: list[FailedAttempt] = []
        self._gave_up: Reason | None = None
        # How often the turn has waited for a route before the call that is planned.
        self._waits = 0
        # Tokens of messages that a route is sent at most, since it has refused more in this turn.
        self._context_tokens: dict[str, int] = {}
        # Routes for which the context was too long in this turn, where a wider one took it.
        self._narrow: set[str] = set()

    @property
    def parts(self) -> list[Part]:
        """What the current call has shown so far; nothing when there is none."""
        return self._call.parts if self._call is not None else []

    async def ask(self, step: StepRecord) -> tuple[StepOutcome, Reply]:
        """The outcome of the attempt that succeeded, which is not written yet, and its answer; `step` is the open model
        step.

        Raises the `ModelError` of the last attempt, `Park`, `LimitReached`, `LostTurn` and database errors.
        """
        self._services.budgets.note_outcome()
        self._failures = self._failures_before_wait(step)
        self._waits = step.waits
        decision = await self._plan()
        while True:
            self._attempt, admission = await self._enter(decision)
            call = self._call = self._open_call(step, self._attempt.route, admission)
            try:
                reply = await _ask(call, admission)
            except ModelError as error:
                self._record_retry(call.route, succeeded=False)
                self._failures.append(FailedAttempt(call.route, error.error_class, error.retry_after_seconds))
                decision = await self._plan_after_failure()
                if isinstance(decision, GiveUp):
                    self._gave_up = decision.reason
                    raise
                step = await self._begin_next(call, error, decision)
            else:
                if not self._failures:
                    self._services.retry_budget.add_success(call.route)
                self._record_retry(call.route, succeeded=True)
                # From here on the step has the text: if the call had it too, a cancellation during the commit would
                # store it twice.
                self._call = None
                return self._record_outcome(call, StepStatus.DONE, reply.result, usage=reply.usage), reply

    async def close(self) -> list[NewEvent]:
        """Stop writing deltas: wait for the write that is under way, and return what it has left unwritten.

        Raises what the writes have raised.
        """
        return await self._call.close() if self._call is not None else []

    def park(self, wait: Park, unsent: Sequence[NewEvent]) -> tuple[list[StepOutcome], list[NewEvent]]:
        """The outcome of a call that was sent and must wait, and the event that drops its words; nothing if it was not
        sent."""
        call = self._call
        if call is None or not call.may_have_been_sent or wait.reason is WaitReason.BUDGET:
            # Its place among those that wait for money is that of the open step.
            return [], []
        self._call = None
        failed = self._record_outcome(call, StepStatus.FAILED, error_class=wait.error_class, usage=call.partial_cost())
        return [failed], _retrying_event(call, unsent, route=None, reason=wait.error_class)

    def drop(self, error_class: str, unsent: Sequence[NewEvent]) -> tuple[list[StepOutcome], list[NewEvent]]:
        """The outcome of the open model step, since something else than its answer follows, and the event that drops
        its words."""
        step, call = self._progress.open_model_call, self._call
        if step is None:
            return [], []
        outcome = self.abandon(step, error_class)
        self._call = None
        events = _retrying_event(call, unsent, route=None, reason=error_class) if call is not None else []
        return [outcome], events

    @contextmanager
    def asking_fallback(self, fallback: str, context: TurnContext) -> Iterator[None]:
        """Inside, `ask` asks the chain of `context`: each route once, and nobody waits for one."""
        before = self._context, self._policy
        self._fallback, self._context, self._policy = fallback, context, ASK_ONCE
        self._gave_up = None
        try:
            yield
        finally:
            self._fallback, (self._context, self._policy) = "", before
            self._gave_up = None

    def abandon(self, step: StepRecord, error_class: str) -> StepOutcome:
        """The outcome of an open model step of a turn that ends."""
        call = self._call
        if call is not None and call.step.number == step.number:
            return self._record_outcome(call, StepStatus.FAILED, error_class=error_class, usage=call.partial_cost())
        details = {"gave_up": self._gave_up} if self._gave_up is not None else {}
        may_have_been_sent = self._may_have_been_sent(step)
        return self._progress.record_outcome(
            step,
            StepStatus.FAILED,
            error_class=error_class,
            usage=self._lost_call_usage() if may_have_been_sent else NO_USAGE,
            # An attempt that was never made has asked nobody.
            route=None if may_have_been_sent else "",
            details=details,
        )

    # --- what comes next ---

    def _failures_before_wait(self, step: StepRecord) -> list[FailedAttempt]:
        """The failed attempts at this answer before the turn parked, which count, but for those of another release,
        which was withdrawn meanwhile. After a lost runner none do: the call is planned anew."""
        if not self._context.claim.resumed or self._fallback:
            return []
        failed = failed_calls_before(self._context.steps, step)
        chain = self._context.release.model_chain
        return [FailedAttempt(call.name, call.error_class) for call in failed if call.name in chain]

    async def _plan(self, refused: Collection[str] = ()) -> Decision:
        """The next attempt, with no further pause; `refused` are routes that could not be entered just now."""
        self._failures = [replace(failure, retry_after_seconds=None) for failure in self._failures]
        decision = self._decide(Situation(self._open_routes(refused), self._remaining_seconds()))
        if isinstance(decision, Attempt) and not await self._fit_context(decision.route):
            return GiveUp(Reason.CONTEXT)
        return decision

    async def _plan_after_failure(self) -> Decision:
        """What follows the last failure. A retry is paid for here, so that many calls that fail at once cannot all have
        the last one."""
        last, budget = self._failures[-1], self._services.retry_budget
        situation = Situation(
            self._open_routes(),
            self._remaining_seconds(),
            budget.allows_retry(last.route, last.error_class, self._context.claim.priority),
            self._services.draw(),
            await self._wider_routes(last),
        )
        decision = self._decide(situation)
        if isinstance(decision, GiveUp):
            return decision
        if needs_compression([last]) and isinstance(decision, Attempt) and decision.route != last.route:
            self._narrow.add(last.route)
        routes = decision.routes if isinstance(decision, Postponed) else (decision.route,)
        if last.route in routes and can_retry(last.error_class):
            budget.take_retry(last.route, last.error_class)
        if last.route in routes and not await self._fit_context(last.route):
            return GiveUp(Reason.CONTEXT)
        return decision

    def _record_retry(self, route: str, *, succeeded: bool) -> None:
        """Learn from an attempt, if it was a retry of the route that had failed."""
        last = self._failures[-1] if self._failures else None
        if last is not None and last.route == route and can_retry(last.error_class):
            self._services.retry_adaptation.record_retry(route, succeeded=succeeded)

    def _decide(self, situation: Situation) -> Decision:
        policy = self._policy
        if self._failures and (factor := self._services.retry_adaptation.factor(self._failures[-1].route)) > 1:
            policy = replace(policy, backoff=policy.backoff.scaled(factor))
        chain: Sequence[str] = self._context.release.model_chain
        if not self._failures:
            # What was too long for them is longer by now.
            chain = [route for route in chain if route not in self._narrow] or chain
        decision = next_attempt(chain, self._failures, policy, situation)
        return self._wait_or_give_up(decision) if isinstance(decision, Postponed) else decision

    def _wait_or_give_up(self, postponed: Postponed) -> Decision:
        """`postponed` for the routes that are worth waiting for: those whose credential was refused are not."""
        by = {route: self._services.routes.blocked_by(route) for route in postponed.routes}
        worth = tuple(
            route
            for route, error_class in by.items()
            if error_class is None or error_class.failure.recovery is not Recovery.REST_CREDENTIAL
        )
        if not worth or self._fallback:
            return GiveUp(Reason.ROUTES)
        postponed = replace(postponed, routes=worth)
        if self._seconds_until(postponed) >= self._turn_deadline_at - self._loop.time():
            return GiveUp(Reason.DEADLINE)
        return postponed

    def _open_routes(self, refused: Collection[str] = ()) -> frozenset[str]:
        chain, guard = self._context.release.model_chain, self._services.routes
        return frozenset(refused) | {route for route in chain if guard.blocked_until(route) is not None}

    def _remaining_seconds(self) -> float:
        return self.deadline_at - self._loop.time()

    def _seconds_until(self, postponed: Postponed) -> float:
        if postponed.seconds is not None:
            return postponed.seconds
        waits = [self._blocked_seconds(route) for route in postponed.routes]
        return max(_LEAST_WAIT_SECONDS, min(SHORT_WAIT_SECONDS if wait is None else wait for wait in waits))

    def _blocked_seconds(self, route: str) -> float | None:
        """How long `route` must not be asked; None where it may be, or where nobody knows."""
        until = self._services.routes.blocked_until(route)
        return (until - now()).total_seconds() if until is not None else None

    async def _enter(self, decision: Decision) -> tuple[Attempt, Admission]:
        """The attempt to make now, after its pause, and the right to make it. Raises `Park`, and a `ModelError` when no
        route may be asked before the turn must end."""
        refused: set[str] = set()
        while True:
            match decision:
                case GiveUp():
                    self._gave_up = decision.reason
                    raise self._unasked_error()
                case Postponed():
                    await self._wait(decision)
                    refused.clear()
                    decision = await self._plan()
                case Attempt():
                    if decision.pause_seconds:
                        await self._pause(decision)
                    priority = self._context.claim.priority
                    if (admission := await self._services.routes.enter(decision.route, priority)) is not None:
                        return decision, admission
                    refused.add(decision.route)
                    decision = await self._plan(refused)

    async def _pause(self, attempt: Attempt) -> None:
        """The pause before an attempt; none if the route stays blocked for another reason, and will not be entered."""
        blocked_seconds = self._blocked_seconds(attempt.route) or 0.0
        if blocked_seconds <= attempt.pause_seconds + SHORT_WAIT_SECONDS:
            await asyncio.sleep(max(attempt.pause_seconds, blocked_seconds))

    async def _wait(self, postponed: Postponed) -> None:
        policy = self._policy
        # Everybody waits for the same moment.
        draw, least = self._services.draw(), self._seconds_until(postponed)
        seconds = least + draw * policy.backoff.largest_pause(0)
        is_throttled = postponed.reason == ErrorClass.RATE_LIMIT
        longest = policy.patience_seconds if is_throttled else SHORT_WAIT_SECONDS
        if seconds <= longest and seconds < self._remaining_seconds():
            await asyncio.sleep(seconds)
            return
        error_class = parse_error_class(postponed.reason) or ErrorClass.TRANSIENT
        longer = policy.wait_seconds(self._waits, draw=draw, least_seconds=least)
        if longer < self._turn_deadline_at - self._loop.time():
            seconds = longer
        raise Park(now() + timedelta(seconds=seconds), error_class=error_class, routes=postponed.routes)

    def _unasked_error(self) -> ModelError:
        """The error of a turn whose last attempt was not made: that of the one before, or what blocks the routes."""
        if self._failures:
            return BY_CLASS[parse_error_class(self._failures[-1].error_class) or ErrorClass.UNKNOWN]()
        chain, guard = self._context.release.model_chain, self._services.routes
        by = next((found for route in chain if (found := guard.blocked_by(route)) is not None), ErrorClass.TRANSIENT)
        return BY_CLASS[by]()

    async def _wider_routes(self, last: FailedAttempt) -> Collection[str]:
        """The routes that are known to take the context which was too long for the last one."""
        chain = self._context.release.model_chain
        if not needs_compression([last]) or len(chain) == 1:
            return ()
        models = self._services.models
        full = (await assemble(self._context, self._progress, self._services, last.route)).request.messages
        count = token_counter(self._services.routes.token_factor(last.route))
        needed = max(await models.window(last.route) or UNKNOWN_WINDOW, count_tokens(full, count))
        windows = {route: await models.window(route) for route in chain}
        return frozenset(route for route, window in windows.items() if window is not None and window > needed)

    async def _fit_context(self, route: str) -> bool:
        """Make the context for `route` smaller if it was too long for it; False if it cannot become smaller."""
        if route in self._context_tokens or not needs_compression(self._failures, route):
            return True
        count = token_counter(self._services.routes.token_factor(route))
        full = (await assemble(self._context, self._progress, self._services, route)).request.messages
        limit = count_tokens(full, count) // 2
        fitted = await assemble(self._context, self._progress, self._services, route, max_tokens=limit)
        smaller = fitted.request.messages
        self._context_tokens[route] = limit
        log.warning(
            "prompt.compressed",
            turn=str(self._context.claim.turn_id),
            route=route,
            messages=len(full),
            sent=len(smaller),
            strategy=fitted.prompt.strategy.value,
        )
        is_smaller = count_tokens(smaller, count) < count_tokens(full, count)
        return is_smaller and limit >= _LEAST_CONTEXT_TOKENS and not fitted.prompt.is_without_calls

    def _open_call(self, step: StepRecord, route: str, admission: Admission) -> ModelCall:
        return ModelCall(
            step,
            route,
            self._context,
            self._progress,
            self._services,
            may_have_been_sent=self._may_have_been_sent(step),
            on_lost=self._on_lost,
            admission=admission,
            max_tokens=self._context_tokens.get(route),
            may_wait=not self._fallback,
        )

    # --- outcomes ---

    async def _begin_next(self, call: ModelCall, error: ModelError, decision: Attempt | Postponed) -> StepRecord:
        """Write the outcome of an attempt that failed and the intent of the next one, in one commit: whatever happens
        in the pause between them, the journal is whole."""
        unsent = await call.close()
        usage = call.partial_cost()
        if not self._progress.has_output_budget(limited_output_tokens(usage, call.estimate_output(usage))):
            self._gave_up = Reason.LIMITS
            raise error
        # Changed before it is written: a cancellation during the commit then ends the next step, without this one's
        # text.
        self._call = None
        failed = self._record_outcome(call, StepStatus.FAILED, error_class=error.error_class, usage=usage)
        route = decision.route if isinstance(decision, Attempt) else None
        step = self._progress.begin_model_call(route or "", fallback=self._fallback)
        log.warning(
            "model.retried",
            turn=str(self._context.claim.turn_id),
            step=step.number,
            route=route,
            reason=decision.reason,
            **error.log_fields,
        )
        events = [
            *self._progress.take_events(),
            *_retrying_event(call, unsent, route=route, reason=decision.reason),
        ]
        await run_shielded(advance, self._context.claim, outcomes=[failed], intents=[step_intent(step)], events=events)
        return step

    def _record_outcome(
        self, call: ModelCall, status: StepStatus, result: Any = None, *, error_class: str = "", usage: BilledUsage
    ) -> StepOutcome:
        details = {"attempt": self._attempt.number, **call.details}
        if call.route != self._context.release.model_chain[0]:
            details["fallback"] = True
        if self._attempt.pause_seconds:
            details["pause_seconds"] = round(self._attempt.pause_seconds, 3)
        if self._gave_up is not None:
            details["gave_up"] = self._gave_up
        return self._progress.record_outcome(
            call.step,
            status,
            result,
            error_class=error_class,
            usage=usage,
            estimated_output_tokens=call.estimate_output(usage),
            route=call.route,
            details=details,
        )

    def _may_have_been_sent(self, step: StepRecord) -> bool:
        """Whether an earlier claim may have sent the call. A claim that parked has not tried the steps that it left
        open."""
        claim = self._context.claim
        return claim.epoch > 1 and not claim.resumed and step in self._context.steps

    def _lost_call_usage(self) -> BilledUsage:
        """The usage of a call of an earlier claim, which was not counted; the route that it asked is unknown."""
        models, routes = self._services.models, self._context.release.routes
        free = all(models.cost(route, None, response_model=None) == FREE for route in routes)
        return BilledUsage(None, None, FREE if free else None)


async def _ask(call: ModelCall, admission: Admission) -> Reply:
    """The answer of `call`, whose outcome is reported to `admission`."""
    try:
        reply = await call.ask()
    except ModelError as error:
        if error.is_of_route:
            await admission.record_failure(error)
        else:
            await admission.release()
        raise
    except BaseException:
        await admission.release()
        raise
    await admission.record_success()
    return reply


def _retrying_event(call: ModelCall, unsent: Sequence[NewEvent], *, route: str | None, reason: str) -> list[NewEvent]:
    """The event that drops the words of a call; none when none have reached the log."""
    if len(call.text) + len(call.reasoning) <= sum(len(event.data["text"]) for event in unsent):
        return []
    return [NewEvent(EventType.MODEL_RETRYING, ModelRetrying(step=call.step.number, route=route, reason=reason))]
