"""From figures of turns and calls to counters and histograms."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from agents.domain.duration_buckets import BUCKET_COUNT
from agents.domain.failures import ErrorClass
from monitoring.figures import CallFigures, Histogram, TurnFigures
from monitoring.prometheus import families
from monitoring.prometheus.counters import MAX_NAMES, OTHER, AgentNames, add_calls, add_turns
from monitoring.prometheus.families import Distribution, Figures

DEMO, SUPPORT, GONE = (UUID(int=number) for number in range(1, 4))
NAMES = AgentNames({DEMO: "demo", SUPPORT: "support"}, ["demo"], frozenset())
NONE = Histogram(0, 0.0, None, None, (0,) * BUCKET_COUNT)


def durations(*counts: int, total: float = 0.0) -> Histogram:
    return Histogram(sum(counts), total, None, None, (*counts, *(0 for _ in range(BUCKET_COUNT - len(counts)))))


def turns(agent_id: UUID = DEMO, **changes: Any) -> TurnFigures:
    figures: dict[str, Any] = {
        "at": None, "agent_id": agent_id, "release_id": None, "status": "completed", "error_class": "", "turns": 1,
        "failed": 0, "completed": 1, "seconds": NONE, "queue": NONE, "first_token": NONE, "added": NONE,
        "input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(0), "cost_unknown": 0, "fallbacks": 0,
    }  # fmt: skip
    return TurnFigures(**figures | changes)


def calls(name: str = "openai:gpt-5-mini", **changes: Any) -> CallFigures:
    figures: dict[str, Any] = {
        "at": None, "agent_id": DEMO, "release_id": None, "operation": "model", "name": name, "error_class": "",
        "calls": 1, "failed": 0, "seconds": NONE, "first_token": NONE, "input_tokens": 0, "output_tokens": 0,
        "cost_usd": Decimal(0), "context_percent_mean": None, "context_percent_max": None,
    }  # fmt: skip
    return CallFigures(**figures | changes)


def read(*rows: TurnFigures, names: AgentNames = NAMES) -> Figures:
    figures = Figures()
    add_turns(figures, rows, names)
    return figures


def read_calls(*rows: CallFigures, tools: list[str] | None = None) -> Figures:
    figures = Figures()
    add_calls(figures, rows, tools or [])
    return figures


def test_turns_are_counted_by_agent_and_status() -> None:
    figures = read(
        turns(turns=5),
        turns(turns=2, status="failed", error_class="auth"),
        turns(turns=1, status="failed", error_class="transient"),
        turns(SUPPORT, turns=7),
    )
    counted = figures.values[families.TURNS]
    assert counted["demo", "completed"] == 5
    assert counted["demo", "failed"] == 3
    assert counted["support", "completed"] == 7


def test_what_has_not_happened_yet_begins_with_zero() -> None:
    figures = read()
    assert figures.values[families.TURNS] == {
        ("demo", status): 0 for status in ("completed", "failed", "cancelled", "expired")
    }
    assert figures.values[families.TURN_COST] == {("demo",): 0.0}
    classes = {error_class for (error_class,) in figures.values[families.TURN_FAILURES]}
    assert {"auth", "deadline", "unknown"} <= classes
    assert classes & {ErrorClass.SET_ASIDE.value, ErrorClass.CANCELLED.value} == set()


def test_failures_are_those_that_count_as_such() -> None:
    figures = read(
        turns(turns=3, failed=3, status="failed", error_class="auth"),
        turns(SUPPORT, turns=1, failed=1, status="failed", error_class="auth"),
        turns(turns=4, failed=0, status="failed", error_class="set_aside"),
    )
    counted = figures.values[families.TURN_FAILURES]
    assert counted["auth",] == 4
    assert sum(value for value in counted.values() if isinstance(value, int | float)) == 4


def test_an_agent_that_was_deleted_has_a_series_of_its_own() -> None:
    assert read(turns(GONE, turns=9)).values[families.TURNS][str(GONE), "completed"] == 9


def test_histograms_are_added_up_and_cumulative() -> None:
    figures = read(
        turns(seconds=durations(1, 2, total=0.1), queue=durations(3, total=0.2)),
        turns(status="failed", seconds=durations(0, 0, 4, total=0.8000004), queue=durations(1, total=0.05)),
        turns(SUPPORT, queue=durations(0, 1, total=0.08)),
    )
    seconds, queue = figures.values[families.TURN_SECONDS]["demo",], figures.values[families.TURN_QUEUE_SECONDS][()]
    assert isinstance(seconds, Distribution)
    assert isinstance(queue, Distribution)
    assert seconds.buckets[:4] == (("0.05", 1), ("0.1", 3), ("0.25", 7), ("0.5", 7))
    assert (seconds.buckets[-1], seconds.count, seconds.total) == (("+Inf", 7), 7, 0.9)
    assert (queue.buckets[:2], queue.count, queue.total) == ((("0.05", 4), ("0.1", 5)), 5, 0.33)


def test_a_sum_is_the_same_in_whatever_order_it_is_made() -> None:
    rows = [turns(seconds=durations(1, total=0.1 * 3**n), cost_usd=Decimal("0.00000001") * 7**n) for n in range(20)]
    one, other = read(*rows), read(*reversed(rows))
    for family in (families.TURN_SECONDS, families.TURN_COST):
        assert one.values[family] == other.values[family]


def test_more_agents_than_have_room_are_one_series() -> None:
    agents = {UUID(int=number): f"agent-{number}" if number < MAX_NAMES else OTHER for number in range(MAX_NAMES + 50)}
    names = AgentNames(agents, list(agents.values()), frozenset())
    figures = read(*(turns(agent_id, seconds=durations(1)) for agent_id in agents), names=names)
    assert figures.values[families.TURNS][OTHER, "completed"] == 50
    assert len(figures.values[families.TURN_SECONDS]) == MAX_NAMES + 1


def test_calls_have_the_names_of_opentelemetry() -> None:
    figures = read_calls(
        calls(calls=2, seconds=durations(2, total=0.06), first_token=durations(2), input_tokens=10, output_tokens=20),
        calls(calls=3, error_class="transient", seconds=durations(3), input_tokens=1),
        calls("clock", operation="tool", calls=4, seconds=durations(4)),
        calls("cached_response", operation="fallback", seconds=durations(1)),
        tools=["clock"],
    )
    model = ("chat", "openai", "gpt-5-mini")
    counts = {
        key: value.count
        for key, value in figures.values[families.OPERATION_SECONDS].items()
        if isinstance(value, Distribution)
    }
    assert counts == {
        (*model, "", ""): 2,
        (*model, "", "transient"): 3,
        ("execute_tool", "", "", "clock", ""): 4,
    }
    assert figures.values[families.FIRST_CHUNK_SECONDS].keys() == {model}
    # Of calls that succeeded: nobody knows what a broken one has used.
    assert figures.values[families.TOKEN_USAGE] == {
        (*model, "input"): Distribution(2, 10),
        (*model, "output"): Distribution(2, 20),
    }


def test_names_that_models_invent_are_one_series() -> None:
    invented = [calls(f"tool-{number}", operation="tool", seconds=durations(1)) for number in range(1000)]
    figures = read_calls(
        *invented, calls("clock", operation="tool", seconds=durations(1)), tools=["calculator", "clock"]
    )
    tools = {key[3] for key in figures.values[families.OPERATION_SECONDS]}
    assert tools == {"clock", OTHER}


def test_more_routes_than_have_room_are_one_series() -> None:
    figures = read_calls(*(calls(f"openai:m{number:04}", seconds=durations(1)) for number in range(MAX_NAMES + 7)))
    counts = figures.values[families.OPERATION_SECONDS]
    assert len(counts) == MAX_NAMES + 1
    rest = counts["chat", OTHER, "", "", ""]
    assert isinstance(rest, Distribution)
    assert rest.count == 7
