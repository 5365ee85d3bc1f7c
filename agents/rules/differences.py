"""What differs between two configurations of an agent, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, Final

from agents.rules.limits import ContextPolicy, TurnLimits

# Unchanged lines that are shown around a change.
CONTEXT: Final = 3
# Longer texts are shown as a whole, old and new: finding the common parts takes the square of their lines.
LONGEST: Final = 4_000


class Kind(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. A skipped one stands for lines that are equal; its text says how many."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which the two differ."""

    field: str
    title: str
    lines: tuple[Line, ...]


_TITLES: Final = {
    "model_chain": "Models, in order",
    "instructions": "Instructions",
    "tools": "Tools",
    "limits": "Limits of a turn",
    "context_policy": "History that the model sees",
}
_DEFAULTS: Final[dict[str, Any]] = {"limits": TurnLimits(), "context_policy": ContextPolicy()}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every field of a configuration that is not the same in both; a limit that is not given is its default."""
    found = []
    for field, title in _TITLES.items():
        before, after = _lines_of(field, old[field]), _lines_of(field, new[field])
        if before != after:
            found.append(Difference(field, title, tuple(compare_lines(before, after))))
    return found


def compare_lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    """The lines of both in reading order, without long stretches that are equal."""
    if max(len(old), len(new)) > LONGEST:
        yield from (Line(Kind.REMOVED, text) for text in old)
        yield from (Line(Kind.ADDED, text) for text in new)
        return
    reached = 0
    for group in SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT):
        yield from _skipped(group[0][1] - reached)
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from (Line(Kind.SAME, text) for text in old[old_from:old_to])
                continue
            yield from (Line(Kind.REMOVED, text) for text in old[old_from:old_to])
            yield from (Line(Kind.ADDED, text) for text in new[new_from:new_to])
        reached = group[-1][2]
    yield from _skipped(len(old) - reached)


def _skipped(count: int) -> Iterator[Line]:
    if count > 0:
        yield Line(Kind.SKIPPED, "1 equal line" if count == 1 else f"{count} equal lines")


def bounds(field: str, value: Any) -> list[str]:
    """The lines of `limits` or `context_policy`, each bound with what holds where none is given."""
    return _lines_of(field, value)


def _lines_of(field: str, value: Any) -> list[str]:
    if field in _DEFAULTS:
        default = _DEFAULTS[field]
        names = type(default).__dataclass_fields__
        return [f"{name.replace('_', ' ')}: {_given(value, name, default)}" for name in names]
    return str(value).splitlines() if field == "instructions" else [str(item) for item in value]


def _given(value: Any, name: str, default: Any) -> str:
    if isinstance(value, Mapping) and value.get(name) is not None:
        return f"{value[name]:,}" if isinstance(value[name], int) else str(value[name])
    standard = getattr(default, name)
    return "no limit of its own" if standard is None else f"{standard:,} (default)"
