"""Sets of labels with their values, by which the alerts of a rule are told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# A million take half a second of a process, and some 30 MB. An evaluation has one for each set of labels.
MAX_VALUES: Final = 5_000_000

# Pairs of a label and its value, sorted; empty for a rule that is not grouped.
LabelSet = tuple[tuple[str, str], ...]


def make_label_set(pairs: Iterable[tuple[str, str]]) -> LabelSet:
    """The pairs in their order."""
    return tuple(sorted(pairs))


class TooManyValues(ValueError):
    """What is asked for would keep a process busy for many seconds."""


def check_size(sets: int, times: int) -> None:
    """Raises `TooManyValues` for values of so many sets of labels at so many times each."""
    if sets * times > MAX_VALUES:
        raise TooManyValues(
            f"There are {sets:,} sets of labels, too many to be evaluated {times:,} times each. Select fewer, group by "
            "less, or evaluate the rule less often."
        )
