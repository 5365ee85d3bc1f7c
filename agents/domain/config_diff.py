"""What differs between two configurations of an agent, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.domain.configuration import ContextPolicy, TurnLimits
from foundation.line_diff import Line, compare_lines


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
