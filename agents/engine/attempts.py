"""The attempts to get one answer of a model: each is a step, until one succeeds or `next_attempt` gives up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from agents.domain.events import EventType, ModelRetrying
from agents.domain.fallback import Attempt, FailedAttempt, GiveUp, Reason, next_attempt
from agents.domain.message_parts import Part
from agents.domain.states import StepStatus
from agents.domain.steps import StepRecord, limited_output_tokens
from agents.domain.usage import FREE, BilledUsage
from agents.domain.waits import Park
from agents.engine.context import TurnContext
from agents.engine.model_call import ModelCall, Reply
from agents.engine.ports import Services
from agents.engine.progress import NO_USAGE, TurnProgress, step_intent
from agents.engine.shielded import run_shielded
from agents.journal.fenced_writes import NewEvent, StepOutcome, advance
from agents.llm.errors import ModelError

log = structlog.get_logger(__name__)


class Attempts:
    """The model calls of one claim of a turn, one at a time. `on_lost` is called when their text cannot be written."""

    def __init__(
        self, context: TurnContext, progress: TurnProgress, services: Services, *, on_lost: Callable[[], object]
    ) -> None:
        self._context = context
        self._progress = progress
        self._services = services
        self._on_lost = on_lost
        # The current attempt, and its call until its step has an outcome.
        self._attempt = Attempt(0, "")
        self._call: ModelCall | None = None
        self._failures: list[FailedAttempt] = []
        self._gave_up: Reason | None = None

    @property
    def parts(self) -> list[Part]:
        """What the current call has shown so far; nothing when there is none."""
        return self._call.parts if self._call is not None else []

    async def ask(self, step: StepRecord) -> tuple[StepOutcome, Reply]:
        """The outcome of the attempt that succeeded, which is not written yet, and its answer; `step` is the open model
        step.

        Raises the `ModelError` of the last attempt, `Park`, `LimitReached`, `LostTurn` and database errors.
        """
        self._failures = []
        attempt = self._next()
        assert isinstance(attempt, Attempt), "a release names a route"
        while True:
            self._attempt = attempt
            call = self._call = ModelCall(
                step,
                attempt.route,
                self._context,
                self._progress,
                self._services,
                may_have_been_sent=self._may_have_been_sent(step),
                on_lost=self._on_lost,
            )
            try:
                reply = await call.ask()
            except ModelError as error:
                self._failures.append(FailedAttempt(call.route, error.error_class))
                attempt = self._next()
                if isinstance(attempt, GiveUp):
                    self._gave_up = attempt.reason
                    raise
                step = await self._begin_next(call, error, attempt)
            else:
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
        if call is None or not call.may_have_been_sent:
            return [], []
        self._call = None
        failed = self._record_outcome(call, StepStatus.FAILED, error_class=wait.error_class, usage=call.partial_cost())
        return [failed], _retrying_event(call, unsent, route=None, reason=wait.error_class)

    def abandon(self, step: StepRecord, error_class: str) -> StepOutcome:
        """The outcome of an open model step of a turn that ends."""
        call = self._call
        if call is not None and call.step.number == step.number:
            return self._record_outcome(call, StepStatus.FAILED, error_class=error_class, usage=call.partial_cost())
        usage = self._lost_call_usage() if self._may_have_been_sent(step) else NO_USAGE
        return self._progress.record_outcome(step, StepStatus.FAILED, error_class=error_class, usage=usage)

    def _next(self) -> Attempt | GiveUp:
        return next_attempt(self._context.release.model_chain, self._failures, self._services.policy)

    async def _begin_next(self, call: ModelCall, error: ModelError, attempt: Attempt) -> StepRecord:
        """Write the outcome of an attempt that failed and the intent of the next `attempt`, in one commit."""
        unsent = await call.close()
        usage = call.partial_cost()
        if not self._progress.has_output_budget(limited_output_tokens(usage, call.estimate_output(usage))):
            self._gave_up = Reason.LIMITS
            raise error
        # Changed before it is written: a cancellation during the commit then ends the next step, without this one's
        # text.
        self._call = None
        failed = self._record_outcome(call, StepStatus.FAILED, error_class=error.error_class, usage=usage)
        step = self._progress.begin_model_call(attempt.route)
        log.warning(
            "model.retried",
            turn=str(self._context.claim.turn_id),
            step=step.number,
            route=attempt.route,
            reason=attempt.reason,
            **error.log_fields,
        )
        events = _retrying_event(call, unsent, route=attempt.route, reason=attempt.reason)
        await run_shielded(advance, self._context.claim, outcomes=[failed], intents=[step_intent(step)], events=events)
        return step

    def _record_outcome(
        self, call: ModelCall, status: StepStatus, result: Any = None, *, error_class: str = "", usage: BilledUsage
    ) -> StepOutcome:
        details = {"attempt": self._attempt.number, **call.details}
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
        models, chain = self._services.models, self._context.release.model_chain
        free = all(models.cost(route, None, response_model=None) == FREE for route in chain)
        return BilledUsage(None, None, FREE if free else None)


def _retrying_event(call: ModelCall, unsent: Sequence[NewEvent], *, route: str | None, reason: str) -> list[NewEvent]:
    """The event that drops the words of a call; none when none have reached the log."""
    if len(call.text) + len(call.reasoning) <= sum(len(event.data["text"]) for event in unsent):
        return []
    return [NewEvent(EventType.MODEL_RETRYING, ModelRetrying(step=call.step.number, route=route, reason=reason))]
