"""The timeline of a turn: what happened from when to when, made of its rows and of the spans of it that were recorded.

Steps are the journal and always there; spans are sampled, and a turn without any has a timeline too. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from agents.domain.events import EventType
from agents.domain.states import PARKED, StepKind, StepStatus
from agents.models import Step, Turn
from foundation.spans import ADMISSION, CONTEXT, DELIVERY, RECALL

# Followers that come later read the answer, and delay nobody.
_LATE: Final = timedelta(seconds=30)
_TRIFLE_SECONDS: Final = 0.002
_WAITS: Final = frozenset({EventType.TURN_WAITING, EventType.TURN_RETRY_WAIT})
_CLAIMS: Final = frozenset({EventType.TURN_STARTED, EventType.TURN_RESTARTED})
# The events that a timeline is made of.
TIMELINE_EVENTS: Final = _WAITS | _CLAIMS


class PartKind(StrEnum):
    """What a part of a turn is."""

    ADMISSION = "admission"
    QUEUE = "queue"
    CONTEXT = "context"
    RECALL = "recall"
    PAUSE = "pause"
    MODEL = "model"
    TOOL = "tool"
    FALLBACK = "fallback"
    WAIT = "wait"
    APPROVAL = "approval"
    DELIVERY = "delivery"
    OTHER = "other"


_SPAN_KINDS: Final[Mapping[str, PartKind]] = {
    ADMISSION: PartKind.ADMISSION,
    CONTEXT: PartKind.CONTEXT,
    RECALL: PartKind.RECALL,
    DELIVERY: PartKind.DELIVERY,
}


class RecordedSpan(Protocol):
    """A span as it is stored."""

    @property
    def name(self) -> str: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def ended_at(self) -> datetime: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
    @property
    def error_type(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """An event of the turn's log, one of `TIMELINE_EVENTS`."""

    type: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalTimes:
    """When a person decided about the call of a step, and when it was made then; None: not yet, or never."""

    decided_at: datetime | None
    used_at: datetime | None


_NO_APPROVALS: Final[Mapping[int, ApprovalTimes]] = {}


@dataclass(frozen=True, slots=True)
class TimelinePart:
    """A part of a turn. `first_token_at` is when the first word of a model came, None if none did. `is_open`: it has
    not ended, and `ended_at` is now or the end of its turn. `step` is its row, if it is a step; `attributes` are those
    of a span."""

    kind: PartKind
    name: str
    started_at: datetime
    ended_at: datetime
    failed: bool = False
    is_open: bool = False
    first_token_at: datetime | None = None
    step: Step | None = None
    attributes: Mapping[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """How long it took; never less than nothing, though clocks of processes differ."""
        return max(0.0, (self.ended_at - self.started_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Timeline:
    """The parts of a turn by their beginnings. `late_followers` came when it had ended, and are no parts."""

    parts: Sequence[TimelinePart]
    started_at: datetime
    ended_at: datetime
    late_followers: int = 0

    @property
    def seconds(self) -> float:
        """From its beginning to the end of its last part."""
        return (self.ended_at - self.started_at).total_seconds()


def make_timeline(
    turn: Turn,
    steps: Sequence[Step],
    events: Iterable[TurnEvent],
    spans: Iterable[RecordedSpan],
    *,
    now: datetime,
    approvals: Mapping[int, ApprovalTimes] = _NO_APPROVALS,
) -> Timeline:
    """The timeline of `turn`; `steps` and `events` are its own, in their order, and `approvals` the calls among its
    steps, by their numbers, about which a person was asked."""
    end = turn.finished_at or now
    recorded = [_span_part(span) for span in spans]
    span_kinds = {part.kind for part in recorded}
    late = [part for part in recorded if _is_late(part, turn)]
    recorded = [part for part in recorded if not _is_late(part, turn) and not _is_trifle(part)]
    claims = _claims(turn, events)
    parts = [*recorded, *_waits(turn, events, claims, end)]
    seen_claims: set[datetime] = set()
    for step in steps:
        # The claim of its call, whose context was read before; the step is older where its turn was parked before.
        sent_at = _sent_at(step, step.finished_at or end)
        claim = max((at for at in claims if at <= sent_at), default=step.started_at)
        is_first = claim not in seen_claims
        seen_claims.add(claim)
        if (call := approvals.get(step.number)) is not None:
            parts += _approval_parts(step, call, end)
        else:
            parts += _step_parts(step, end, claim=claim if is_first else None, span_kinds=span_kinds)
    parts.sort(key=lambda part: (part.started_at, part.ended_at))
    first = min((part.started_at for part in parts), default=turn.queued_at)
    last = max((part.ended_at for part in parts), default=end)
    return Timeline(parts, min(first, turn.queued_at), max(last, end), len(late))


def _is_late(part: TimelinePart, turn: Turn) -> bool:
    ended_at = turn.finished_at
    return part.kind is PartKind.DELIVERY and ended_at is not None and part.started_at > ended_at + _LATE


def _is_trifle(part: TimelinePart) -> bool:
    """Whether a span tells nothing: a context that was at hand, as it is before each further call."""
    return part.kind is PartKind.CONTEXT and not part.failed and part.seconds < _TRIFLE_SECONDS


def _span_part(span: RecordedSpan) -> TimelinePart:
    return TimelinePart(
        _SPAN_KINDS.get(span.name, PartKind.OTHER),
        span.name,
        span.started_at,
        span.ended_at,
        failed=bool(span.error_type),
        attributes=span.attributes,
    )


def _claims(turn: Turn, events: Iterable[TurnEvent]) -> list[datetime]:
    """When runners took the turn."""
    claims = [event.at for event in events if event.type in _CLAIMS]
    if turn.started_at is not None and turn.started_at not in claims:
        claims.append(turn.started_at)
    return sorted(claims)


def _waits(
    turn: Turn, events: Iterable[TurnEvent], claims: Sequence[datetime], end: datetime
) -> Iterator[TimelinePart]:
    """The time in the queue, and each wait without a runner."""
    first = claims[0] if claims else None
    yield TimelinePart(
        PartKind.QUEUE, "queue", turn.queued_at, first or end, is_open=first is None and not _ended(turn)
    )
    for event in events:
        if event.type in _WAITS:
            until = min((at for at in claims if at > event.at), default=None)
            is_open = until is None and turn.status in PARKED
            yield TimelinePart(PartKind.WAIT, event.type, event.at, until or end, is_open=is_open)


def _ended(turn: Turn) -> bool:
    return turn.finished_at is not None


def _step_parts(
    step: Step, end: datetime, *, claim: datetime | None, span_kinds: Iterable[PartKind]
) -> Iterator[TimelinePart]:
    """The step, and what was before it: reading the context and searching memories, or a pause. `claim` is set for the
    first step of a claim; `span_kinds` are kinds of which there are spans, which are more exact."""
    is_open = step.status == StepStatus.INTENT
    ended_at = step.finished_at or end
    sent_at = _sent_at(step, ended_at)
    if step.kind == StepKind.MODEL:
        yield from _before_call(step, sent_at, claim, set(span_kinds))
    first = step.details.get("first_token_seconds")
    yield TimelinePart(
        PartKind(step.kind),
        step.name or step.kind,
        sent_at,
        ended_at,
        failed=step.status in {StepStatus.FAILED, StepStatus.UNKNOWN},
        is_open=is_open and step.finished_at is None,
        first_token_at=None if first is None else min(sent_at + timedelta(seconds=first), ended_at),
        step=step,
    )


def _approval_parts(step: Step, call: ApprovalTimes, end: datetime) -> Iterator[TimelinePart]:
    """The time in which a person was asked about a call, and the call itself, if it was made."""
    is_open = call.decided_at is None
    yield TimelinePart(
        PartKind.APPROVAL, step.name, step.started_at, call.decided_at or step.finished_at or end, is_open=is_open
    )
    if call.used_at is not None:
        failed = step.status in {StepStatus.FAILED, StepStatus.UNKNOWN}
        is_open = step.finished_at is None
        yield TimelinePart(
            PartKind.TOOL, step.name, call.used_at, step.finished_at or end, failed=failed, is_open=is_open, step=step
        )


def _sent_at(step: Step, ended_at: datetime) -> datetime:
    """When a call was made: its step is older, for its intent is written before the context is read and before any
    pause."""
    seconds = step.details.get("seconds")
    if seconds is None or step.finished_at is None:
        return step.started_at
    return max(step.started_at, ended_at - timedelta(seconds=seconds))


def _before_call(
    step: Step, sent_at: datetime, claim: datetime | None, span_kinds: set[PartKind]
) -> Iterator[TimelinePart]:
    details = step.details
    if pause := details.get("pause_seconds"):
        yield TimelinePart(PartKind.PAUSE, "pause", max(step.started_at, sent_at - timedelta(seconds=pause)), sent_at)
    if claim is not None and PartKind.CONTEXT not in span_kinds and sent_at > claim and "seconds" in details:
        yield TimelinePart(PartKind.CONTEXT, "context", claim, sent_at)
    if (recall := details.get("recall_seconds")) is not None and PartKind.RECALL not in span_kinds:
        yield TimelinePart(
            PartKind.RECALL, "recall", max(step.started_at, sent_at - timedelta(seconds=recall)), sent_at
        )
