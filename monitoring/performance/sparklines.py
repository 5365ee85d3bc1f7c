"""Small charts without axes: a line over the last samples, as the points of an SVG polyline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 120
HEIGHT: Final = 24


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A line. Where a value is missing, the line goes on to the next one. `title` says in label what it shows."""

    points: str
    title: str


def make_sparkline(values: Sequence[float | None], *, title: str, unit: str, top: float = 0.0) -> Sparkline | None:
    """The line of `values`, from 0 to the largest of them, or to `top` if that is more; None for fewer than two."""
    pairs = [(number, value) for number, value in enumerate(values) if value is not None]
    if len(pairs) < 2:
        return None
    largest = max(top, *(value for _, value in pairs)) or 1.0
    step, height = WIDTH / (len(values) - 1), HEIGHT - 2
    points = " ".join(f"{number * step:.1f},{height + 1 - height * value / largest:.1f}" for number, value in pairs)
    numbers = [value for _, value in pairs]
    label = f"{title}: {numbers[-1]:.4g} {unit} now, from {min(numbers):.4g} to {max(numbers):.4g} {unit}"
    return Sparkline(points, label)
