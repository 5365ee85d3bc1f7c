"""The metrics and labels that an expression of Prometheus names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<range>\[[^\]]*\])
      | (?P<number>(?:\d+[smhdwy]|ms)+(?![a-zA-Z_])|0x[0-9a-fA-F]+|\d*\.?\d+(?:[eE][-+]?\d+)?)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){},@])""",
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "atan2", "start", "end", "inf", "nan"}


@dataclass
class Names:
    """`metrics`: each with the labels by which it is chosen; `grouped`: labels by which something is grouped."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)

    def unknown(self, known: Mapping[str, set[str]]) -> set[str]:
        """What no series has: `known` are the labels of each metric."""
        unknown = {name for name in self.metrics if name not in known}
        for name, labels in self.metrics.items():
            unknown |= {f"{name}{{{label}}}" for label in labels - known.get(name, labels)}
        of_any = set().union(*(known.get(name, set()) for name in self.metrics))
        return unknown | (self.grouped - of_any)


def names_in(expression: str) -> Names:
    """Raises `ValueError` for what is no token of the language."""
    names, tokens = Names(), list(_tokens(expression))
    metric = ""
    position = 0
    while position < len(tokens):
        kind, text = tokens[position]
        following = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        position += 1
        if kind == "name" and text.lower() in _GROUPING:
            end = tokens.index(("sign", ")"), position)
            names.grouped |= {label for kind, label in tokens[position:end] if kind == "name"}
            position = end + 1
        elif kind == "name" and text.lower() not in _WORDS and following != "(" and following not in _GROUPING:
            metric = text
            names.metrics.setdefault(metric, set())
        elif text == "{":
            end = tokens.index(("sign", "}"), position)
            labels = [label for kind, label in tokens[position:end] if kind == "name"]
            if not metric:
                raise ValueError(f"A selector without a metric: {expression}")
            names.metrics[metric] |= set(labels)
            position = end + 1
    return names


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(expression):
        match = _TOKEN.match(expression, position)
        if match is None:
            raise ValueError(f"{expression[position:]!r} is no PromQL")
        position = match.end()
        if match.lastgroup not in {None, "space"}:
            yield str(match.lastgroup), match[0]
