"""What is computed from the counters of the minutes in a window: shares, quantiles and sums. Pure, for many windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agents.domain.duration_buckets import DURATION_BOUNDS

# NumPy is loaded with the first values, not by everybody who names a metric.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

HOUR_MINUTES: Final = 60


@dataclass(frozen=True, slots=True)
class MinuteSums:
    """The counters of consecutive minutes: an array for each, with a row for each of `length` minutes. Minutes in which
    nothing happened are 0, the shortest and the longest duration NaN."""

    length: int
    columns: Mapping[str, Floats]

    @classmethod
    def from_rows(cls, length: int, minutes: Sequence[int], columns: Mapping[str, Any]) -> MinuteSums:
        """Of the values of some `minutes`, a sequence or array of them for each counter."""
        import numpy as np

        arrays = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
        return cls(length, {name: _spread(name, values, minutes, length) for name, values in arrays.items()})

    def total(self, name: str, starts: Indices, ends: Indices) -> Floats:
        """The sum of a counter in each window."""
        import numpy as np

        column = self.columns[name]
        running = np.concatenate([np.zeros_like(column[:1]), np.cumsum(column, axis=0)])
        difference: Floats = running[ends] - running[starts]
        return difference

    def lowest(self, name: str, starts: Indices, ends: Indices) -> Floats:
        """The lowest value in each window; all windows are of one length."""
        return -self._highest(-self.columns[name], starts, ends)

    def highest(self, name: str, starts: Indices, ends: Indices) -> Floats:
        """The highest value in each window; all windows are of one length."""
        return self._highest(self.columns[name], starts, ends)

    @staticmethod
    def _highest(column: Floats, starts: Indices, ends: Indices) -> Floats:
        import numpy as np
        from numpy.lib.stride_tricks import sliding_window_view

        minutes = int(ends[0] - starts[0])
        filled = np.where(np.isnan(column), -np.inf, column)
        highest: Floats = sliding_window_view(filled, minutes)[starts].max(axis=1)
        return highest


def _spread(name: str, values: Floats, minutes: Sequence[int], length: int) -> Floats:
    import numpy as np

    empty = np.nan if name.startswith(("min_", "max_")) else 0.0
    column = np.full((length, *values.shape[1:]), empty)
    column[np.asarray(minutes, dtype=np.int64)] = values
    return column


@dataclass(frozen=True, slots=True)
class Percentage:
    """What percent of `total` a `part` is; NaN where `total` is less than `minimum`."""

    part: str
    total: str
    minimum: int = 1

    @property
    def counters(self) -> Sequence[str]:
        return (self.part, self.total)

    def evaluate(self, sums: MinuteSums, starts: Indices, ends: Indices) -> Floats:
        import numpy as np

        part, total = (sums.total(name, starts, ends) for name in self.counters)
        percent: Floats = np.divide(100 * part, total, out=np.full(len(starts), np.nan), where=total >= self.minimum)
        return percent


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of some counters, multiplied by `factor`, in the window or `per_hour`."""

    counters: Sequence[str]
    per_hour: bool = False

    def evaluate(self, sums: MinuteSums, starts: Indices, ends: Indices) -> Floats:
        import numpy as np

        total: Floats = np.zeros(len(starts))
        for name in self.counters:
            total = total + sums.total(name, starts, ends)
        return total * HOUR_MINUTES / (ends - starts) if self.per_hour else total


@dataclass(frozen=True, slots=True)
class Quantile:
    """The duration in seconds that `share` of all do not exceed, as `monitoring.figures.Histogram.quantile` has it; NaN
    where there are fewer than `minimum`. `name` is that of a histogram; with `bounded` its rollup has the shortest and
    the longest duration, too."""

    name: str
    share: float
    bounded: bool = False
    minimum: int = 1

    @property
    def counters(self) -> Sequence[str]:
        bounds = (f"min_{self.name}", f"max_{self.name}") if self.bounded else ()
        return (self._buckets, *bounds)

    @property
    def _buckets(self) -> str:
        return f"{self.name.removesuffix('_seconds')}_buckets"

    def evaluate(self, sums: MinuteSums, starts: Indices, ends: Indices) -> Floats:
        import numpy as np

        buckets = sums.total(self._buckets, starts, ends)
        counts = buckets.sum(axis=1)
        rank = self.share * counts
        below = np.cumsum(buckets, axis=1)
        reaches = (below >= rank[:, None]) & (buckets > 0)
        number = np.where(reaches.any(axis=1), reaches.argmax(axis=1), buckets.shape[1] - 1)
        rows = np.arange(len(counts))
        inside = buckets[rows, number]
        share = np.divide(
            np.maximum(0, rank - below[rows, number] + inside), inside, out=np.ones(len(counts)), where=inside > 0
        )
        lowest, highest = self._bounds(sums, starts, ends, number)
        values = lowest + share * np.maximum(0, highest - lowest)
        return np.where(counts >= max(1, self.minimum), values, np.nan)

    def _bounds(self, sums: MinuteSums, starts: Indices, ends: Indices, number: Indices) -> tuple[Floats, Floats]:
        """Of the durations in each window's bucket `number`."""
        import numpy as np

        lower, upper = np.array([0.0, *DURATION_BOUNDS])[number], np.array([*DURATION_BOUNDS, np.inf])[number]
        if not self.bounded:
            return lower, np.where(np.isinf(upper), lower, upper)
        shortest = sums.lowest(f"min_{self.name}", starts, ends)
        longest = sums.highest(f"max_{self.name}", starts, ends)
        return np.maximum(lower, shortest), np.maximum(np.minimum(upper, longest), lower)
