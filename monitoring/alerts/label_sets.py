"""Sets of labels with their values, by which the alerts of a rule are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Of a backtest: more take longer than somebody waits, and more memory than a process has.
MAX_VALUES: Final = 4_000_000

# Pairs of a label and its value, sorted; empty for a rule that is not grouped.
LabelSet = tuple[tuple[str, str], ...]


def make_label_set(pairs: Iterable[tuple[str, str]]) -> LabelSet:
    """The pairs in their order."""
    return tuple(sorted(pairs))


def check_size(sets: int, times: int) -> None:
    """Raise `ValueError` if so many sets of labels have too many values at so many times."""
    if sets * times > MAX_VALUES:
        raise ValueError(f"{sets:,} sets of labels at {times:,} times are too many.")
