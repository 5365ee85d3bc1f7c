"""What a timeline says in words and sums: how often what was done, where the time went, and what was slowest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from agents.models import Turn
from foundation.durations import format_seconds
from monitoring.trace.timeline import PartKind, Timeline, TimelinePart

# Where parts overlap, the first of these has the time: what runs inside of another part is what one waits for.
_PRECEDENCE: Final = (
    PartKind.MODEL, PartKind.TOOL, PartKind.RECALL, PartKind.FALLBACK, PartKind.PAUSE, PartKind.APPROVAL, PartKind.WAIT,
    PartKind.QUEUE, PartKind.CONTEXT, PartKind.ADMISSION, PartKind.OTHER, PartKind.DELIVERY,
)  # fmt: skip
KIND_LABELS: Final[Mapping[PartKind, str]] = {
    PartKind.ADMISSION: "taking the message",
    PartKind.QUEUE: "the queue",
    PartKind.CONTEXT: "reading the context",
    PartKind.RECALL: "the search for memories",
    PartKind.PAUSE: "pauses before another attempt",
    PartKind.MODEL: "models",
    PartKind.TOOL: "tools",
    PartKind.FALLBACK: "fallbacks",
    PartKind.WAIT: "waiting without a runner",
    PartKind.APPROVAL: "waiting for a person's approval",
    PartKind.DELIVERY: "delivery",
    PartKind.OTHER: "other parts",
}
_SLOWEST: Final = 3


@dataclass(frozen=True, slots=True)
class TimeShare:
    """The seconds that are one kind of part's, "platform" for what no part has, and their percent of the whole."""

    name: str
    label: str
    seconds: float
    percent: float


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """The sums of a trace. `seconds` and `first_word_seconds` are from when it was queued; None: there was no word."""

    seconds: float
    first_word_seconds: float | None
    model_calls: int
    failed_model_calls: int
    tool_calls: int
    failed_tool_calls: int
    waits: int
    claims: int
    routes: Sequence[str]
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: str | None
    shares: Sequence[TimeShare]
    slowest: Sequence[TimelinePart]

    def sentences(self) -> list[str]:
        """The summary in words."""
        return [sentence for sentence in (self._time(), self._shares(), self._counts(), self._slowest()) if sentence]

    def _time(self) -> str:
        first = self.first_word_seconds
        word = f"; the first word came after {format_seconds(first)}" if first is not None else ""
        return f"It took {format_seconds(self.seconds)} in all{word}."

    def _shares(self) -> str:
        shares = [
            f"{share.label} {format_seconds(share.seconds)} ({share.percent:.0f} %)"
            for share in self.shares
            if share.percent >= 0.5
        ]
        return f"Where the time went: {', '.join(shares)}." if shares else ""

    def _counts(self) -> str:
        calls = _count(self.model_calls, "call of a model", "calls of models", self.failed_model_calls)
        tools = _count(self.tool_calls, "call of a tool", "calls of tools", self.failed_tool_calls)
        waits = f"{self.waits} wait{'' if self.waits == 1 else 's'} without a runner" if self.waits else ""
        claims = f"taken by runners {self.claims} times" if self.claims > 1 else ""
        counts = [one for one in (calls, tools, waits, claims) if one]
        return f"It had {', '.join(counts)}." if counts else ""

    def _slowest(self) -> str:
        slowest = [f"{_part_name(part)} {format_seconds(part.seconds)}" for part in self.slowest]
        return f"Slowest: {', '.join(slowest)}." if len(slowest) > 1 else ""

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON."""
        return {
            "seconds": round(self.seconds, 3),
            "first_word_seconds": None if self.first_word_seconds is None else round(self.first_word_seconds, 3),
            "model_calls": self.model_calls,
            "failed_model_calls": self.failed_model_calls,
            "tool_calls": self.tool_calls,
            "failed_tool_calls": self.failed_tool_calls,
            "waits": self.waits,
            "claims": self.claims,
            "routes": list(self.routes),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": self.cost_usd,
            "time": {share.name: round(share.seconds, 3) for share in self.shares},
            "slowest": [
                {"kind": part.kind.value, "name": part.name, "seconds": round(part.seconds, 3)} for part in self.slowest
            ],
            "words": self.sentences(),
        }


def summarize(turn: Turn, timeline: Timeline, *, now: datetime) -> TraceSummary:
    """The summary of the timeline of `turn`."""
    end = turn.finished_at or now
    models, tools = (_of(timeline, kind) for kind in (PartKind.MODEL, PartKind.TOOL))
    first_tokens = [part.first_token_at for part in models if part.first_token_at is not None]
    work = [part for part in timeline.parts if part.kind is not PartKind.DELIVERY]
    return TraceSummary(
        seconds=max(0.0, (end - turn.queued_at).total_seconds()),
        first_word_seconds=max(0.0, (min(first_tokens) - turn.queued_at).total_seconds()) if first_tokens else None,
        model_calls=len(models),
        failed_model_calls=sum(part.failed for part in models),
        tool_calls=len(tools),
        failed_tool_calls=sum(part.failed for part in tools),
        waits=len(_of(timeline, PartKind.WAIT)),
        claims=turn.epoch,
        routes=list(dict.fromkeys(part.name for part in models if part.step is not None and part.step.name)),
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        cost_usd=None if turn.cost_usd is None else f"{turn.cost_usd:f}",
        shares=_shares(timeline, turn.queued_at, end),
        slowest=sorted(work, key=lambda part: -part.seconds)[:_SLOWEST],
    )


def _of(timeline: Timeline, kind: PartKind) -> list[TimelinePart]:
    return [part for part in timeline.parts if part.kind is kind]


def _shares(timeline: Timeline, start: datetime, end: datetime) -> list[TimeShare]:
    """Whose the time from `start` to `end` was, the longest first. Each moment is counted once."""
    seconds: dict[PartKind | None, float] = {}
    parts = [part for part in timeline.parts if part.kind is not PartKind.DELIVERY]
    moments = sorted({start, end, *_moments(parts, start, end)})
    for begin, until in pairwise(moments):
        running = {part.kind for part in parts if part.started_at <= begin and part.ended_at >= until}
        kind = next((kind for kind in _PRECEDENCE if kind in running), None)
        seconds[kind] = seconds.get(kind, 0.0) + (until - begin).total_seconds()
    total = (end - start).total_seconds()
    return [
        TimeShare(
            "platform" if kind is None else kind.value,
            "Bandstand itself" if kind is None else KIND_LABELS[kind],
            length,
            100 * length / total if total > 0 else 0.0,
        )
        for kind, length in sorted(seconds.items(), key=lambda item: -item[1])
    ]


def _moments(parts: Iterable[TimelinePart], start: datetime, end: datetime) -> Iterable[datetime]:
    for part in parts:
        yield from (at for at in (part.started_at, part.ended_at) if start < at < end)


def _count(number: int, singular: str, plural: str, failed: int) -> str:
    if not number:
        return ""
    of = f" ({failed} failed)" if failed else ""
    return f"{number} {singular if number == 1 else plural}{of}"


def _part_name(part: TimelinePart) -> str:
    if part.step is not None:
        return f"step {part.step.number} ({part.name})"
    return KIND_LABELS[part.kind]
