"""The states of an alert, judged from one value after the other. Pure: live evaluation and backtest are the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from monitoring.models.alerts import Comparison, NoDataPolicy


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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says of one series of values."""

    comparison: Comparison
    threshold: float
    clear_threshold: float | None
    hold: timedelta  # `for`: how long the condition must be true
    keep_firing_for: timedelta
    no_data: NoDataPolicy


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of an alert, and since when; `clear_at`: since when the condition of a firing one is false."""

    state: AlertState = AlertState.INACTIVE
    pending_at: datetime | None = None
    firing_at: datetime | None = None
    clear_at: datetime | None = None
    value: float | None = None


INACTIVE: Final = Standing()


def evaluate(standing: Standing, terms: Terms, value: float | None, at: datetime) -> tuple[Standing, Change]:
    """The standing after the value of the time `at` (None: no data), and what changed.

    One false evaluation drops a pending alert. A firing one is resolved when the condition, with the clear threshold,
    has been false for `keep_firing_for`. An evaluation not later than the last change changes no timer.
    """
    is_true = _is_true(standing, terms, value)
    current = standing if value is None else replace(standing, value=value)
    if is_true is None:
        return current, Change.NONE
    match standing.state:
        case AlertState.INACTIVE:
            return _begin(current, terms, at) if is_true else (current, Change.NONE)
        case AlertState.PENDING:
            if not is_true:
                return Standing(value=current.value), Change.DROPPED
            return _fire_if_due(current, terms, at, Change.NONE)
        case AlertState.FIRING:
            return _keep_or_resolve(current, terms, is_true=is_true, at=at)


def _begin(standing: Standing, terms: Terms, at: datetime) -> tuple[Standing, Change]:
    pending = replace(standing, state=AlertState.PENDING, pending_at=at)
    return _fire_if_due(pending, terms, at, Change.PENDING)


def _fire_if_due(standing: Standing, terms: Terms, at: datetime, otherwise: Change) -> tuple[Standing, Change]:
    assert standing.pending_at is not None
    if at - standing.pending_at < terms.hold:
        return standing, otherwise
    return replace(standing, state=AlertState.FIRING, firing_at=at), Change.FIRING


def _keep_or_resolve(standing: Standing, terms: Terms, *, is_true: bool, at: datetime) -> tuple[Standing, Change]:
    if is_true:
        return replace(standing, clear_at=None), Change.NONE
    clear_at = standing.clear_at or at
    if at - clear_at >= terms.keep_firing_for:
        return Standing(value=standing.value), Change.RESOLVED
    return replace(standing, clear_at=clear_at), Change.NONE


def _is_true(standing: Standing, terms: Terms, value: float | None) -> bool | None:
    """Whether the condition holds; None: nothing is known, and nothing changes."""
    if value is None:
        return {NoDataPolicy.OK: False, NoDataPolicy.KEEP: None, NoDataPolicy.ALERT: True}[terms.no_data]
    threshold = terms.threshold
    if standing.state is AlertState.FIRING and terms.clear_threshold is not None:
        threshold = terms.clear_threshold
    match terms.comparison:
        case Comparison.ABOVE:
            return value > threshold
        case Comparison.AT_LEAST:
            return value >= threshold
        case Comparison.BELOW:
            return value < threshold
        case Comparison.AT_MOST:
            return value <= threshold
