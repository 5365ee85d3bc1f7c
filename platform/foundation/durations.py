"""Durations as text."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A duration in one unit: "8 s", "3 min", "2 h", "4 d"."""
    for limit, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{max(0.0, seconds) / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
