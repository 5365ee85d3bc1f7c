"""What is computed from the counters of the minutes in a window: shares, quantiles and sums. Pure.

Sums over a window are differences of running sums, so that a day's window costs what five minutes' does. Plain Python:
each process that evaluates rules would else load NumPy for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add, sub
from typing import Any, Final

from agents.domain.duration_buckets import BUCKET_COUNT
from monitoring.figures import Histogram

HOUR_MINUTES: Final = 60
_NO_BUCKETS: Final = (0,) * BUCKET_COUNT


class MinuteSums:
    """The counters of `length` consecutive minutes; in those without a row nothing happened."""

    def __init__(self, length: int, minutes: Sequence[int], columns: Mapping[str, Iterable[Any]]) -> None:
        """`columns` has the values of each counter in the order of `minutes`."""
        self._columns: dict[str, Sequence[Any]] = {}
        for name, values in columns.items():
            if name.startswith(("min_", "max_")):
                missing = math.inf if name.startswith("min_") else -math.inf
                self._columns[name] = _spread(length, minutes, values, missing)
            elif name.endswith("_buckets"):
                rows = _spread(length, minutes, values, None)
                self._columns[name] = list(accumulate(rows, _add_buckets, initial=_NO_BUCKETS))
            else:
                self._columns[name] = list(accumulate(_spread(length, minutes, map(float, values), 0.0), initial=0.0))

    def total(self, name: str, start: int, end: int) -> float:
        """The sum of a counter from minute `start` to before `end`."""
        running = self._columns[name]
        return float(running[end] - running[start])

    def buckets(self, name: str, start: int, end: int) -> tuple[int, ...]:
        """The sums of the buckets of a histogram."""
        running = self._columns[name]
        return tuple(map(sub, running[end], running[start]))

    def extreme(self, name: str, start: int, end: int) -> float | None:
        """The lowest or the highest value, as the name of the counter says; None if there is none."""
        choose: Callable[[Sequence[float]], float] = min if name.startswith("min_") else max
        value = choose(self._columns[name][start:end])
        return value if math.isfinite(value) else None


def _spread(length: int, minutes: Sequence[int], values: Iterable[Any], missing: Any) -> list[Any]:
    column = [missing] * length
    for minute, value in zip(minutes, values, strict=True):
        column[minute] = value
    return column


def _add_buckets(running: tuple[int, ...], row: Sequence[int] | None) -> tuple[int, ...]:
    return running if row is None else tuple(map(add, running, row))


@dataclass(frozen=True, slots=True)
class Percentage:
    """What percent of `total` a `part` is; None where `total` is less than `minimum`."""

    part: str
    total: str
    minimum: int = 1

    @property
    def counters(self) -> Sequence[str]:
        return (self.part, self.total)

    def evaluate(self, sums: MinuteSums, start: int, end: int) -> float | None:
        total = sums.total(self.total, start, end)
        return 100 * sums.total(self.part, start, end) / total if total >= self.minimum else None


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of some counters, in the window or `per_hour`."""

    counters: Sequence[str]
    per_hour: bool = False

    def evaluate(self, sums: MinuteSums, start: int, end: int) -> float | None:
        total = sum(sums.total(name, start, end) for name in self.counters)
        return total * HOUR_MINUTES / (end - start) if self.per_hour else total


@dataclass(frozen=True, slots=True)
class Quantile:
    """The duration in seconds that `share` of all do not exceed; None where there are fewer than `minimum`. `name` is
    that of a histogram; with `bounded` its rollup has the shortest and the longest duration, too."""

    name: str
    share: float
    bounded: bool = False
    minimum: int = 1

    @property
    def counters(self) -> Sequence[str]:
        bounds = (f"min_{self.name}", f"max_{self.name}") if self.bounded else ()
        return (f"{self.name.removesuffix('_seconds')}_buckets", *bounds)

    def evaluate(self, sums: MinuteSums, start: int, end: int) -> float | None:
        name, *bounds = self.counters
        buckets = sums.buckets(name, start, end)
        count = sum(buckets)
        if count < self.minimum:
            return None
        shortest, longest = (sums.extreme(bound, start, end) for bound in bounds) if bounds else (None, None)
        return Histogram(count, 0.0, shortest, longest, buckets).quantile(self.share)
