"""Read ended turns for the export of their traces: a few statements for many turns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from agents.domain.message_parts import plain_text
from agents.models import Message, Step, Turn
from monitoring.models import TraceSettings
from monitoring.otlp.turn_traces import SpanRow, StepRow, TraceSpan, TurnRow, turn_trace
from monitoring.secret_scrubber import secret_scrubber
from monitoring.spans.reading import spans_of_turns

_TURN: Final = (
    "id", "agent_session_id", "agent_session__agent_id", "agent_session__agent__name", "release__number", "status",
    "queued_at", "started_at", "finished_at", "error_class", "input_tokens", "output_tokens", "cost_usd", "fallback",
)  # fmt: skip
_STEP: Final = (
    "number", "kind", "name", "started_at", "finished_at", "call_id", "error_class", "input_tokens", "output_tokens",
    "cost_usd", "details",
)  # fmt: skip


def read_traces(turn_ids: Collection[UUID]) -> dict[UUID, list[TraceSpan]]:
    """The traces of ended turns, in the order of their ids. Those that are gone, or have not ended, are left out."""
    rows = list(
        Turn.objects.filter(pk__in=turn_ids, finished_at__isnull=False)
        .select_related(None)
        .order_by("pk")
        .values(*_TURN)
    )
    if not rows:
        return {}
    found = [row["id"] for row in rows]
    open_agents = frozenset(TraceSettings.objects.filter(exports_content=True).values_list("agent_id", flat=True))
    with_content = [row["id"] for row in rows if row["agent_session__agent_id"] in open_agents]
    texts, steps = _texts(with_content), _steps(found, with_content)
    since, until = min(row["queued_at"] for row in rows), max(row["finished_at"] for row in rows)
    spans: Mapping[UUID, list[SpanRow]] = defaultdict(list)
    for span in spans_of_turns(found, since, until):
        spans[span.turn_id].append(
            SpanRow(span.id, span.name, span.started_at, span.ended_at, span.error_type, span.attributes)
        )
    traces = {
        row["id"]: turn_trace(_turn(row, texts.get(row["id"], {})), steps[row["id"]], spans[row["id"]]) for row in rows
    }
    scrub = secret_scrubber() if with_content else None
    return traces if scrub is None else {turn_id: _scrubbed(trace, scrub) for turn_id, trace in traces.items()}


def _scrubbed(trace: Iterable[TraceSpan], scrub: Callable[[str], str]) -> list[TraceSpan]:
    """`trace` without the secrets that somebody has written, or a tool has returned."""
    return [
        replace(
            span,
            attributes={
                name: scrub(value) if isinstance(value, str) else value for name, value in span.attributes.items()
            },
        )
        for span in trace
    ]


def _turn(row: Mapping[str, Any], texts: Mapping[str, str]) -> TurnRow:
    names = ("id", "session_id", "agent_id", "agent_name", "release_number", *_TURN[5:])
    fields: dict[str, Any] = dict(zip(names, (row[name] for name in _TURN), strict=True))
    return TurnRow(**fields, question=texts.get(Message.Author.USER, ""), answer=texts.get(Message.Author.AGENT, ""))


def _steps(turn_ids: Sequence[UUID], with_content: Sequence[UUID]) -> Mapping[UUID, list[StepRow]]:
    """Steps with an outcome, which all steps of an ended turn have."""
    # The content, which may be large, is only read where it is exported.
    content = {
        (turn_id, number): (request, result)
        for turn_id, number, request, result in Step.objects.filter(turn_id__in=with_content).values_list(
            "turn_id", "number", "request", "result"
        )
    }
    steps: Mapping[UUID, list[StepRow]] = defaultdict(list)
    rows = Step.objects.filter(turn_id__in=turn_ids, finished_at__isnull=False).order_by("turn_id", "number")
    for turn_id, *row in rows.values_list("turn_id", *_STEP):
        fields: dict[str, Any] = dict(zip(_STEP, row, strict=True))
        request, result = content.get((turn_id, fields["number"]), (None, None))
        steps[turn_id].append(StepRow(**fields, request=request, result=result))
    return steps


def _texts(turn_ids: Iterable[UUID]) -> Mapping[UUID, dict[str, str]]:
    """By turn and author, what was said in it."""
    texts: Mapping[UUID, dict[str, str]] = defaultdict(dict)
    rows = Message.objects.filter(turn_id__in=list(turn_ids)).order_by("ordinal")
    for turn_id, author, parts in rows.values_list("turn_id", "author", "parts"):
        texts[turn_id][author] = plain_text(parts)
    return texts
