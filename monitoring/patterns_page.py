"""The page of performance patterns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from agents.models import Agent, Release
from console.formatting import NOTHING, format_count, format_money, format_percent, format_seconds, format_tokens
from foundation.clock import now
from monitoring.dashboard import VIEW_TURN, Metric, format_rate
from monitoring.list_links import TurnLinks
from monitoring.memory_patterns import MAX_SPANS
from monitoring.overview import read_range
from monitoring.patterns import Choice, OperationPattern, Pattern, Patterns, read_patterns
from monitoring.task_completion import Breakdown
from monitoring.time_ranges import RANGES

DEFAULT_RANGE: Final = RANGES["7d"]
# Of the lists of agents and of releases to choose from.
MAX_CHOICES: Final = 200


class UnknownChoice(BadRequest):
    """The address names a grouping, an agent or a release that there is not."""

    rule = "console_patterns"

    def __init__(self) -> None:
        super().__init__("There is no such agent, release or grouping.")


@dataclass(frozen=True, slots=True)
class TableCell:
    """A number of a table; `label` is the name of its column, for narrow screens."""

    label: str
    text: str
    address: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table by its name and cells."""

    name: str
    cells: Sequence[TableCell]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `first` is the name of its first column; `note` says how to read it."""

    key: str
    title: str
    first: str
    rows: Sequence[Row]
    note: str = ""

    @property
    def columns(self) -> Sequence[str]:
        return [cell.label for cell in self.rows[0].cells] if self.rows else []


def patterns_context(request: HttpRequest) -> dict[str, Any]:
    """The template context of the page. Raises `PermissionDenied` for users who may not see turns, `UnknownRange` and
    `UnknownChoice`."""
    if not request.user.has_perm(VIEW_TURN):
        raise PermissionDenied
    choice = read_choice(request)
    patterns = read_patterns(choice, now())
    links = TurnLinks(patterns.since, patterns.until, _filters(choice))
    return {
        "title": "Patterns",
        "patterns": patterns,
        "choice": choice,
        "ranges": [(one.name, _address(request, range=one.name)) for one in RANGES.values()],
        "groupings": [(one.value, one.value) for one in Breakdown],
        "agents": Agent.objects.order_by("name", "slug").values_list("pk", "name")[:MAX_CHOICES],
        "releases": Release.objects.filter(agent_id=choice.agent_id)
        .order_by("-number")
        .values_list("pk", "number")[:MAX_CHOICES]
        if choice.agent_id
        else [],
        "metrics": list(_metrics(patterns.total, links)),
        "tables": list(_tables(patterns, choice)),
    }


def read_choice(request: HttpRequest) -> Choice:
    """What the address asks for. Raises `UnknownRange` and `UnknownChoice`."""
    try:
        choice = Choice(
            read_range(request, DEFAULT_RANGE),
            Breakdown(request.GET.get("by") or Breakdown.AGENT),
            *(UUID(request.GET[name]) if request.GET.get(name) else None for name in ("agent", "release")),
        )
    except ValueError:
        raise UnknownChoice from None
    return require_known(choice)


def require_known(choice: Choice) -> Choice:
    """The choice, if its agent and release exist and belong together. Raises `UnknownChoice`."""
    if choice.agent_id is not None and not Agent.objects.filter(pk=choice.agent_id).exists():
        raise UnknownChoice
    if choice.release_id is not None:
        releases = Release.objects.filter(pk=choice.release_id)
        if not (releases.filter(agent_id=choice.agent_id) if choice.agent_id else releases).exists():
            raise UnknownChoice
    return choice


def _filters(choice: Choice) -> Mapping[str, str]:
    filters = {"agent": choice.agent_id, "release": choice.release_id}
    return {name: str(value) for name, value in filters.items() if value is not None}


def _address(request: HttpRequest, **changes: str) -> str:
    parameters = {name: request.GET[name] for name in ("by", "agent", "release") if request.GET.get(name)}
    return f"{reverse('admin:patterns')}?{urlencode({**parameters, **changes})}"


def _metrics(total: Pattern, links: TurnLinks) -> Iterator[Metric]:
    period, seconds = total.period, total.period.seconds
    yield Metric("Turns", f"{period.turns:,}", f"{format_rate(total.per_hour)} an hour", links.all())
    yield Metric("Completed", format_percent(period.completed_share), f"{period.completed:,} turns", links.completed())
    tasks = "too many turns to tell in time" if total.tasks_completed is None else f"{total.tasks_completed:,} turns"
    yield Metric("Tasks completed", format_percent(total.task_completion), tasks, "")
    yield Metric("Failed", format_percent(period.failed_share), f"{period.failed:,} turns", links.failed())
    yield Metric(
        "Response time",
        format_seconds(seconds.quantile(0.5)),
        f"p50; 95 % within {format_seconds(seconds.quantile(0.95))}",
        links.all(),
    )
    yield Metric(
        "Context",
        _percent(total.context.mean),
        f"of the window on average; most {_percent(total.context.max)}",
        "",
    )
    yield Metric(
        "Ratings", f"{total.ratings.total:,}", f"{total.ratings.up:,} up, {total.ratings.down:,} down", links.ratings()
    )
    yield Metric(
        "Cost",
        format_money(period.cost_usd, at_least=bool(period.cost_unknown)),
        format_tokens(period.input_tokens, period.output_tokens, at_least=bool(period.cost_unknown)),
        links.all(),
    )


def _tables(patterns: Patterns, choice: Choice) -> Iterator[Table]:
    groups = [(group, _group_links(group, patterns, choice)) for group in patterns.groups]
    first = patterns.by.value.capitalize()
    turn_rows = [Row(group.label, list(_turn_cells(group, links))) for group, links in groups]
    yield Table("turns", "Turns", first, turn_rows)
    yield Table(
        "seconds",
        "Response times",
        first,
        [Row(group.label, list(_seconds_cells(group))) for group, _ in groups],
        note="From the message to the end of its turn; the first word from the message, too. The platform's own part "
        "is what remains without the time of models and tools.",
    )
    yield Table(
        "use",
        "Context and memory",
        first,
        [Row(group.label, list(_use_cells(group))) for group, _ in groups],
        note="Context: the share of the model's window that a call used. Recalls are those of turns whose spans were "
        f"sampled, among the newest {MAX_SPANS:,} spans of the range.",
    )
    links = TurnLinks(patterns.since, patterns.until, _filters(choice))
    yield Table(
        "errors",
        "Errors by class",
        "Class",
        [
            Row(
                error.error_class,
                [
                    TableCell("Turns", f"{error.turns:,}", links.error_class(error.error_class)),
                    TableCell("Of all", format_percent(error.share)),
                ],
            )
            for error in patterns.errors
        ],
        note="Turns that ended with an error, also those that a retry has answered since.",
    )
    yield Table(
        "operations",
        "Errors by operation",
        "Operation",
        [
            Row(one.name or one.operation, list(_operation_cells(one)), note=one.operation)
            for one in patterns.operations
        ],
        note="Calls of models and tools. A failed call need not fail its turn: it may be tried again.",
    )


def _group_links(group: Pattern, patterns: Patterns, choice: Choice) -> TurnLinks:
    filters = dict(_filters(choice))
    since, until = patterns.since, patterns.until
    if isinstance(group.key, datetime):
        since, until = max(since, group.key), min(until, group.key + timedelta(days=1))
    elif group.key is not None:
        filters[patterns.by.value] = str(group.key)
    return TurnLinks(since, until, filters)


def _turn_cells(group: Pattern, links: TurnLinks) -> Iterator[TableCell]:
    period = group.period
    yield _count("Turns", period.turns, links.all())
    yield TableCell("Per hour", format_rate(group.per_hour))
    yield _count("Completed", period.completed, links.completed())
    yield _count("Failed", period.failed, links.failed())
    yield TableCell("Failed share", format_percent(period.failed_share))
    yield TableCell("Tasks completed", format_percent(group.task_completion))
    yield _count("Rated up", group.ratings.up, links.ratings("up"))
    yield _count("Rated down", group.ratings.down, links.ratings("down"))
    yield TableCell("Cost", format_money(period.cost_usd, at_least=bool(period.cost_unknown)))


def _count(label: str, number: int, address: str) -> TableCell:
    return TableCell(label, f"{number:,}", address if number else "")


def _seconds_cells(group: Pattern) -> Iterator[TableCell]:
    seconds = group.period.seconds
    yield TableCell("Mean", format_seconds(seconds.mean))
    yield TableCell("Min", format_seconds(seconds.min))
    yield TableCell("p50", format_seconds(seconds.quantile(0.5)))
    yield TableCell("p95", format_seconds(seconds.quantile(0.95)))
    yield TableCell("p99", format_seconds(seconds.quantile(0.99)))
    yield TableCell("Max", format_seconds(seconds.max))
    yield TableCell("First word, p50", format_seconds(group.period.first_token.quantile(0.5)))
    yield TableCell("First word, p95", format_seconds(group.period.first_token.quantile(0.95)))
    yield TableCell("In the queue, p95", format_seconds(group.period.queue.quantile(0.95)))
    yield TableCell("Platform's own, p95", format_seconds(group.period.added.quantile(0.95)))


def _use_cells(group: Pattern) -> Iterator[TableCell]:
    memory = group.memory
    yield TableCell("Context, mean", _percent(group.context.mean))
    yield TableCell("Context, max", _percent(group.context.max))
    yield TableCell("Input tokens", format_count(group.period.input_tokens))
    yield TableCell("Output tokens", format_count(group.period.output_tokens))
    yield TableCell("Memories stored", format_count(memory.stored))
    yield TableCell("Recalls", format_count(memory.recalls))
    yield TableCell("Recall, p50", format_seconds(memory.recall_p50))
    yield TableCell("Recall, p95", format_seconds(memory.recall_p95))


def _operation_cells(operation: OperationPattern) -> Iterator[TableCell]:
    yield TableCell("Calls", f"{operation.calls:,}")
    yield TableCell("Failed", f"{operation.failed:,}")
    yield TableCell("Failed share", format_percent(operation.failed_share))
    yield TableCell("p50", format_seconds(operation.seconds.quantile(0.5)))
    yield TableCell("p95", format_seconds(operation.seconds.quantile(0.95)))
    yield TableCell("Errors", ", ".join(f"{number:,} {name}" for name, number in operation.errors) or "none")


def _percent(percent: float | None) -> str:
    return NOTHING if percent is None else f"{percent:.0f} %"
