"""The counters and histograms: all that ever ended, from the figures that no deletion lowers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Final
from uuid import UUID

from django.db import connection

from agents.domain.duration_buckets import DURATION_BOUNDS
from agents.domain.failures import ErrorClass
from agents.domain.states import TERMINAL, StepKind
from agents.management.demo.agents_and_users import PREFIX
from agents.models import Agent
from monitoring.figures import By, CallFigures, Histogram, TurnFigures, read_call_figures, read_turn_figures
from monitoring.prometheus import families
from monitoring.prometheus.families import Distribution, Family, Figures

# So many agents, routes and tools have series of their own; the others are one series together, called OTHER.
MAX_NAMES: Final = 100
OTHER: Final = "other"

_BOUNDS: Final = (*map(str, DURATION_BOUNDS), "+Inf")
_EMPTY: Final = (0,) * len(_BOUNDS)
# Of the kinds of steps those that OpenTelemetry has a name for.
_OPERATIONS: Final = {StepKind.MODEL.value: "chat", StepKind.TOOL.value: "execute_tool"}

# A model may call tools that do not exist, by any name: only what a release has ever allowed has a series.
_TOOLS: Final = """
SELECT DISTINCT tool FROM agents_release, jsonb_array_elements_text(
  CASE jsonb_typeof(configuration -> 'tools') WHEN 'array' THEN configuration -> 'tools' ELSE '[]' END) AS tool
ORDER BY tool
"""


@dataclass(frozen=True, slots=True)
class AgentNames:
    """What agents are called in labels: `by_id`, and `live` those that are not archived. `demo`: made-up ones."""

    by_id: Mapping[UUID, str]
    live: Sequence[str]
    demo: frozenset[UUID]

    def label(self, agent_id: UUID | None) -> str:
        """The slug; the id of an agent that was deleted, so that no other series changes."""
        return self.by_id.get(agent_id, str(agent_id)) if agent_id is not None else OTHER


class Sum:
    """The sum of histograms."""

    def __init__(self) -> None:
        self.total = 0.0
        self.buckets = _EMPTY

    def add(self, histogram: Histogram) -> None:
        self.total += histogram.total
        self.buckets = tuple(map(sum, zip(self.buckets, histogram.buckets, strict=True)))

    def distribution(self) -> Distribution:
        """As Prometheus has it: each bucket counts all that is at most its bound."""
        counts = tuple(accumulate(self.buckets))
        # To milliseconds: sums in another order differ in the last bits, and one that falls looks like a restart.
        return Distribution(counts[-1], round(self.total, 3), tuple(zip(_BOUNDS, counts, strict=True)))


class Sums:
    """Sums by labels, for the families of one reading."""

    def __init__(self) -> None:
        self._sums: dict[Family, dict[tuple[str, ...], Sum]] = {}

    def add(self, family: Family, histogram: Histogram, *labels: str) -> None:
        self._sums.setdefault(family, {}).setdefault(labels, Sum()).add(histogram)

    def write(self, figures: Figures) -> None:
        """Set the distributions in `figures`."""
        for family, sums in self._sums.items():
            for labels, one in sums.items():
                figures.set(family, one.distribution(), *labels)


def read_counters(figures: Figures) -> None:
    """Add the counters and histograms to `figures`: five statements, of which two read the counted figures."""
    before = read_agent_names()
    turns = read_turn_figures(None, None, by=(By.AGENT, By.STATUS, By.ERROR_CLASS))
    calls = read_call_figures(None, None, by=(By.AGENT, By.OPERATION, By.NAME, By.ERROR_CLASS))
    with connection.cursor() as cursor:
        cursor.execute(_TOOLS)
        tools = [row[0] for row in cursor.fetchall()]
    # A demo may come or go while the figures are read.
    names = read_agent_names()
    demo = before.demo | names.demo
    add_turns(figures, [turn for turn in turns if turn.agent_id not in demo], names)
    add_calls(figures, [call for call in calls if call.agent_id not in demo], tools)


def read_agent_names() -> AgentNames:
    """The agents in the order in which they were made: a new one takes no series from another."""
    by_id: dict[UUID, str] = {}
    live, demo = [], set()
    for agent_id, slug, archived_at in Agent.objects.order_by("pk").values_list("pk", "slug", "archived_at"):
        if slug.startswith(PREFIX):
            demo.add(agent_id)
            continue
        by_id[agent_id] = slug if len(by_id) < MAX_NAMES else OTHER
        if archived_at is None:
            live.append(by_id[agent_id])
    return AgentNames(by_id, live, frozenset(demo))


def add_turns(figures: Figures, turns: Iterable[TurnFigures], names: AgentNames) -> None:
    """Add what `turns`, by agent, status and error class, say; zeros for what could be, because the first increase of
    a series that begins with 1 is none for Prometheus."""
    for agent in names.live:
        for status in sorted(TERMINAL):
            figures.add(families.TURNS, 0, agent, status.value)
    for error_class in ErrorClass:
        if error_class.failure.alarms and error_class.failure.ends_turns:
            figures.add(families.TURN_FAILURES, 0, error_class.value)
    sums, costs = Sums(), dict.fromkeys(names.live, Decimal(0))
    for turn in turns:
        agent = names.label(turn.agent_id)
        figures.add(families.TURNS, turn.turns, agent, turn.status or "")
        figures.add(families.TURN_FALLBACKS, turn.fallbacks, agent)
        costs[agent] = costs.get(agent, Decimal(0)) + turn.cost_usd
        figures.add(families.TURN_COST_UNKNOWN, turn.cost_unknown, agent)
        if turn.failed:
            figures.add(families.TURN_FAILURES, turn.failed, turn.error_class or ErrorClass.UNKNOWN.value)
        sums.add(families.TURN_SECONDS, turn.seconds, agent)
        sums.add(families.TURN_FIRST_TOKEN_SECONDS, turn.first_token, agent)
        sums.add(families.TURN_QUEUE_SECONDS, turn.queue)
        sums.add(families.TURN_ADDED_SECONDS, turn.added)
    sums.write(figures)
    for agent, cost in costs.items():
        figures.set(families.TURN_COST, float(cost), agent)


def add_calls(figures: Figures, calls: Sequence[CallFigures], tools: Iterable[str]) -> None:
    """Add what `calls`, by operation, name and error class, say; `tools` are those that have series of their own."""
    sums = Sums()
    known_tools = frozenset(list(tools)[:MAX_NAMES])
    routes = {call.name or "" for call in calls if call.operation == StepKind.MODEL}
    known_routes = frozenset(sorted(routes)[:MAX_NAMES])
    tokens: dict[tuple[str, ...], tuple[int, int]] = {}
    for call in calls:
        operation, name = _OPERATIONS.get(call.operation or ""), call.name or ""
        if operation is None:
            continue
        if call.operation == StepKind.TOOL:
            labels: tuple[str, ...] = (operation, "", "")
            tool = name if name in known_tools else OTHER
        else:
            provider, _, model = name.partition(":") if name in known_routes else (OTHER, "", "")
            labels, tool = (operation, provider, model), ""
            sums.add(families.FIRST_CHUNK_SECONDS, call.first_token, *labels)
            if not call.error_class:
                for kind, used in (("input", call.input_tokens), ("output", call.output_tokens)):
                    count, total = tokens.get((*labels, kind), (0, 0))
                    tokens[(*labels, kind)] = (count + call.calls, total + used)
        sums.add(families.OPERATION_SECONDS, call.seconds, *labels, tool, call.error_class or "")
    sums.write(figures)
    for key, (count, total) in tokens.items():
        figures.set(families.TOKEN_USAGE, Distribution(count, total), *key)
