"""The tool calls of one turn: intents are committed before anything runs, outcomes as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from agents.domain.events import EventType
from agents.domain.failures import ErrorClass
from agents.domain.states import StepStatus, WaitReason
from agents.domain.steps import REFUSED, UNKNOWN, UNKNOWN_OUTCOME, StepRecord
from agents.domain.waits import Park, combine_waits
from agents.engine.call_approvals import CallApprovals
from agents.engine.call_rights import CallRights
from agents.engine.context import TurnContext
from agents.engine.ports import ToolRunner
from agents.engine.progress import LimitReached, TurnProgress, step_intent
from agents.engine.shielded import run_shielded
from agents.journal.approval_writes import advance_with_approvals
from agents.journal.fenced_writes import NewEvent, StepOutcome, advance, reopen
from agents.llm.interface import ToolCall
from foundation.storable_text import storable_text


class ToolCalls:
    """The tool calls of one claim of a turn. `close` it at the end."""

    def __init__(
        self, context: TurnContext, progress: TurnProgress, tools: ToolRunner, *, suspects: asyncio.Lock
    ) -> None:
        self._claim = context.claim
        self._allowed = context.release.tools
        self._progress = progress
        self._tools = tools
        self._rights = CallRights(context, progress, tools)
        self._approvals = CallApprovals(context, self._rights)
        self._suspects = suspects if context.tool_stalls else None
        self._is_alone = False
        # Numbers of calls of which the journal says that this claim tries them.
        self._opened: set[int] = set()
        # Numbers of calls that have certainly had no effect: their intent was written by this claim, or by one that
        # parked, and they were not made since, or had to wait; or nobody has used their approval.
        self._never_run = {call.number for call in progress.open_tools if context.claim.resumed or call.is_unused}
        self._outcome_lock = asyncio.Lock()
        self._write_failed = False

    async def begin(self, calls: Sequence[ToolCall], *, outcome: StepOutcome, unsent: Sequence[NewEvent]) -> None:
        """Commit the `outcome` of the model call and the intents of these tool calls, before any of them runs.

        The outcome is committed even when the limits allow no further tool call. Raises `LimitReached`, `LostTurn` and
        database errors.
        """
        await self._enter_alone()
        try:
            # Opened before they are written: a cancellation during the commit then ends them like all others.
            decisions = zip(calls, await self._rights.judge(calls), strict=True)
            steps = self._progress.begin_tools(
                [(call, self._tools.is_idempotent(call.name), decision) for call, decision in decisions]
            )
        except LimitReached:
            events = [*self._progress.take_events(), *unsent]
            await run_shielded(advance, self._claim, outcomes=[outcome], events=events)
            raise
        started = [_event(EventType.TOOL_STARTED, call, arguments=call.request) for call in steps]
        intents = [step_intent(call) for call in steps]
        events = [*self._progress.take_events(), *unsent, *started]
        approvals = self._approvals.requests(steps)
        if approvals:
            passes = await run_shielded(
                advance_with_approvals,
                self._claim,
                approvals=approvals,
                outcomes=[outcome],
                intents=intents,
                events=events,
            )
            self._progress.apply_passes(passes)
        else:
            await run_shielded(advance, self._claim, outcomes=[outcome], intents=intents, events=events)
        self._never_run = {call.number for call in steps}
        self._opened |= self._never_run

    async def run(self, calls: Sequence[StepRecord]) -> None:
        """Run open calls concurrently. A tool that fails does not affect the others; a write that fails ends them all.

        The commit of the last outcome includes the intent of the next model call. Raises `LostTurn` and database
        errors, and `Park` when some calls must wait and the others have ended.
        """
        await self._enter_alone()
        ready, waiting = (
            [call for call in calls if not call.needs_approval],
            [call for call in calls if call.needs_approval],
        )
        waits: list[Park] = []
        try:
            # Once more after each round: people decide while others run.
            while ready or waiting:
                decided = await self._approvals.sort(waiting)
                self._never_run |= decided.unused
                self._opened |= decided.unused
                waiting = decided.pending
                ready += decided.calls
                if not ready and decided.until is not None:
                    waits.append(Park(decided.until, WaitReason.APPROVAL))
                    break
                waits += await self._run_all(ready)
                ready = []
        finally:
            self.close()
        if waits:
            raise combine_waits(waits)

    async def _run_all(self, calls: Sequence[StepRecord]) -> list[Park]:
        """Run these calls concurrently; returns why some must wait."""
        if again := [call.number for call in calls if self._may_run(call) and call.number not in self._opened]:
            await run_shielded(reopen, self._claim, again)
            self._opened.update(again)
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(self._run_one(call), name=f"tool {call.name}") for call in calls]
        except BaseExceptionGroup as failures:
            # They have the same cause, a lost turn or a lost database; the caller handles that error itself.
            raise failures.exceptions[0] from None
        return [wait for task in running if (wait := task.result()) is not None]

    def close(self) -> None:
        """Let other turns run that have lost a runner."""
        if self._is_alone and self._suspects is not None:
            self._suspects.release()
        self._is_alone = False

    async def _enter_alone(self) -> None:
        """Wait for other turns of this process that have lost a runner while a tool ran, if this one has, too."""
        if self._suspects is not None and not self._is_alone:
            await self._suspects.acquire()
            self._is_alone = True

    def _may_run(self, call: StepRecord) -> bool:
        """Whether an open call may be made: it has certainly had no effect, or may be repeated."""
        return self._is_harmless(call) and self._refusal(call) is None

    def _is_harmless(self, call: StepRecord) -> bool:
        """Whether an open call has certainly had no effect, or may be repeated. One that must not run never did."""
        if call.idempotent or call.number in self._never_run:
            return True
        # Whether one that asks has run depends on its approval: see `never_run`.
        return not call.needs_approval and self._rights.refusal(call) is not None

    def _refusal(self, call: StepRecord) -> str | None:
        """What the model reads in place of a result of a call that must not run; None where it may."""
        return self._approvals.refusal(call) if call.needs_approval else self._rights.refusal(call)

    def abandon(self, call: StepRecord, error_class: ErrorClass) -> StepOutcome:
        """The outcome of an open call of a turn that ends. Whether it took effect is unknown, unless it never ran or is
        idempotent."""
        status = StepStatus.FAILED if self._is_harmless(call) else StepStatus.UNKNOWN
        return self._progress.record_outcome(call, status, error_class=error_class)

    async def _run_one(self, call: StepRecord) -> Park | None:
        """Run one call and commit its outcome; returns why it must wait, if it must."""
        if (refusal := self._refusal(call)) is not None:
            await self._record_outcome(call, StepStatus.FAILED, refusal, mark=REFUSED)
            return None
        if not self._may_run(call):
            # The intent is of an earlier epoch: it may have run. It is not run again.
            await self._record_outcome(call, StepStatus.UNKNOWN, UNKNOWN_OUTCOME, mark=UNKNOWN)
            return None
        self._never_run.discard(call.number)
        try:
            result = await self._tools.call(
                call.name,
                call.request,
                session_id=self._claim.session_id,
                turn_id=self._claim.turn_id,
                user_id=self._claim.user_id,
                step=call.number,
                allowed=self._allowed,
            )
        except Park as wait:
            self._never_run.add(call.number)
            return wait
        status = StepStatus.FAILED if result.is_error else StepStatus.DONE
        await self._record_outcome(call, status, storable_text(result.content))
        return None

    async def _record_outcome(self, call: StepRecord, status: StepStatus, content: str, *, mark: str = "") -> None:
        """Commit the outcome of a call; `mark` is what its event says of a call that failed besides."""
        # One at a time: the commit of the last result includes the next intent, and no result may follow it.
        async with self._outcome_lock:
            if self._write_failed:
                return
            is_error = status is not StepStatus.DONE
            result = {"content": content, "is_error": is_error}
            if mark == REFUSED:  # the status says the other one
                result["outcome"] = REFUSED
            outcome = self._progress.record_outcome(
                call, status, result, error_class=ErrorClass.TOOL_ERROR if is_error else ""
            )
            next_call = self._progress.begin_next_model_call()
            try:
                await run_shielded(
                    advance,
                    self._claim,
                    outcomes=[outcome],
                    intents=[step_intent(next_call)] if next_call is not None else [],
                    events=[_outcome_event(call, status, content, mark)],
                )
            except Exception:
                # Whether it was committed is unknown. Calls that wait for the lock must not write after it.
                self._write_failed = True
                raise


def _outcome_event(call: StepRecord, status: StepStatus, content: str, mark: str) -> NewEvent:
    if status is StepStatus.DONE:
        return _event(EventType.TOOL_FINISHED, call, content=content)
    return _event(EventType.TOOL_FAILED, call, content=content, **({"outcome": mark} if mark else {}))


def _event(event_type: str, call: StepRecord, **data: Any) -> NewEvent:
    return NewEvent(event_type, {"step": call.number, "call_id": call.call_id, "name": call.name, **data})
