"""The timeline of a turn: its parts from its rows and spans, what they sum up to, and their bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from agents.models import Step, Turn
from monitoring.trace.summary import summarize
from monitoring.trace.timeline import PartKind, Timeline, TurnEvent, make_timeline
from monitoring.trace.waterfall import WIDTH, make_waterfall

BEGIN = datetime(2026, 5, 4, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Recorded:
    name: str
    started_at: datetime
    ended_at: datetime
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error_type: str = ""


def turn(**columns: Any) -> Turn:
    given = {"queued_at": at(0), "started_at": at(1), "finished_at": at(10), "status": "completed", "epoch": 1}
    return Turn(pk=uuid4(), **{**given, **columns})


def step(number: int, kind: str, begin: float, end: float | None, **columns: Any) -> Step:
    status = "intent" if end is None else "done"
    finished_at = None if end is None else at(end)
    return Step(
        pk=number,
        number=number,
        kind=kind,
        started_at=at(begin),
        finished_at=finished_at,
        **{"status": status, **columns},
    )


CALL = step(1, "model", 1, 5, name="openai:a", details={"seconds": 3, "first_token_seconds": 1, "recall_seconds": 0.5})
STEPS = [
    CALL,
    step(2, "tool", 5, 6, name="clock", status="failed"),
    step(3, "model", 6, 10, name="openai:a", details={"seconds": 2, "pause_seconds": 1.5}),
]


def parts(timeline: Timeline) -> list[tuple[str, float, float]]:
    return [
        (part.kind.value, (part.started_at - BEGIN).total_seconds(), (part.ended_at - BEGIN).total_seconds())
        for part in timeline.parts
    ]


def test_the_parts_of_a_turn_are_made_of_its_steps() -> None:
    timeline = make_timeline(turn(), STEPS, [], [], now=at(99))
    assert parts(timeline) == [
        ("queue", 0, 1),
        ("context", 1, 2),
        ("recall", 1.5, 2),
        ("model", 2, 5),
        ("tool", 5, 6),
        ("pause", 6.5, 8),
        ("model", 8, 10),
    ]
    assert timeline.parts[3].first_token_at == at(3)
    assert (timeline.seconds, timeline.parts[4].failed, timeline.parts[3].failed) == (10, True, False)


def test_the_time_is_counted_once_and_said_in_words() -> None:
    one = turn(input_tokens=7, output_tokens=3, cost_usd=Decimal("0.0100"))
    summary = summarize(one, make_timeline(one, STEPS, [], [], now=at(99)), now=at(99))
    assert {share.name: share.seconds for share in summary.shares} == {
        "model": 5, "pause": 1.5, "queue": 1, "tool": 1, "context": 0.5, "recall": 0.5, "platform": 0.5,
    }  # fmt: skip
    assert summary.sentences() == [
        "It took 10.0 s in all; the first word came after 3.0 s.",
        "Where the time went: models 5.0 s (50 %), pauses before another attempt 1.5 s (15 %), the queue 1.0 s (10 %), "
        "tools 1.0 s (10 %), reading the context 500 ms (5 %), the search for memories 500 ms (5 %), "
        "Bandstand itself 500 ms (5 %).",
        "It had 2 calls of models, 1 call of a tool (1 failed).",
        "Slowest: step 1 (openai:a) 3.0 s, step 3 (openai:a) 2.0 s, pauses before another attempt 1.5 s.",
    ]
    found = summary.as_json()
    assert (found["routes"], found["cost_usd"], found["input_tokens"]) == (["openai:a"], "0.0100", 7)
    assert sum(found["time"].values()) == found["seconds"] == 10


def test_spans_are_more_exact_than_what_steps_say_and_late_readers_are_counted() -> None:
    spans = [
        Recorded("bandstand.admission", at(-0.2), at(0)),
        Recorded("bandstand.context", at(1), at(1.7)),
        Recorded("search_memory", at(1.2), at(1.6), error_type="TimeoutError"),
        Recorded("bandstand.delivery", at(3), at(10.5), {"bandstand.transport": "sse"}),
        Recorded("bandstand.delivery", at(500), at(501)),
        Recorded("embeddings", at(1.3), at(1.4)),
    ]
    timeline = make_timeline(turn(), STEPS, [], spans, now=at(999))
    kinds = [part.kind for part in timeline.parts]
    assert kinds.count(PartKind.CONTEXT) == kinds.count(PartKind.RECALL) == kinds.count(PartKind.DELIVERY) == 1
    assert (timeline.late_followers, timeline.started_at, timeline.ended_at) == (1, at(-0.2), at(10.5))
    labels = [row.label for row in make_waterfall(timeline).rows]
    assert labels[0] == "taking the message"
    assert {"delivery, sse", "embeddings"} <= set(labels)


def test_a_turn_that_waits_and_comes_back_has_a_wait_and_a_context_of_each_claim() -> None:
    steps: Sequence[Step] = [CALL, step(2, "model", 8, 10, name="openai:b", details={"seconds": 1.5})]
    events = [
        TurnEvent("turn.started", at(1)),
        TurnEvent("turn.retry_wait", at(5)),
        TurnEvent("turn.started", at(7.9)),
    ]
    timeline = make_timeline(turn(epoch=2), steps, events, [], now=at(99))
    assert ("wait", 5, 7.9) in parts(timeline)
    assert [one for one in parts(timeline) if one[0] == "context"] == [("context", 1, 2), ("context", 7.9, 8.5)]
    waiting = turn(epoch=1, status="retry_wait", finished_at=None)
    timeline = make_timeline(waiting, [CALL], events[:2], [], now=at(20))
    [wait] = [part for part in timeline.parts if part.kind is PartKind.WAIT]
    assert (wait.is_open, wait.ended_at) == (True, at(20))
    assert "taken by runners 2 times" in " ".join(
        summarize(turn(epoch=2), make_timeline(turn(epoch=2), steps, events, [], now=at(99)), now=at(99)).sentences()
    )


def test_the_wait_before_a_first_call_is_no_reading_of_the_context() -> None:
    parked = step(1, "model", 1, 10, name="openai:a", details={"seconds": 2.0})
    events = [TurnEvent("turn.started", at(1)), TurnEvent("turn.retry_wait", at(1.1)), TurnEvent("turn.started", at(7))]
    timeline = make_timeline(turn(epoch=2), [parked], events, [], now=at(99))
    assert parts(timeline) == [("queue", 0, 1), ("wait", 1.1, 7), ("context", 7, 8), ("model", 8, 10)]


def test_what_has_not_ended_goes_on_until_now() -> None:
    queued = turn(started_at=None, finished_at=None, status="queued", epoch=0)
    timeline = make_timeline(queued, [], [], [], now=at(3))
    assert parts(timeline) == [("queue", 0, 3)]
    assert timeline.parts[0].is_open
    running = turn(finished_at=None, status="running")
    timeline = make_timeline(running, [step(1, "model", 1, None)], [], [], now=at(4))
    assert (parts(timeline)[-1], timeline.parts[-1].is_open) == (("model", 1, 4), True)
    [*_, row] = make_waterfall(timeline).rows
    assert (row.state, row.first_token_x, row.x + row.width) == ("not ended", None, WIDTH)


def test_every_bar_can_be_seen_and_stands_within_the_picture() -> None:
    steps = [step(1, "model", 1, 10, name="a", details={"first_token_seconds": 50}), step(2, "tool", 10, 10, name="b")]
    waterfall = make_waterfall(make_timeline(turn(), steps, [], [], now=at(10)))
    for row in waterfall.rows:
        assert 0 <= row.x < row.x + row.width <= WIDTH
        assert row.first_token_x is None or row.first_token_x <= WIDTH
    assert waterfall.marks == ["0 ms", "2.5 s", "5.0 s", "7.5 s"]
    empty = make_timeline(turn(started_at=at(0), finished_at=at(0)), [], [], [], now=at(0))
    assert [row.width for row in make_waterfall(empty).rows] == [4]
