"""The steps of a turn as the console shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils.safestring import SafeString

from agents.admin.badges import status_badge
from agents.admin.transcript.provider_words import describe_error, describe_notes
from agents.admin.transcript.window_use import describe_context, recalled_memories
from agents.domain.response_fallbacks import NO_ANSWER
from agents.domain.states import StepKind, StepStatus
from agents.domain.steps import REFUSED
from agents.domain.tool_rights import describe_decision
from agents.models import Step
from console.formatting import format_duration, format_money
from foundation.graphemes import cut_text

# A result may have any length; the page of the step shows all of it.
MAX_CHARACTERS: Final = 4_000


@dataclass(frozen=True, slots=True)
class TranscriptStep:
    """`error_class`: "" for a call that was not let run; `status_note`: what the status means for a retry; `error`: the
    provider's own words; `notes`: what was odd about its answer; `right`: why a call was asked about or refused;
    `context`: how full the window of the model was; `memories`: the ids of those that it was sent. `request` and
    `result` are empty without read permission; `sent`: it has asked a model, and what that was sent may be read."""

    row: Step
    status: SafeString
    error_class: str
    duration: str
    cost: str
    status_note: str
    error: str
    notes: str
    right: str
    context: str
    memories: list[str]
    request: str
    result: str
    sent: bool


def step_view(step: Step, *, readable: bool, ended_at: datetime | None, now: datetime) -> TranscriptStep:
    """The view of `step`. `ended_at` is the end of its turn, and of a step that was abandoned with it."""
    return TranscriptStep(
        row=step,
        status=status_badge(REFUSED if _is_refused(step) else step.status),
        error_class="" if _is_refused(step) else step.error_class,
        duration=format_duration(step.started_at, step.finished_at or ended_at or now),
        cost=format_money(step.cost_usd),
        status_note=_status_note(step, turn_ended=ended_at is not None),
        error=describe_error(step, readable=readable),
        notes=describe_notes(step.details),
        right=describe_decision(step.details.get("right") or {}, with_reasons=readable),
        context=describe_context(step),
        memories=recalled_memories(step),
        request=shorten(step.request) if readable and step.kind == StepKind.TOOL else "",
        result=shorten(_result(step)) if readable else "",
        sent=readable and step.kind == StepKind.MODEL and bool(step.name),
    )


def shorten(value: Any, characters: int = MAX_CHARACTERS) -> str:
    """`value` as text of a length that a page can show."""
    text = value if isinstance(value, str) else "" if value in ({}, None) else str(value)
    return cut_text(text, characters, mark=" …")


def _status_note(step: Step, *, turn_ended: bool) -> str:
    if step.status == StepStatus.UNKNOWN:
        return "It may have taken effect; it was not run again."
    if _is_refused(step):
        return "It was not run."
    if step.status == StepStatus.INTENT:
        return "Given up with the turn: no outcome is known." if turn_ended else "Begun, no outcome yet."
    if step.kind == StepKind.FALLBACK:
        return _describe_fallback(step)
    if step.kind == StepKind.TOOL:
        return "May run again." if step.idempotent else "Is never run twice."
    return ""


def _is_refused(step: Step) -> bool:
    return step.kind == StepKind.TOOL and isinstance(step.result, dict) and step.result.get("outcome") == REFUSED


def _describe_fallback(step: Step) -> str:
    after = f"After {step.request.get('reason', 'an error')}."
    why = "no earlier answer" if step.details.get("gave_up") == NO_ANSWER else step.details.get("gave_up")
    return f"{after} It gave nothing: {why}." if why else after


def _result(step: Step) -> Any:
    result = step.result
    if isinstance(result, dict):
        return result.get("content", result.get("text", ""))
    return result or ""
