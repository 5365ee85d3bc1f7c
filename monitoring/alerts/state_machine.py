"""The states of an alert, judged from one value after the other. Pure: live evaluation and backtest are the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol


class AlertState(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class Change(StrEnum):
    """What an evaluation did to an alert."""

    NONE = "none"
    PENDING = "pending"
    DROPPED = "dropped"  # pending, and the condition ended before its time
    FIRING = "firing"
    RESOLVED = "resolved"


# By the values of `AlertRule.comparison` and `AlertRule.no_data`.
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_WITHOUT_DATA: Final[Mapping[str, bool | None]] = {"ok": False, "keep": None, "alert": True}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says of one series of values; `comparison` and `no_data` as the rule stores them."""

    comparison: str
    threshold: float
    clear_threshold: float | None
    hold: timedelta  # `for`: how long the condition must be true
    keep_firing_for: timedelta
    no_data: str

    def holds(self, value: float | None, *, firing: bool = False) -> bool | None:
        """Whether the condition holds, with the clear threshold for an alert that fires; None: nobody knows, and
        nothing changes."""
        if value is None:
            return _WITHOUT_DATA[self.no_data]
        is_clearing = firing and self.clear_threshold is not None
        threshold = self.clear_threshold if is_clearing else self.threshold
        return _COMPARISONS[self.comparison](value, threshold)  # type: ignore[arg-type]


class RuleCondition(Protocol):
    """The fields of `AlertRule` that say when it fires."""

    comparison: str
    threshold: float
    clear_threshold: float | None
    for_seconds: int
    keep_firing_for_seconds: int
    no_data: str


def read_terms(rule: RuleCondition) -> Terms:
    """What a rule, stored or not, says of each series of its values."""
    return Terms(
        comparison=rule.comparison,
        threshold=rule.threshold,
        clear_threshold=rule.clear_threshold,
        hold=timedelta(seconds=rule.for_seconds),
        keep_firing_for=timedelta(seconds=rule.keep_firing_for_seconds),
        no_data=rule.no_data,
    )


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """The state of an alert, and since when; `clear_at`: since when the condition of a firing one is false."""

    state: AlertState = AlertState.INACTIVE
    pending_at: datetime | None = None
    firing_at: datetime | None = None
    clear_at: datetime | None = None
    value: float | None = None


INACTIVE: Final = AlertStatus()


def evaluate(status: AlertStatus, terms: Terms, value: float | None, at: datetime) -> tuple[AlertStatus, Change]:
    """The status after the value of the time `at` (None: no data), and what changed.

    One false evaluation drops a pending alert. A firing one is resolved when the condition, with the clear threshold,
    has been false for `keep_firing_for`. A clock that was put back ends no timer before its time.
    """
    is_true = terms.holds(value, firing=status.state is AlertState.FIRING)
    current = status if value is None else replace(status, value=value)
    if is_true is None:
        return current, Change.NONE
    match status.state:
        case AlertState.INACTIVE:
            return _begin(current, terms, at) if is_true else (current, Change.NONE)
        case AlertState.PENDING:
            if not is_true:
                return AlertStatus(value=current.value), Change.DROPPED
            return _fire_if_due(current, terms, at, Change.NONE)
        case AlertState.FIRING:
            return _keep_or_resolve(current, terms, is_true=is_true, at=at)


def _begin(status: AlertStatus, terms: Terms, at: datetime) -> tuple[AlertStatus, Change]:
    pending = replace(status, state=AlertState.PENDING, pending_at=at)
    return _fire_if_due(pending, terms, at, Change.PENDING)


def _fire_if_due(status: AlertStatus, terms: Terms, at: datetime, otherwise: Change) -> tuple[AlertStatus, Change]:
    assert status.pending_at is not None
    if at - status.pending_at < terms.hold:
        return status, otherwise
    return replace(status, state=AlertState.FIRING, firing_at=at), Change.FIRING


def _keep_or_resolve(status: AlertStatus, terms: Terms, *, is_true: bool, at: datetime) -> tuple[AlertStatus, Change]:
    if is_true:
        return replace(status, clear_at=None), Change.NONE
    clear_at = status.clear_at or at
    if at - clear_at >= terms.keep_firing_for:
        return AlertStatus(value=status.value), Change.RESOLVED
    return replace(status, clear_at=clear_at), Change.NONE
