"""What stands in for an answer that no model of the chain gave: an earlier one, that of a simpler model, or a person.

Each fallback is a step of its own. Its intent is committed before it is tried, together with the outcome of the call
that failed; its outcome is committed with the end of the turn, or with the intent of the next one. So a runner that
dies loses none and doubles none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from agents.domain.failures import ErrorClass
from agents.domain.response_fallbacks import NO_ANSWER, Fallback, FallbackSituation, next_fallback
from agents.domain.serialization import moment
from agents.domain.states import StepStatus
from agents.domain.steps import StepRecord
from agents.domain.waits import Park
from agents.engine.attempts import Attempts
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.progress import LimitReached, TurnProgress, step_intent
from agents.engine.prompt_hash import prompt_hash
from agents.engine.shielded import run_shielded
from agents.journal.cached_answers import find_cached_answer
from agents.journal.fenced_writes import NewEvent, StepOutcome, advance
from agents.llm.errors import ModelError

log = structlog.get_logger(__name__)

# Of a turn's time, for the fallbacks after a simpler model.
RESERVED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class FallbackAnswer:
    """What a turn ends with: its outcomes and events are not written yet. `handoff_reason`, if it is set, says why a
    person is asked to take over."""

    fallback: Fallback
    outcomes: Sequence[StepOutcome]
    events: Sequence[NewEvent] = ()
    handoff_reason: str = ""


class Fallbacks:
    """The fallbacks of one claim of a turn, in the order that its release names."""

    def __init__(self, context: TurnContext, progress: TurnProgress, services: Services, attempts: Attempts) -> None:
        self._context = context
        self._progress = progress
        self._services = services
        self._attempts = attempts
        self._settings = context.release.fallbacks
        # Of the fallback that has failed, until they are written.
        self._outcomes: list[StepOutcome] = []
        self._events: list[NewEvent] = []

    @property
    def prompt_hash(self) -> bytes | None:
        """What later turns find the answer of this one by; None where it must not stand in for another."""
        if Fallback.CACHED_RESPONSE not in self._settings.order or not self._progress.is_one_answer:
            return None
        if self._context.release.memory.recall:
            return None  # what is remembered changes, and may be asked to be forgotten
        return prompt_hash(self._context, self._services)

    async def answer(self, error: ModelError | Park) -> FallbackAnswer | None:
        """What stands in for the answer of the open model step, which failed or must wait; None where nothing does.
        Raises `LostTurn` and database errors."""
        if isinstance(error, Park) and error.reason is not None:
            return None
        name = self._next(error.error_class)
        if name is None:
            return None
        self._outcomes, self._events = self._attempts.drop(error.error_class, await self._attempts.close())
        answer = await self._try_each(name, error.error_class)
        if answer is None and isinstance(error, Park):
            # What waits for a route is an open call: by that it is found when the route may be asked.
            await self._write([self._progress.begin_model_call()])
        return answer

    async def resume(self, step: StepRecord) -> FallbackAnswer | None:
        """What comes of a fallback that an earlier claim left open, and of those after it; None where nothing does."""
        reason = str(step.request["reason"])
        return await self._try(step, reason) or await self._try_each(self._next(reason), reason)

    def _next(self, reason: str) -> Fallback | None:
        client = self._context.client
        situation = FallbackSituation(
            tried=self._progress.fallbacks,
            has_results=self._progress.has_results,
            brings_results=any(part["type"] == "tool_result" for part in self._context.history[-1].parts),
            must_call=bool(client.must_call),
            must_be_json=client.json is not None,
        )
        return next_fallback(self._settings.order, reason, situation)

    async def _try_each(self, name: Fallback | None, reason: str) -> FallbackAnswer | None:
        while name is not None:
            step = self._progress.begin_fallback(name, reason=reason)
            log.warning("fallback.tried", turn=str(self._context.claim.turn_id), fallback=name, reason=reason)
            await self._write([step])
            if answer := await self._try(step, reason):
                return answer
            name = self._next(reason)
        await self._write()
        return None

    async def _write(self, steps: Sequence[StepRecord] = ()) -> None:
        """Commit what is not written yet, and the intents of `steps`."""
        outcomes, events = self._outcomes, self._events
        self._outcomes, self._events = [], []
        intents = [step_intent(step) for step in steps]
        await run_shielded(advance, self._context.claim, outcomes=outcomes, intents=intents, events=events)

    async def _try(self, step: StepRecord, reason: str) -> FallbackAnswer | None:
        match Fallback(step.name):
            case Fallback.CACHED_RESPONSE:
                return await self._find_cached(step)
            case Fallback.SIMPLIFIED_RESPONSE:
                return await self._ask_simpler(step)
            case _:
                return self._hand_off(step, reason)

    # --- the fallbacks ---

    async def _find_cached(self, step: StepRecord) -> FallbackAnswer | None:
        cached = await run_shielded(
            find_cached_answer,
            self._context.claim,
            prompt_hash=prompt_hash(self._context, self._services),
            hours=self._settings.cached_hours,
        )
        if cached is None:
            self._fail(step, NO_ANSWER)
            return None
        result = {"text": cached.text, "answered_at": moment(cached.answered_at)}
        return FallbackAnswer(
            Fallback.CACHED_RESPONSE, [self._complete(step, result, {"from_turn": str(cached.turn_id)})]
        )

    async def _ask_simpler(self, step: StepRecord) -> FallbackAnswer | None:
        with self._attempts.asking_fallback(step.name, simpler_context(self._context)):
            try:
                call = self._progress.open_model_call
                if call is None:
                    call = self._progress.begin_model_call(fallback=step.name)
                    await self._write([call])
                # So that there is time left for what follows, should it not answer.
                async with asyncio.timeout_at(self._attempts.deadline_at - RESERVED_SECONDS):
                    outcome, reply = await self._attempts.ask(call)
            except (ModelError, LimitReached, TimeoutError) as error:
                error_class = _class_of(error)
                self._outcomes, self._events = self._attempts.drop(error_class, await self._attempts.close())
                self._fail(step, error_class)
                return None
        # No tools were offered, so what it calls nevertheless is nothing that could run.
        outcome = self._progress.drop_calls(outcome)
        if not reply.text.strip():
            self._outcomes = [outcome]
            self._fail(step, ErrorClass.EMPTY_ANSWER)
            return None
        return FallbackAnswer(Fallback.SIMPLIFIED_RESPONSE, [outcome, self._complete(step)], reply.unsent)

    def _hand_off(self, step: StepRecord, reason: str) -> FallbackAnswer:
        outcome = self._complete(step, {"text": self._settings.handoff_text})
        return FallbackAnswer(Fallback.HUMAN_HANDOFF, [outcome], handoff_reason=reason)

    # --- outcomes ---

    def _complete(
        self, step: StepRecord, result: Mapping[str, Any] | None = None, details: Mapping[str, Any] | None = None
    ) -> StepOutcome:
        return self._progress.record_outcome(step, StepStatus.DONE, result, details=details)

    def _fail(self, step: StepRecord, why: str) -> None:
        """Record that the fallback gave nothing; it is written with what comes next."""
        self._outcomes.append(self._progress.record_outcome(step, StepStatus.FAILED, details={"gave_up": why}))


def _class_of(error: ModelError | LimitReached | TimeoutError) -> ErrorClass:
    if isinstance(error, ModelError):
        return error.error_class
    return ErrorClass.LIMIT_REACHED if isinstance(error, LimitReached) else ErrorClass.DEADLINE


def simpler_context(context: TurnContext) -> TurnContext:
    """`context` for a simpler model: no tools, and nothing of the conversation but the question."""
    release = replace(context.release, model_chain=context.release.fallbacks.simplified_models, tools=())
    client = replace(context.client, tools=(), one_call=False)
    return replace(context, release=release, client=client, history=context.history[-1:], sends_work=False)
