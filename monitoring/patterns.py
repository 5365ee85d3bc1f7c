"""Performance patterns: what turns came to in a range of time, per agent, release or day, and what went wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db import OperationalError
from django.db.models import Count, DateTimeField, F, Func, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import TruncDay

from agents.models import ANSWERED_LATER, FAILED, IN_PRODUCTION, Agent, Feedback, Release, Turn
from agents.sessions.rating_counts import RatingCounts
from foundation.db_timeouts import is_timeout, statement_timeout
from foundation.ids import id_time_sql, lowest_id
from monitoring.figures import By, CallFigures, Histogram, TurnFigures, read_call_figures, read_turn_figures
from monitoring.memory_patterns import AgentMemoryUse, group_memory_use
from monitoring.periods import MINUTE, Period, end_of_minute, sum_figures, sum_histograms
from monitoring.task_completion import Breakdown, count_refuted
from monitoring.time_ranges import DashboardRange

# The time limit of the one statement that reads turns, and not their counters.
REFUTED_SECONDS: Final = 5.0
# Ratings are selected by their ids, here and in the list. Their other times are of another clock: by these, a rating
# made about midnight could be in a day whose list does not have it.
_ID_TIME: Final = Func(F("pk"), template=id_time_sql("%(expressions)s"), output_field=DateTimeField())
_BY: Final = {Breakdown.AGENT: By.AGENT, Breakdown.RELEASE: By.RELEASE, Breakdown.DAY: By.DAY}


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How much of the models' windows calls used, in percent: None where no call says so."""

    mean: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Pattern:
    """The figures of a group. `key` is the id of an agent or of a release, or a day; None for all together.

    `tasks_completed` are turns that completed and whose task did (see `monitoring.task_completion`); None where there
    were too many turns to tell in time.
    """

    key: UUID | datetime | None
    label: str
    period: Period
    tasks_completed: int | None
    ratings: RatingCounts
    context: ContextUse
    memory: AgentMemoryUse

    @property
    def task_completion(self) -> float | None:
        """The share of tasks completed; None without turns, and where it is not known."""
        if self.tasks_completed is None or not self.period.turns:
            return None
        return self.tasks_completed / self.period.turns

    @property
    def per_hour(self) -> float:
        return 60 * self.period.per_minute


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    """The turns that ended badly with one class of error; "" is none, as of a turn that was cancelled."""

    error_class: str
    turns: int
    share: float


@dataclass(frozen=True, slots=True)
class OperationPattern:
    """The calls of a model, of a tool, or the fallbacks of one name. `errors` are the failed ones by class, the most
    frequent first."""

    operation: str
    name: str
    calls: int
    failed: int
    seconds: Histogram
    errors: Sequence[tuple[str, int]]

    @property
    def failed_share(self) -> float:
        return self.failed / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Patterns:
    """All of it; `groups` are in the order of their labels, days from the newest one."""

    since: datetime
    until: datetime
    by: Breakdown
    total: Pattern
    groups: Sequence[Pattern]
    errors: Sequence[ErrorPattern]
    operations: Sequence[OperationPattern]


@dataclass(frozen=True, slots=True)
class Choice:
    """What patterns are read of."""

    time_range: DashboardRange
    by: Breakdown = Breakdown.AGENT
    agent_id: UUID | None = None
    release_id: UUID | None = None


def read_patterns(choice: Choice, now: datetime) -> Patterns:
    """The patterns of the range that ends now. A bounded number of statements."""
    since, until = choice.time_range.since(now), end_of_minute(now)
    filters: dict[str, Any] = {"agent_id": choice.agent_id, "release_id": choice.release_id}
    turns = read_turn_figures(since, until, by=(_BY[choice.by], By.STATUS, By.ERROR_CLASS), **filters)
    calls = read_call_figures(since, until, by=(By.OPERATION, By.NAME, By.ERROR_CLASS), **filters)
    contexts = read_call_figures(since, until, by=(_BY[choice.by], By.OPERATION), **filters)
    figures = _Figures(
        minutes=(until - since) / MINUTE,
        turns=_grouped(turns, choice.by),
        answered_later=_answered_later(since, until, choice),
        refuted=_refuted(since, until, choice),
        ratings=_ratings(since, until, choice),
        contexts=_contexts(contexts, choice.by),
        memory=group_memory_use(since, until, by=choice.by, **filters),
    )
    overall = read_call_figures(since, until, by=(By.OPERATION,), **filters)
    labels = _labels(figures.keys(), choice.by)
    groups = [figures.pattern(key, label) for key, label in labels.items()]
    return Patterns(
        since=since,
        until=until,
        by=choice.by,
        total=figures.total(turns, next(iter(_contexts(overall, None).values()), ContextUse())),
        groups=groups,
        errors=_errors(turns),
        operations=_operations(calls),
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """What was read, by group."""

    minutes: float
    turns: Mapping[Any, Sequence[TurnFigures]]
    answered_later: Mapping[Any, int]
    refuted: Mapping[Any, int] | None
    ratings: Mapping[Any, RatingCounts]
    contexts: Mapping[Any, ContextUse]
    memory: Mapping[Any, AgentMemoryUse]

    def keys(self) -> set[Any]:
        return self.turns.keys() | self.ratings.keys()

    def pattern(self, key: Any, label: str) -> Pattern:
        minutes = min(self.minutes, 24 * 60) if isinstance(key, datetime) else self.minutes
        period = sum_figures(self.turns.get(key, ()), minutes, answered_later=self.answered_later.get(key, 0))
        return Pattern(
            key=key,
            label=label,
            period=period,
            tasks_completed=None if self.refuted is None else max(0, period.completed - self.refuted.get(key, 0)),
            ratings=self.ratings.get(key, RatingCounts()),
            context=self.contexts.get(key, ContextUse()),
            memory=self.memory.get(key, AgentMemoryUse()),
        )

    def total(self, turns: Sequence[TurnFigures], context: ContextUse) -> Pattern:
        period = sum_figures(turns, self.minutes, answered_later=sum(self.answered_later.values()))
        return Pattern(
            key=None,
            label="All",
            period=period,
            tasks_completed=None if self.refuted is None else max(0, period.completed - sum(self.refuted.values())),
            ratings=sum(self.ratings.values(), RatingCounts()),
            context=context,
            memory=self.memory.get(None, AgentMemoryUse()),
        )


def _refuted(since: datetime, until: datetime, choice: Choice) -> Mapping[Any, int] | None:
    """As `count_refuted`; None if that took too long."""
    try:
        with statement_timeout(REFUTED_SECONDS):
            return count_refuted(since, until, by=choice.by, agent_id=choice.agent_id, release_id=choice.release_id)
    except OperationalError as error:
        if not is_timeout(error):
            raise
        return None


def _key(row: TurnFigures | CallFigures, by: Breakdown | None) -> Any:
    match by:
        case Breakdown.AGENT:
            return row.agent_id
        case Breakdown.RELEASE:
            return row.release_id
        case Breakdown.DAY:
            return row.at
    return None


def _grouped(turns: Iterable[TurnFigures], by: Breakdown) -> Mapping[Any, Sequence[TurnFigures]]:
    groups: dict[Any, list[TurnFigures]] = defaultdict(list)
    for row in turns:
        groups[_key(row, by)].append(row)
    return groups


def _contexts(calls: Iterable[CallFigures], by: Breakdown | None) -> Mapping[Any, ContextUse]:
    """Only calls of models say how much they used, so that there is one row of each group."""
    return {
        _key(row, by): ContextUse(row.context_percent_mean, row.context_percent_max)
        for row in calls
        if row.context_percent_mean is not None
    }


def _ratings(since: datetime, until: datetime, choice: Choice) -> Mapping[Any, RatingCounts]:
    """The ratings of answers of a release that were given between the two times."""
    rows = Feedback.objects.filter(
        IN_PRODUCTION, pk__gte=lowest_id(since), pk__lt=lowest_id(until), release__isnull=False
    )
    if choice.agent_id is not None:
        rows = rows.filter(release__agent_id=choice.agent_id)
    if choice.release_id is not None:
        rows = rows.filter(release_id=choice.release_id)
    counts = (
        rows.order_by()
        .values(key=_column(choice.by, at=_ID_TIME))
        .annotate(up=Count("pk", filter=Q(value=1)), down=Count("pk", filter=Q(value=-1)))
    )
    return {row["key"]: RatingCounts(row["up"], row["down"]) for row in counts}


def _answered_later(since: datetime, until: datetime, choice: Choice) -> Mapping[Any, int]:
    """The failures whose question a later turn has answered; they are few, and an index has them."""
    # Said once more, or the planner does not see that the index of retried turns has them.
    retried = Turn.objects.filter(retried_by__isnull=False)
    turns = retried.filter(FAILED & ANSWERED_LATER, finished_at__gte=since, finished_at__lt=until)
    if choice.agent_id is not None:
        turns = turns.filter(release__agent_id=choice.agent_id)
    if choice.release_id is not None:
        turns = turns.filter(release_id=choice.release_id)
    rows = turns.order_by().values(key=_column(choice.by, at=F("finished_at"))).annotate(number=Count("pk"))
    return {row["key"]: row["number"] for row in rows}


def _column(by: Breakdown, *, at: Combinable) -> Any:
    """What rows with a release are grouped by; `at` is the time of a row, whose days are those of UTC."""
    match by:
        case Breakdown.AGENT:
            return F("release__agent_id")
        case Breakdown.RELEASE:
            return F("release_id")
        case Breakdown.DAY:
            return TruncDay(at, tzinfo=UTC)


def _labels(keys: set[Any], by: Breakdown) -> Mapping[Any, str]:
    """What the groups are called, in the order of the page."""
    if by is Breakdown.DAY:
        return {day: f"{day:%Y-%m-%d}" for day in sorted(keys, reverse=True)}
    rows: Any = (
        Agent.objects.filter(pk__in=keys)
        if by is Breakdown.AGENT
        else Release.objects.filter(pk__in=keys).select_related("agent").order_by("agent__name", "-number")
    )
    labels = {row.pk: row.name if isinstance(row, Agent) else str(row) for row in rows}
    if by is Breakdown.AGENT:
        labels = dict(sorted(labels.items(), key=lambda item: item[1].casefold()))
    return labels | dict.fromkeys(keys - labels.keys(), "deleted")


def _errors(turns: Sequence[TurnFigures]) -> Sequence[ErrorPattern]:
    """The most frequent first."""
    counts: Counter[str] = Counter()
    for row in turns:
        if row.error_class:
            counts[row.error_class] += row.turns
    total = sum(row.turns for row in turns)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ErrorPattern(name, number, number / total) for name, number in ordered]


def _operations(calls: Sequence[CallFigures]) -> Sequence[OperationPattern]:
    """By operation, those with the most calls first."""
    groups: dict[tuple[str, str], list[CallFigures]] = defaultdict(list)
    for row in calls:
        groups[row.operation or "", row.name or ""].append(row)
    operations = [
        OperationPattern(
            operation=operation,
            name=name,
            calls=sum(row.calls for row in rows),
            failed=sum(row.failed for row in rows),
            seconds=sum_histograms(row.seconds for row in rows),
            errors=Counter(
                {row.error_class: row.failed for row in rows if row.error_class and row.failed}
            ).most_common(),
        )
        for (operation, name), rows in groups.items()
    ]
    return sorted(operations, key=lambda one: (one.operation, -one.calls, one.name))
