"""When a rule would have fired: the state machine over a series of past values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.alerts.label_sets import LabelSet
from monitoring.alerts.state_machine import INACTIVE, AlertState, AlertStatus, Change, Terms, evaluate


@dataclass(frozen=True, slots=True)
class AlertFiring:
    """One time that an alert fired; `resolved_at` None: it still did at the end."""

    labels: LabelSet
    pending_at: datetime
    firing_at: datetime
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Backtest:
    """What the evaluations at `times` would have made of the `values`, by set of labels. `dropped` counts how often the
    condition held, but not for long enough."""

    times: Sequence[datetime]
    values: Mapping[LabelSet, Sequence[float | None]]
    firings: Sequence[AlertFiring]
    dropped: int

    @property
    def longest(self) -> timedelta | None:
        """The longest time that an alert fired, to the last evaluation where it still did; None if none fired."""
        return max((self.duration(firing) for firing in self.firings), default=None)

    def duration(self, firing: AlertFiring) -> timedelta:
        """How long an alert fired, to the last evaluation where it still did."""
        return (firing.resolved_at or self.times[-1]) - firing.firing_at


def backtest(terms: Terms, times: Sequence[datetime], values: Mapping[LabelSet, Sequence[float | None]]) -> Backtest:
    """Evaluate each series at each of `times`. Firings are in the order of their beginnings.

    A set of labels that had no data yet, or has none any more, is not known to an evaluation: it begins no alert,
    whatever the rule says of missing data. Only the empty set, that of a rule without groups, is always there.
    """
    firings: list[AlertFiring] = []
    dropped = 0
    for label_set, series in values.items():
        for episode in _episodes(terms, label_set, times, series):
            if episode is None:
                dropped += 1
            else:
                firings.append(episode)
    return Backtest(times, values, sorted(firings, key=lambda firing: (firing.firing_at, firing.labels)), dropped)


def _episodes(
    terms: Terms, label_set: LabelSet, times: Sequence[datetime], series: Sequence[float | None]
) -> Iterator[AlertFiring | None]:
    """Each firing of one series, and None for each time that the condition did not hold for long enough."""
    status = INACTIVE
    for at, value in zip(times, series, strict=True):
        # Nothing to judge, as most of the time.
        if status.state is AlertState.INACTIVE and ((value is None and label_set) or not terms.holds(value)):
            continue
        previous = status
        status, change = evaluate(previous, terms, value, at)
        if change is Change.DROPPED:
            yield None
        elif change is Change.RESOLVED:
            yield _firing(label_set, previous, resolved_at=at)
    if status.state is AlertState.FIRING:
        yield _firing(label_set, status, resolved_at=None)


def _firing(label_set: LabelSet, status: AlertStatus, *, resolved_at: datetime | None) -> AlertFiring:
    assert status.pending_at is not None
    assert status.firing_at is not None
    return AlertFiring(label_set, status.pending_at, status.firing_at, resolved_at)
