"""Values over windows of whole minutes, from the rollups of turns and calls with their live tail.

Live evaluation and backtest read the same: a window ends with the last minute that is over, so that what is added to a
minute while it lasts makes no difference.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

from agents.domain.failures import SILENT_CLASSES
from agents.journal.queries import fetch
from agents.journal.rollup_sql import CALLS, TURNS, Rollup, read_statement
from agents.models import Agent, Release, RollupWidth
from monitoring.alerts.label_sets import LabelSet, check_size, make_label_set
from monitoring.alerts.window_formulas import MinuteSums

MINUTE: Final = timedelta(minutes=1)
# A turn that ends in the last moment of a minute is committed a little later.
SETTLE: Final = timedelta(seconds=5)

# Whole minutes since 1970: it is cheaper to read than a time.
_MINUTE_OF_ROW: Final = "(extract(epoch FROM at) / 60)::bigint"
# What metrics count besides the counters of the rollups, and the counter that it is part of.
_FAILED: Final[Mapping[str, tuple[str, str]]] = {
    TURNS.table: (
        "coalesce(sum(turns) FILTER (WHERE status IN ('failed', 'expired') "
        "AND error_class <> ALL(%(quiet)s)), 0)::bigint",
        "turns",
    ),
    CALLS.table: (
        "coalesce(sum(calls) FILTER (WHERE error_class <> '' AND error_class <> ALL(%(quiet)s)), 0)::bigint",
        "calls",
    ),
}
# The labels, and the keys of the rollups that have their values.
_KEYS: Final = {"agent": "agent_id", "release": "release_id", "operation": "operation", "name": "name"}
_SELECTED_BY_ID: Final = ("agent", "release")
# A counter of our own: 1 for each minute that has a row.
_PRESENT: Final = "present"
# Turns or calls, without those that raise no alert.
FAILED: Final = "failed"

# The minute since 1970, and the counters of the formula.
_Row = tuple[int, Sequence[Any]]


class Formula(Protocol):
    """What a value is made of."""

    @property
    def counters(self) -> Sequence[str]:
        """The counters that it needs."""
        ...

    def evaluate(self, sums: MinuteSums, start: int, end: int) -> float | None:
        """The value of the window from minute `start` to before `end`; None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class WindowSource:
    """The rollup whose counters are added up, and the formula of a value."""

    rollup: Rollup
    formula: Formula


def read_window_values(
    source: WindowSource,
    *,
    labels: Mapping[str, str],
    group_by: Sequence[str],
    window: timedelta,
    at: Sequence[datetime],
) -> dict[LabelSet, list[float | None]]:
    """See `monitoring.alerts.metrics.read_values`. Up to three statements. Raises `ValueError` for too many values."""
    minutes = max(1, -(-window // MINUTE))
    ends = [window_end(moment) for moment in at]
    first, last = min(ends) - minutes * MINUTE, max(ends)
    length = (last - first) // MINUTE
    # Many times share a window.
    until = {end: (end - first) // MINUTE for end in ends}
    values: dict[LabelSet, list[float | None]] = {}
    groups = _read_rows(source, labels, group_by, first, last)
    check_size(len(groups), len(at))
    if len(at) > 1:
        check_size(len(groups), length)
    for label_set, rows in groups.items():
        sums = _sum_minutes(source, rows, first, length)
        computed = {
            end: source.formula.evaluate(sums, number - minutes, number)
            # A group without anything is not there; without groups, its number is 0.
            if not group_by or sums.total(_PRESENT, number - minutes, number)
            else None
            for end, number in until.items()
        }
        values[label_set] = [computed[end] for end in ends]
    return values


def window_end(moment: datetime) -> datetime:
    """The end of the last window that is over at a moment."""
    return (moment - SETTLE).astimezone(UTC).replace(second=0, microsecond=0)


def _sum_minutes(source: WindowSource, rows: Sequence[_Row], first: datetime, length: int) -> MinuteSums:
    names = _counters(source)
    columns = zip(*(counters for _, counters in rows), strict=True) if rows else ((),) * len(names)
    start = int(first.timestamp()) // 60
    minutes = [minute - start for minute, _ in rows]
    return MinuteSums(length, minutes, {_PRESENT: [1] * len(rows), **dict(zip(names, columns, strict=True))})


def _counters(source: WindowSource) -> list[str]:
    """The names of what is read for each minute, in the order of the columns."""
    names = [name for name in source.formula.counters if name != FAILED]
    if FAILED not in source.formula.counters:
        return names
    counter = _FAILED[source.rollup.table][1]
    return [FAILED, *dict.fromkeys((*names, counter))]


def _read_rows(
    source: WindowSource, labels: Mapping[str, str], group_by: Sequence[str], first: datetime, last: datetime
) -> dict[LabelSet, list[_Row]]:
    """The counters of each minute in which there was something, of what `labels` select, by set of labels."""
    rows: dict[LabelSet, list[_Row]] = {} if group_by else {(): []}
    selection = _select(labels)
    if selection is None:
        return rows
    # The statement selects by agent and release only. What is selected by another label has one value after that.
    selected = {label: value for label, value in labels.items() if label not in _SELECTED_BY_ID}
    keys = [label for label in _KEYS if label in group_by or label in selected]
    by_key: dict[tuple[Any, ...], list[_Row]] = {}
    width = 1 + len(keys)
    for record in _fetch(source, selection, keys, first, last):
        by_key.setdefault(record[1:width], []).append((record[0], record[width:]))
    names = _read_names(keys, by_key)
    for key, minutes in by_key.items():
        of_labels = {label: names.get(value, str(value)) for label, value in zip(keys, key, strict=True)}
        if all(of_labels[label] == value for label, value in selected.items()):
            rows[make_label_set((label, of_labels[label]) for label in group_by)] = minutes
    return rows


def _fetch(
    source: WindowSource, selection: Mapping[str, UUID], labels: Sequence[str], first: datetime, last: datetime
) -> list[tuple[Any, ...]]:
    names = _counters(source)
    statement = read_statement(
        source.rollup,
        groups={"at": _MINUTE_OF_ROW, **{_KEYS[label]: _KEYS[label] for label in labels}},
        counts={FAILED: _FAILED[source.rollup.table][0]} if FAILED in names else {},
        counters=[name for name in names if name != FAILED],
        # A turn may go on for longer than a window while its calls fail.
        open_turns=source.rollup is CALLS,
    )
    params = {
        "widths": [RollupWidth.MINUTE.value],
        "firsts": [first],
        "lasts": [last],
        "since": first,
        "until": last,
        "agent": selection.get("agent"),
        "release": selection.get("release"),
        "quiet": list(SILENT_CLASSES),
    }
    return fetch(statement, params)


def _select(labels: Mapping[str, str]) -> dict[str, UUID] | None:
    """The ids of the selected agent and release; None if there is no such thing."""
    selection: dict[str, UUID] = {}
    if "agent" in labels:
        agent_id = Agent.objects.filter(slug=labels["agent"]).values_list("pk", flat=True).first()
        if agent_id is None:
            return None
        selection["agent"] = agent_id
    if "release" in labels:
        slug, _, number = labels["release"].rpartition("/")
        releases = (
            Release.objects.filter(agent__slug=slug, number=number) if number.isdecimal() else Release.objects.none()
        )
        release_id = releases.values_list("pk", flat=True).first()
        if release_id is None:
            return None
        selection["release"] = release_id
    return selection


def _read_names(labels: Sequence[str], keys: Collection[Sequence[Any]]) -> dict[Any, str]:
    """The slugs of agents, and of releases with their numbers, by their ids."""
    names: dict[Any, str] = {}
    if "agent" in labels:
        ids = {key[labels.index("agent")] for key in keys}
        names.update(Agent.objects.filter(pk__in=ids).values_list("pk", "slug"))
    if "release" in labels:
        ids = {key[labels.index("release")] for key in keys}
        releases = Release.objects.filter(pk__in=ids).values_list("pk", "agent__slug", "number")
        names.update((pk, f"{slug}/{number}") for pk, slug, number in releases)
    return names
