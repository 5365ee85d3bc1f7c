"""The diff of two texts, line by line. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Final

# Unchanged lines that are shown around a change.
CONTEXT: Final = 3
# Longer texts are shown as removed and added as a whole: the diff takes quadratic time.
LONGEST: Final = 4_000


class LineKind(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diff. A skipped one stands for equal lines; its text says how many."""

    kind: LineKind
    text: str


def compare_lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    """The lines of the diff of `old` and `new`, without long runs of equal lines."""
    if max(len(old), len(new)) > LONGEST:
        yield from (Line(LineKind.REMOVED, text) for text in old)
        yield from (Line(LineKind.ADDED, text) for text in new)
        return
    position = 0
    for group in SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT):
        yield from _skipped(group[0][1] - position)
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from (Line(LineKind.SAME, text) for text in old[old_from:old_to])
                continue
            yield from (Line(LineKind.REMOVED, text) for text in old[old_from:old_to])
            yield from (Line(LineKind.ADDED, text) for text in new[new_from:new_to])
        position = group[-1][2]
    yield from _skipped(len(old) - position)


def _skipped(count: int) -> Iterator[Line]:
    if count > 0:
        yield Line(LineKind.SKIPPED, "1 equal line" if count == 1 else f"{count} equal lines")
