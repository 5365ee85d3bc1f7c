"""What differs between two configurations of an agent, line by line."""

from __future__ import annotations

from dataclasses import dataclass

from agents.domain.configuration import SETTINGS, AgentConfiguration
from foundation.line_diff import Line, compare_lines


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs: `lines` are those of both values, compared."""

    field: str
    title: str
    lines: tuple[Line, ...]


def compare_configurations(old: AgentConfiguration, new: AgentConfiguration) -> list[Difference]:
    """The settings whose values differ between two configurations. A value that a configuration does not set is its
    default."""
    changed = []
    for name, setting in SETTINGS.items():
        old_lines, new_lines = setting.lines(getattr(old, name)), setting.lines(getattr(new, name))
        if old_lines != new_lines:
            changed.append(Difference(name, setting.label, tuple(compare_lines(old_lines, new_lines))))
    return changed
