"""What a turn has done so far and what is still open, read from its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.domain.message_parts import Part, reasoning_part, text_part, tool_call_part, tool_result_part
from agents.domain.states import StepKind, StepStatus
from agents.domain.tool_rules import ToolRight
from agents.domain.usage import BilledUsage

# What is said of a call besides that it failed: nobody knows whether it took effect, or it was not let run.
UNKNOWN = "unknown"
REFUSED = "refused"

UNKNOWN_OUTCOME = (
    "The outcome of this call is unknown: the worker stopped while it ran. "
    "It may have taken effect. It was not run again."
)

NOT_RUN = "This call was not run: the turn was begun anew while it waited."


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One row of the journal. `result` of a model: `{"text", "tool_calls": [{"id", "name", "arguments"}]}`, and only if
    there are any `reasoning`, `extra_fields` (those of `Finished`) and `finish_reason` (`length` or `repetition`); of a
    tool: `{"content", "is_error"}`, and `outcome` ("refused") where the call was not let run; of a fallback:
    `{"text"}`, and `answered_at` where the text was given before.

    `name` is the tool's or the fallback's; of a model, the route that was asked; "" in a first intent. `request` of a
    model is `{"fallback"}` where a fallback asks it; of a fallback `{"reason"}`, the class of the error before it.

    `error_class` says why a call of a model failed. `estimated_output_tokens` stand in for `output_tokens` that nobody
    reported, for the limits of a turn only. `waits` is how often the turn has waited for a route before this call.
    `right` is what was decided of a call whose tool has a rule, see `agents.domain.tool_rights`. `is_unused`: the call
    needs an approval that was not used, so that it has certainly not run.
    """

    number: int
    kind: StepKind
    status: StepStatus
    name: str = ""
    call_id: str = ""
    idempotent: bool = False
    request: Any = None
    result: Any = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    estimated_output_tokens: int = 0
    error_class: str = ""
    waits: int = 0
    is_unused: bool | None = False
    right: Mapping[str, Any] | None = None

    @property
    def usage(self) -> BilledUsage:
        """What the step has used, once it has an outcome. Costs of tools are not known and not counted."""
        if self.kind is not StepKind.MODEL or self.open:
            return BilledUsage()
        return BilledUsage(self.input_tokens, self.output_tokens, self.cost_usd)

    @property
    def limited_output_tokens(self) -> int:
        """What the step counts for the turn's limit of output tokens."""
        return limited_output_tokens(self.usage, self.estimated_output_tokens)

    @property
    def open(self) -> bool:
        return self.status is StepStatus.INTENT

    @property
    def needs_approval(self) -> bool:
        """Whether this call needs a person's approval: its release says so, and no pass lets it through."""
        return self.right is not None and self.right["decision"] == ToolRight.ASK and "pass" not in self.right

    @property
    def fallback(self) -> str:
        """The fallback that this call of a model is a part of; "" for others."""
        return str(self.request.get("fallback", "")) if isinstance(self.request, dict) else ""


def limited_output_tokens(usage: BilledUsage, estimate: int) -> int:
    """What a call counts for the turn's limit of output tokens: what was reported, or else the `estimate`."""
    return estimate if usage.output_tokens is None else usage.output_tokens


def open_tools(steps: Sequence[StepRecord]) -> list[StepRecord]:
    """Tool calls with an intent and no outcome."""
    return [step for step in steps if step.open and step.kind is StepKind.TOOL]


def open_model_call(steps: Sequence[StepRecord]) -> StepRecord | None:
    """The model call with an intent and no outcome, which may be repeated at any time; None when there is none."""
    return next((step for step in steps if step.open and step.kind is StepKind.MODEL), None)


def open_fallback(steps: Sequence[StepRecord]) -> StepRecord | None:
    """The fallback that has an intent and no outcome, which may be tried again at any time; None when there is none."""
    return next((step for step in steps if step.open and step.kind is StepKind.FALLBACK), None)


def failed_calls_before(steps: Sequence[StepRecord], step: StepRecord) -> list[StepRecord]:
    """The failed model calls right before `step`: the earlier attempts at the same answer, without those of fallbacks
    between, which other routes made."""
    calls: list[StepRecord] = []
    for earlier in reversed(steps[: step.number - 1]):
        if earlier.status is not StepStatus.FAILED or earlier.kind is StepKind.TOOL:
            break
        if earlier.kind is StepKind.MODEL and earlier.name and not earlier.fallback:
            calls.append(earlier)
    return calls[::-1]


def is_first_model_call(steps: Sequence[StepRecord]) -> bool:
    """Whether no model call has an answer yet. A call that is repeated because it failed or was lost is still the
    first."""
    return all(step.status is not StepStatus.DONE for step in steps if step.kind is StepKind.MODEL)


def last_calls(steps: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """The tool calls of the newest model call; none while it has no outcome."""
    newest = next((step for step in reversed(steps) if step.kind is StepKind.MODEL), None)
    return list(newest.result["tool_calls"]) if newest is not None and newest.result is not None else []


def message_parts(steps: Sequence[StepRecord]) -> list[Part]:
    """The steps with a result as the parts of one message, in their order."""
    parts: list[Part] = []
    for step in steps:
        if step.open or step.result is None:
            continue
        if step.kind is StepKind.FALLBACK:
            answered_at = step.result.get("answered_at", "")
            parts.append(text_part(step.result["text"], fallback=step.name, answered_at=answered_at))
        elif step.kind is StepKind.MODEL:
            if step.result.get("reasoning"):
                parts.append(reasoning_part(step.result["reasoning"]))
            # A turn that goes on with calls is not cut short by this.
            text, cut = step.result["text"], "" if step.result["tool_calls"] else step.result.get("finish_reason", "")
            if text or cut:
                parts.append(text_part(text, cut=cut, fallback=step.fallback))
            parts.extend(
                tool_call_part(call_id=call["id"], name=call["name"], arguments=call["arguments"])
                for call in step.result["tool_calls"]
            )
        else:
            parts.append(
                tool_result_part(
                    call_id=step.call_id,
                    content=step.result["content"],
                    is_error=step.result["is_error"],
                    outcome=UNKNOWN if step.status is StepStatus.UNKNOWN else step.result.get("outcome", ""),
                )
            )
    return parts


def provider_extras(steps: Sequence[StepRecord]) -> dict[str, dict[str, Any]]:
    """What came with the answers of these steps and goes back to the same route: `{"route", "reasoning", "fields"}` by
    the `extras_key` of the first call of each. Answers without calls need none."""
    extras: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    for step in steps:
        if step.kind is not StepKind.MODEL or step.open or step.result is None:
            continue
        keys = [extras_key(call["id"], seen) for call in step.result["tool_calls"]]
        reasoning, fields = step.result.get("reasoning") or "", step.result.get("extra_fields") or {}
        if keys and (reasoning or fields):
            extras[keys[0]] = {"route": step.name, "reasoning": reasoning, "fields": fields}
    return extras


def extras_key(call_id: str, seen: dict[str, int]) -> str:
    """The key of a call in the extras of its message: its id, and a number where that id comes again, as it does with
    servers that count from zero in every answer. `seen` counts the ids of the message so far."""
    seen[call_id] = seen.get(call_id, 0) + 1
    return call_id if seen[call_id] == 1 else f"{call_id}#{seen[call_id]}"
