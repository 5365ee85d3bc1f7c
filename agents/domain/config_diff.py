"""What differs between two configurations of an agent, line by line."""

from __future__ import annotations

from dataclasses import dataclass

from agents.domain.configuration import SETTINGS, AgentConfiguration
from foundation.line_diff import Line, compare_lines


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which the two differ."""

    field: str
    title: str
    lines: tuple[Line, ...]


def differences(old: AgentConfiguration, new: AgentConfiguration) -> list[Difference]:
    """Every setting that is not the same in both; a limit that neither sets is its default."""
    found = []
    for name, setting in SETTINGS.items():
        before, after = setting.lines(getattr(old, name)), setting.lines(getattr(new, name))
        if before != after:
            found.append(Difference(name, setting.label, tuple(compare_lines(before, after))))
    return found
