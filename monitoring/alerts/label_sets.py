"""Sets of labels with their values, by which the alerts of a rule are told apart."""

from __future__ import annotations

from collections.abc import Iterable

# Pairs of a label and its value, sorted; empty for a rule that is not grouped.
LabelSet = tuple[tuple[str, str], ...]


def make_label_set(pairs: Iterable[tuple[str, str]]) -> LabelSet:
    """The pairs in their order."""
    return tuple(sorted(pairs))
