"""The loop of one turn: ask the model, run the tools it calls, ask again, until it answers or hands calls to a client.

Whatever happens inside, the turn leaves this module in one of four ways: it has ended (`finish`), it waits without a
runner (`park`), another runner owns it (`LostTurn`), or its runner requeues it because the database could not be
reached or the process is about to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from typing import Any
from uuid import UUID

import structlog

from agents.domain.failures import ErrorClass
from agents.domain.message_parts import text_part
from agents.domain.response_fallbacks import Fallback, falls_back
from agents.domain.serialization import error_shape
from agents.domain.states import StepKind, StepStatus, TurnStatus, WaitReason
from agents.domain.steps import StepRecord
from agents.domain.waits import Park
from agents.engine.attempts import Attempts
from agents.engine.context import TurnContext
from agents.engine.fallbacks import FallbackAnswer, Fallbacks
from agents.engine.ports import Services
from agents.engine.progress import LimitReached, TurnProgress, step_intent
from agents.engine.recorded_world import Diverged, recorded_services
from agents.engine.shielded import run_last_shielded, run_shielded
from agents.engine.tool_calls import ToolCalls
from agents.engine.turn_recall import recall_memories
from agents.journal.approval_writes import park_for_approval
from agents.journal.fenced_writes import FinishedTurn, LostTurn, NewEvent, StepOutcome, TurnEnd, advance, finish, park
from agents.llm.errors import ModelError
from foundation.db_threads import DATABASE_FAULTS
from foundation.ids import new_id

log = structlog.get_logger(__name__)


class StopReason(Enum):
    """Why a running turn was cancelled from outside."""

    CANCELLED = "cancelled"  # a person or a program cancelled it
    DRAIN = "drain"  # the runner is about to end
    LOST = "lost"  # the lease is gone


class UnfinishedTurn(Enum):
    """Why a claim's work ended before its turn did."""

    PARKED = "parked"  # the turn waits, without an owner
    DRAINED = "drained"  # this claim still owns the turn and must requeue it


class TurnRun:
    """One claim of one turn. `run` may be called once; `stop` asks it to end from the same event loop. `untouched`:
    nothing of the turn was tried yet."""

    def __init__(self, context: TurnContext, services: Services) -> None:
        self.claim = claim = context.claim
        self.untouched = True
        self._context = context
        spans = services.spans.open_turn(context.agent_id, claim.session_id, claim.turn_id)
        self._progress = TurnProgress(context, spans)
        if context.recording is not None:
            services = recorded_services(context.recording, services, lambda: self._progress.steps)
        self._tools = ToolCalls(context, self._progress, services.tools, suspects=services.suspects)
        self._attempts = Attempts(context, self._progress, services, on_lost=self._cancel)
        self._fallbacks = Fallbacks(context, self._progress, services, self._attempts)
        self._memory_retriever = services.memories
        self._budgets = services.budgets
        self._has_recalled = False
        self._stop: StopReason | None = None
        self._task: asyncio.Task[Any] | None = None

    @property
    def left_out(self) -> Sequence[UUID]:
        """Messages of the history that the last request had no room for."""
        return self._progress.left_out

    @property
    def context_percent(self) -> float | None:
        """How much of its model's window the last request used; None before the first one."""
        return self._progress.context_percent

    @property
    def recalled(self) -> list[UUID]:
        """The ids of the memories that the model was reminded of."""
        return [UUID(memory.id) for memory in self._progress.memories]

    def stop(self, reason: StopReason) -> None:
        """Cancel the work at its next wait, or before it begins; the first stop counts, and none after the end."""
        if self._stop is None:
            self._stop = reason
            self._cancel()

    async def run(self) -> FinishedTurn | UnfinishedTurn:
        """Work until the turn has ended, must wait, or was stopped with `StopReason.DRAIN`.

        Raises `LostTurn` and database errors: after either the caller must not write for this claim any more.
        """
        self._task = asyncio.current_task()
        seconds = min(self._context.release.limits.turn_seconds, self.claim.remaining_seconds)
        deadline = asyncio.timeout(max(0.0, seconds))
        self._attempts.deadline_at = asyncio.get_running_loop().time() + seconds
        try:
            async with deadline:
                if self._stop is not None:
                    raise asyncio.CancelledError
                self.untouched = False
                return await self._run_until_answered()
        except (LostTurn, *DATABASE_FAULTS):
            raise
        except asyncio.CancelledError:
            return await self._handle_stop()
        except Park as wait:
            return await self._park(wait)
        except ModelError as error:
            return await self._end_early(TurnStatus.FAILED, error.error_class, error.user_detail, model_error=error)
        except (LimitReached, Diverged) as error:
            is_limit = isinstance(error, LimitReached)
            error_class = ErrorClass.LIMIT_REACHED if is_limit else ErrorClass.DIVERGED
            return await self._end_early(TurnStatus.FAILED, error_class, str(error))
        except Exception as error:
            end = TurnStatus.EXPIRED, ErrorClass.DEADLINE
            if not deadline.expired():
                log.exception("turn.failed", turn=str(self.claim.turn_id), error=type(error).__name__)
                end = TurnStatus.FAILED, ErrorClass.UNKNOWN
            return await self._end_early(*end)
        finally:
            # What the caller does next in this task, such as requeuing the turn, must not be cancelled from here.
            self._task = None
            self._tools.close()
            self._budgets.note_outcome()

    async def _run_until_answered(self) -> FinishedTurn:
        while True:
            if fallback := self._progress.open_fallback:
                # An earlier claim left it open. If it gives nothing, the models are asked anew.
                if answer := await self._fallbacks.resume(fallback):
                    return await self._complete_with(answer)
                continue
            if tools := self._progress.open_tools:
                await self._tools.run(tools)
                continue
            step = self._progress.open_model_call
            if step is None:
                if self._progress.has_client_calls:
                    return await self._complete()
                step = await self._begin_model_call()
            await self._recall()
            try:
                outcome, reply = await self._attempts.ask(step)
            except (ModelError, Park) as error:
                if (answer := await self._fallbacks.answer(error)) is None:
                    raise
                return await self._complete_with(answer)
            # Calls of the client's tools are part of the answer; the others run here first.
            tool_calls = [call for call in reply.tool_calls if call.name not in self._context.client.tool_names]
            if not tool_calls:
                return await self._complete([outcome], reply.unsent)
            await self._tools.begin(tool_calls, outcome=outcome, unsent=reply.unsent)

    async def _begin_model_call(self) -> StepRecord:
        step = self._progress.begin_model_call()
        await run_shielded(advance, self.claim, intents=[step_intent(step)], events=self._progress.take_events())
        return step

    async def _recall(self) -> None:
        """Once in each claim, before its first model call."""
        if not self._has_recalled:
            self._has_recalled = True
            await recall_memories(self._context, self._progress, self._memory_retriever)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # --- a wait ---

    async def _park(self, wait: Park) -> FinishedTurn | UnfinishedTurn:
        # A stop that arrives now is too late: once this is written the turn has no owner, and is cancelled without one.
        self._task = None
        outcomes, events = self._attempts.park(wait, await self._attempts.close())
        all_events = [*self._progress.take_events(), *events]
        if wait.reason is WaitReason.APPROVAL:
            parking = run_last_shielded(
                park_for_approval,
                self.claim,
                until=wait.until,
                resume_at=wait.resume_at,
                outcomes=outcomes,
                events=all_events,
            )
        else:
            parking = run_last_shielded(
                park,
                self.claim,
                until=wait.until,
                reason=wait.reason,
                resume_at=wait.resume_at,
                outcomes=outcomes,
                events=all_events,
                waits_for=wait.routes,
            )
        if await parking:
            return UnfinishedTurn.PARKED
        return await self._end_early(TurnStatus.CANCELLED, outcomes=outcomes, events=events)

    # --- ends ---

    async def _complete_with(self, answer: FallbackAnswer) -> FinishedTurn:
        return await self._complete(
            answer.outcomes, answer.events, fallback=answer.fallback, handoff_reason=answer.handoff_reason
        )

    async def _complete(
        self,
        outcomes: Sequence[StepOutcome] = (),
        events: Sequence[NewEvent] = (),
        *,
        fallback: str = "",
        handoff_reason: str = "",
    ) -> FinishedTurn:
        end = TurnEnd(
            status=TurnStatus.COMPLETED,
            question_id=self._context.question_id,
            message_id=new_id(),
            # An empty answer is an answer too: the turn ends with exactly one.
            parts=self._progress.parts or [text_part("")],
            provider_extras=self._progress.provider_extras,
            data={
                "usage": self._progress.usage.shape,
                **self._progress.calls_shape(completed=True, fallback=fallback),
            },
            usage=self._progress.usage,
            fallback=fallback,
            handoff_reason=handoff_reason,
            has_rules=self._has_rules(),
            prompt_hash=None if fallback else self._fallbacks.prompt_hash,
        )
        events = [*self._progress.take_events(), *events]
        return await run_last_shielded(finish, self.claim, end, outcomes=outcomes, events=events)

    async def _handle_stop(self) -> FinishedTurn | UnfinishedTurn:
        reason = self._stop
        if self._task is not None:
            self._task.uncancel()
        if reason is StopReason.CANCELLED:
            return await self._end_early(TurnStatus.CANCELLED)
        self._task = None
        # No flush may follow what the caller writes next; errors of earlier flushes are raised here.
        await self._attempts.close()
        if reason is StopReason.DRAIN:
            return UnfinishedTurn.DRAINED
        if reason is StopReason.LOST:
            raise LostTurn
        raise asyncio.CancelledError

    async def _end_early(
        self,
        status: TurnStatus,
        error_class: ErrorClass | None = None,
        detail: str = "",
        *,
        model_error: ModelError | None = None,
        outcomes: Sequence[StepOutcome] = (),
        events: Sequence[NewEvent] = (),
    ) -> FinishedTurn:
        """End the turn without a complete answer; what was shown is stored as a partial one. `outcomes` and `events`
        are written with it; `detail` is for users, what `model_error` says besides for operators."""
        # A stop that arrives now is too late: if it cancelled this, nobody would end the turn.
        self._task = None
        unsent = await self._attempts.close()
        parts = [*self._progress.parts, *self._attempts.parts]
        error: dict[str, Any] | None = None
        error_id = None
        retry_at = model_error.retry_at if model_error else None
        if error_class is not None:
            detail = detail or error_class.failure.user_message
            error_id = new_id()
            error = error_shape(error_class=error_class, detail=detail, error_id=error_id, retry_at=retry_at)
            log.warning(
                "turn.not_completed",
                turn=str(self.claim.turn_id),
                error_class=error_class,
                error_id=str(error_id),
                **(model_error.log_fields if model_error else {}),
            )
        fallback = Fallback.ERROR_RESPONSE if model_error and falls_back(model_error.error_class) else ""
        with_approvals = any(step.needs_approval for step in self._progress.open_steps)
        abandoned = [self._abandon(step, error_class or ErrorClass.CANCELLED) for step in self._progress.open_steps]
        usage = self._progress.usage
        end = TurnEnd(
            status=status,
            question_id=self._context.question_id,
            message_id=new_id(),
            parts=parts,
            provider_extras=self._progress.provider_extras,
            partial=True,
            data={"usage": usage.shape, **self._progress.calls_shape(completed=False, fallback=fallback)}
            | ({"error": error} if error else {}),
            error_class=error_class or "",
            error_detail=detail,
            error_id=error_id,
            error_retry_at=retry_at,
            usage=usage,
            fallback=fallback,
            has_rules=self._has_rules(error_class),
        )
        return await run_last_shielded(
            finish,
            self.claim,
            end,
            outcomes=[*outcomes, *abandoned],
            events=[*self._progress.take_events(), *events, *unsent],
            with_approvals=with_approvals,
        )

    def _has_rules(self, error_class: ErrorClass | None = None) -> bool:
        """Whether the release may ask for a person after this turn, which ends with `error_class` or without one."""
        rules = self._context.release.handoff
        after_error = rules.failed_turns is not None and error_class is not None
        return after_error or (rules.refused_call and self._progress.has_tool_calls)

    def _abandon(self, step: StepRecord, error_class: ErrorClass) -> StepOutcome:
        """The outcome of an open step of a turn that ends."""
        if step.kind is StepKind.TOOL:
            return self._tools.abandon(step, error_class)
        if step.kind is StepKind.FALLBACK:
            return self._progress.record_outcome(step, StepStatus.FAILED, error_class=error_class)
        return self._attempts.abandon(step, error_class)
