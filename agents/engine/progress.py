"""The progress of a turn: its steps as in the journal, their usage, and what the limits still allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from agents.domain.marked_blocks import MemoryBlock
from agents.domain.message_parts import MAX_REASONING_BYTES, Part
from agents.domain.model_messages import ToolCall
from agents.domain.serialization import calls_shape
from agents.domain.states import StepKind, StepStatus
from agents.domain.steps import (
    StepRecord,
    is_first_model_call,
    last_calls,
    limited_output_tokens,
    message_parts,
    open_fallback,
    open_model_call,
    open_tools,
    provider_extras,
)
from agents.domain.tool_rights import RightDecision
from agents.domain.usage import BilledUsage, sum_usage
from agents.engine.context import TurnContext
from agents.journal.fenced_writes import Intent, NewEvent, StepOutcome
from foundation.spans import NO_SPANS, TurnSpans

NO_USAGE = BilledUsage()
# More characters than a token has on average in any language, so that only a runaway answer reaches it.
MAX_CHARACTERS_PER_TOKEN = 10


class LimitReached(Exception):
    """The release's limits allow no further step."""


class TurnProgress:
    """The steps of one turn, including those of its earlier claims: they count for its limits and its cost.

    Nothing here is written; callers commit each change through the journal.
    """

    def __init__(self, context: TurnContext, spans: TurnSpans = NO_SPANS) -> None:
        self.usage = sum_usage(step.usage for step in context.steps)
        # Of calls whose provider reports none, an estimate.
        self._output_tokens = sum(step.limited_output_tokens for step in context.steps)
        self._limits = context.release.limits
        self._client_tools = context.client.tool_names
        self._steps: list[StepRecord] = list(context.steps)
        # Messages of the history that the last request had no room for.
        self.left_out: Sequence[UUID] = ()
        # How much of its model's window the last request used.
        self.context_percent: float | None = None
        self.memories: Sequence[MemoryBlock] = context.memories
        # Records what is no step.
        self.spans = spans
        self._pending_events: list[NewEvent] = []
        self._recall_seconds: float | None = None

    @property
    def steps(self) -> Sequence[StepRecord]:
        """All steps so far."""
        return self._steps

    @property
    def parts(self) -> list[Part]:
        """The results of the steps so far, as the parts of one message."""
        return message_parts(self._steps)

    def remind(self, memories: Sequence[MemoryBlock], event: NewEvent) -> None:
        """Have the model read `memories` from now on; `event` goes with the next write."""
        self.memories = memories
        self._pending_events.append(event)

    def note_recall(self, seconds: float) -> None:
        """Say how long the search for memories took, for the record of the next call of a model."""
        self._recall_seconds = round(seconds, 3)

    def take_recall_seconds(self) -> float | None:
        """What `note_recall` has said, once; None where nothing was searched for since."""
        seconds, self._recall_seconds = self._recall_seconds, None
        return seconds

    def take_events(self) -> list[NewEvent]:
        """The events that go with the next write of the turn, once."""
        events, self._pending_events = self._pending_events, []
        return events

    @property
    def provider_extras(self) -> dict[str, dict[str, Any]]:
        """What came with the answers so far and goes back to their routes."""
        return provider_extras(self._steps)

    @property
    def reasoning_room(self) -> int:
        """Bytes of reasoning that the message still takes; 0 when the steps so far have filled it."""
        used = sum(len(part["text"].encode()) for part in self.parts if part["type"] == "reasoning")
        return max(0, MAX_REASONING_BYTES - used)

    @property
    def open_steps(self) -> list[StepRecord]:
        return [step for step in self._steps if step.open]

    @property
    def open_tools(self) -> list[StepRecord]:
        return open_tools(self._steps)

    @property
    def open_model_call(self) -> StepRecord | None:
        return open_model_call(self._steps)

    @property
    def open_fallback(self) -> StepRecord | None:
        return open_fallback(self._steps)

    @property
    def is_first_model_call(self) -> bool:
        return is_first_model_call(self._steps)

    @property
    def is_one_answer(self) -> bool:
        """Whether one answer of the chain's models is all that the turn has: no call of a tool, no fallback, and its
        model has not stopped before its end."""
        results = [step for step in self._steps if step.status is StepStatus.DONE or step.kind is not StepKind.MODEL]
        return len(results) == 1 and not results[0].fallback and _is_whole_answer(results[0])

    @property
    def fallbacks(self) -> frozenset[str]:
        """The fallbacks that were tried."""
        return frozenset(step.name for step in self._steps if step.kind is StepKind.FALLBACK)

    @property
    def has_results(self) -> bool:
        """Whether a step has a result."""
        return any(step.result is not None for step in self._steps)

    @property
    def has_tool_calls(self) -> bool:
        """Whether the model has called a tool that runs here."""
        return any(step.kind is StepKind.TOOL for step in self._steps)

    @property
    def has_client_calls(self) -> bool:
        """Whether the last answer of the model calls tools of the client, which must run them: the turn then ends."""
        return any(call["name"] in self._client_tools for call in last_calls(self._steps))

    def calls_shape(self, *, completed: bool, fallback: str = "") -> dict[str, Any]:
        """Whom the turn has asked, for the event of its end; `fallback` is what it ends with."""
        calls = [
            {"route": step.name, "answered": step.status is StepStatus.DONE}
            for step in self._steps
            if step.kind is StepKind.MODEL and not step.open and step.name
        ]
        return calls_shape(calls, completed=completed, fallback=fallback or None)

    def record_outcome(
        self,
        step: StepRecord,
        status: StepStatus,
        result: Any = None,
        *,
        error_class: str = "",
        usage: BilledUsage = NO_USAGE,
        estimated_output_tokens: int = 0,
        route: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> StepOutcome:
        """Close an open step and return its outcome for the journal. `route` is the one that a model call has asked;
        the estimate counts where `usage` has no output tokens, and then stands in the details."""
        self._steps[step.number - 1] = replace(
            step, status=status, result=result, name=step.name if route is None else route
        )
        self.usage += usage
        self._output_tokens += limited_output_tokens(usage, estimated_output_tokens)
        if usage.output_tokens is None and estimated_output_tokens:
            details = {**(details or {}), "estimated_output_tokens": estimated_output_tokens}
        return StepOutcome(step.number, status, result, error_class, usage, name=route, details=details or {})

    def begin_model_call(self, route: str = "", *, fallback: str = "") -> StepRecord:
        """Open a model step and return it; `route` is set when it repeats a call that failed, `fallback` when it is a
        part of one. Failed calls count for the limit of output tokens, not for that of model calls. Raises
        `LimitReached`."""
        calls = [step for step in self._steps if step.kind is StepKind.MODEL and step.status is not StepStatus.FAILED]
        if len(calls) >= self._limits.steps:
            raise LimitReached(f"The turn used its {self._limits.steps} model calls.")
        if not self.has_output_budget():
            raise self._output_limit_error()
        request = {"fallback": fallback} if fallback else None
        step = StepRecord(len(self._steps) + 1, StepKind.MODEL, StepStatus.INTENT, route, request=request)
        self._steps.append(step)
        return step

    def begin_fallback(self, name: str, *, reason: str) -> StepRecord:
        """Open the step of a fallback and return it; `reason` is the class of the error before."""
        number = len(self._steps) + 1
        step = StepRecord(number, StepKind.FALLBACK, StepStatus.INTENT, name, request={"reason": reason})
        self._steps.append(step)
        return step

    def begin_next_model_call(self) -> StepRecord | None:
        """Open a model step if every tool call has an outcome; None if not, if the client must act, or if a limit is
        reached. (After a crash the journal may have an open one already.)"""
        if self.open_tools or self.open_model_call or self.has_client_calls:
            return None
        try:
            return self.begin_model_call()
        except LimitReached:
            return None  # raised when the loop asks for this step

    def begin_tools(self, calls: Sequence[tuple[ToolCall, bool, RightDecision | None]]) -> list[StepRecord]:
        """Open a step for each of these calls, which come with whether they are idempotent and what their release has
        decided, and return the steps. Raises `LimitReached`."""
        used = sum(step.kind is StepKind.TOOL for step in self._steps)
        if used + len(calls) > self._limits.tool_calls:
            raise LimitReached(f"The turn used its {self._limits.tool_calls} tool calls.")
        steps = [
            StepRecord(
                number,
                StepKind.TOOL,
                StepStatus.INTENT,
                name=call.name,
                call_id=call.id,
                idempotent=idempotent,
                # What was judged is what runs.
                request=decision.arguments or call.arguments if decision is not None else call.arguments,
                right=decision.stored if decision is not None else None,
            )
            for number, (call, idempotent, decision) in enumerate(calls, start=len(self._steps) + 1)
        ]
        self._steps.extend(steps)
        return steps

    def apply_passes(self, passes: Mapping[int, str]) -> None:
        """Note that an owner's passes, by the numbers of open calls, let these run without a person's approval."""
        for number, pass_id in passes.items():
            step = self._steps[number - 1]
            self._steps[number - 1] = replace(step, right={**(step.right or {}), "pass": pass_id})

    def drop_calls(self, outcome: StepOutcome) -> StepOutcome:
        """`outcome` of a model call, without the calls of tools in its answer."""
        result = {**outcome.result, "tool_calls": []}
        index = outcome.number - 1
        self._steps[index] = replace(self._steps[index], result=result)
        return replace(outcome, result=result)

    @property
    def remaining_output_tokens(self) -> int:
        """What the turn's limit still allows; 0 at least."""
        return max(0, self._limits.output_tokens - self._output_tokens)

    def add_event(self, event: NewEvent) -> None:
        """Have `event` written with the next write of the turn."""
        self._pending_events.append(event)

    def has_output_budget(self, output_tokens: int = 0) -> bool:
        """Whether the limits allow more output tokens after these."""
        return self._output_tokens + output_tokens < self._limits.output_tokens

    def check_length(self, characters: int) -> None:
        """Raise `LimitReached` when an answer of so many characters must exceed the limit of output tokens."""
        if characters > MAX_CHARACTERS_PER_TOKEN * (self._limits.output_tokens - self._output_tokens):
            raise self._output_limit_error()

    def _output_limit_error(self) -> LimitReached:
        return LimitReached(f"The turn used its {self._limits.output_tokens} output tokens.")


def _is_whole_answer(call: StepRecord) -> bool:
    return call.kind is StepKind.MODEL and not call.result["tool_calls"] and "finish_reason" not in call.result


def step_intent(step: StepRecord) -> Intent:
    """The intent of `step` for the journal."""
    details = {"right": step.right} if step.right is not None else {}
    return Intent(step.number, step.kind, step.name, step.call_id, step.idempotent, step.request, details)
