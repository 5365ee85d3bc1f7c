"""Reads what the trace of a turn is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from agents.domain.model_messages import ToolSpec
from agents.domain.states import PARKED
from agents.models import Approval, Event, Step, Turn
from agents.tools.toolbox import installed_tools
from foundation.clock import now
from monitoring.spans.reading import StoredSpan, spans_of_turn
from monitoring.trace.summary import TraceSummary, summarize
from monitoring.trace.timeline import TIMELINE_EVENTS, ApprovalTimes, Timeline, TurnEvent, make_timeline

# Of a turn that was claimed again and again.
_MAX_EVENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of a turn: its steps and the spans that were recorded, as a timeline and in sums."""

    turn: Turn
    steps: list[Step]
    spans: list[StoredSpan]
    timeline: Timeline
    summary: TraceSummary

    def as_json(self) -> dict[str, Any]:
        """The trace as JSON, without what people and models have said."""
        return {
            "turn": str(self.turn.pk),
            "session": str(self.turn.agent_session_id),
            "status": self.turn.status,
            "error_class": self.turn.error_class or None,
            "summary": self.summary.as_json(),
            "parts": [
                {
                    "kind": part.kind.value,
                    "name": part.name,
                    "step": part.step.number if part.step is not None else None,
                    "started_at": part.started_at.isoformat(),
                    "seconds": round(part.seconds, 3),
                    "first_token_seconds": None
                    if part.first_token_at is None
                    else round((part.first_token_at - part.started_at).total_seconds(), 3),
                    "failed": part.failed,
                    "open": part.is_open,
                }
                for part in self.timeline.parts
            ],
        }


def read_trace(turn: Turn) -> Trace:
    """The trace of `turn`: three statements at most, and one more where a person was asked about a call."""
    moment = now()
    steps = list(Step.objects.filter(turn=turn).order_by("number"))
    spans = spans_of_turn(turn.pk, turn.queued_at, turn.finished_at)
    timeline = make_timeline(turn, steps, _read_events(turn), spans, now=moment, approvals=_read_approvals(turn, steps))
    return Trace(turn, steps, spans, timeline, summarize(turn, timeline, now=moment))


def _read_events(turn: Turn) -> list[TurnEvent]:
    """The claims and waits of a turn that had more than one claim; of others its row says all there is."""
    if turn.epoch < 2 and turn.status not in PARKED:
        return []
    # A session's events have an index by their numbers; those of one turn stand together.
    rows = Event.objects.filter(
        agent_session=turn.agent_session_id, turn=turn, type__in=sorted(TIMELINE_EVENTS)
    ).order_by("seq")
    return [TurnEvent(*row) for row in rows.values_list("type", "at")[:_MAX_EVENTS]]


def _read_approvals(turn: Turn, steps: Sequence[Step]) -> dict[int, ApprovalTimes]:
    if not any(step.details.get("right", {}).get("decision") == "ask" for step in steps):
        return {}
    rows = Approval.objects.filter(turn=turn).values_list("step", "decided_at", "used_at")
    return {step: ApprovalTimes(decided_at, used_at) for step, decided_at, used_at in rows}


@cache
def _installed() -> dict[str, ToolSpec]:
    return {tool.name: tool.spec for tool in installed_tools()}


def find_tools(names: Sequence[str]) -> tuple[ToolSpec, ...]:
    """The tools of these names that are installed with this process, as a model reads them."""
    installed = _installed()
    return tuple(installed[name] for name in names if name in installed)
