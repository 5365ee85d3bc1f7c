"""Durations as text."""

from __future__ import annotations

from typing import Final

_EXACT_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def format_days(days: int) -> str:
    """A number of days: "1 day", "30 days"."""
    return f"{days:,} day{'' if days == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration in one unit: "8 s", "3 min", "2 h", "4 d"."""
    for limit, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{max(0.0, seconds) / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def format_seconds(seconds: float) -> str:
    """A duration to read exactly: "640 ms", "3.2 s", "4 min 05 s", "2 h 10 min"; what is negative counts as 0."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def format_duration_exactly(seconds: int) -> str:
    """A duration that `console.duration_field` reads again: "0 s", "90 s", "5 min", "1 h 30 min"."""
    if 60 < seconds < 120 and seconds % 60:
        return f"{seconds} s"
    parts = []
    rest = seconds
    for unit, size in _EXACT_UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"
