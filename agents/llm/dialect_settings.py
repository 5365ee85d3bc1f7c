"""The dialects, deadlines and context windows of routes, as an installation sets them: `BANDSTAND_DIALECT`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from agents.llm.dialects import PRESETS, Dialect
from agents.llm.interface import Deadlines

# What a deadline may be at most.
MAX_SECONDS = 3_600
MIN_WINDOW, MAX_WINDOW = 1_024, 100_000_000


@dataclass(frozen=True, slots=True)
class _RouteSettings:
    """Settings of the routes that `pattern` matches: a route, or the beginning of routes and `*`."""

    pattern: str
    preset: Dialect | None
    dialect: Mapping[str, Any]
    deadlines: Mapping[str, float]
    figures: Mapping[str, float]
    window: int | None

    def matches(self, route: str) -> bool:
        return route.startswith(self.pattern[:-1]) if self.pattern.endswith("*") else route == self.pattern


@dataclass(frozen=True, slots=True)
class Dialects:
    """The dialects and the deadlines of routes, as an installation sets them. The most exact entry counts."""

    entries: tuple[_RouteSettings, ...] = ()
    deadlines: Deadlines = field(default_factory=Deadlines)

    def for_route(self, route: str, default: Dialect) -> Dialect:
        """The dialect of `route`; `default` is that of its server, for entries that name no preset."""
        entry = self._find(route)
        if entry is None:
            return default
        return replace(entry.preset or default, **entry.dialect)

    def deadlines_for(self, route: str) -> Deadlines:
        """The deadlines of calls of `route`."""
        entry = self._find(route)
        return replace(self.deadlines, **entry.deadlines) if entry is not None else self.deadlines

    def figures_for(self, route: str) -> Mapping[str, float]:
        """What is set for the circuit breaker of `route`: `slow_seconds`, `probe_seconds`."""
        entry = self._find(route)
        return entry.figures if entry is not None else {}

    def window_for(self, route: str) -> int | None:
        """The context window that is set for `route`, in tokens; None where none is."""
        entry = self._find(route)
        return entry.window if entry is not None else None

    def _find(self, route: str) -> _RouteSettings | None:
        matching = [entry for entry in self.entries if entry.matches(route)]
        # The longest pattern is the most exact one; without `*` it is a route.
        return max(matching, key=lambda entry: len(entry.pattern), default=None)


_DEADLINES = frozenset(entry.name for entry in fields(Deadlines))
_FIGURES = frozenset({"slow_seconds", "probe_seconds"})


def read_dialects(text: str) -> Dialects:
    """From `[route=]preset[+option=value…]`, separated by commas, as in `vllm,openai:o3=openai+total_seconds=600`.

    An option is a field of `Dialect` or of `Deadlines`, `slow_seconds` or `probe_seconds` of the route's circuit
    breaker, or `window`, its model's context window in tokens; booleans are yes and no, no limit field is `none`.
    Raises `ValueError` with what is wrong.
    """
    return Dialects(tuple(_read_entry(item) for part in text.split(",") if (item := part.strip())))


def _read_entry(text: str) -> _RouteSettings:
    # A route holds a colon, and may end in a plus.
    pattern, _, rest = text.partition("=")
    if ":" not in pattern and pattern.strip() != "*":
        pattern, rest = "*", text
    name, *options = [part.strip() for part in rest.split("+")]
    if name and name not in PRESETS:
        raise ValueError(f"must name presets among {', '.join(PRESETS)}, as in vllm,openai:o3=openai")
    dialect: dict[str, Any] = {}
    deadlines: dict[str, float] = {}
    figures: dict[str, float] = {}
    window: int | None = None
    for option in options:
        key, _, value = (part.strip() for part in option.partition("="))
        if key in _DEADLINES:
            deadlines[key] = _seconds(key, value)
        elif key in _FIGURES:
            figures[key] = _seconds(key, value)
        elif key == "window":
            window = _window(value)
        else:
            dialect[key] = _read_option(key, value)
    return _RouteSettings(pattern.strip(), PRESETS[name] if name else None, dialect, deadlines, figures, window)


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"must have {name} between 0 and {MAX_SECONDS}")
    return seconds


def _window(value: str) -> int:
    tokens = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
    if not MIN_WINDOW <= tokens <= MAX_WINDOW:
        raise ValueError(f"must have window between {MIN_WINDOW} and {MAX_WINDOW} tokens")
    return tokens


def _read_option(name: str, value: str) -> Any:
    choices = _OPTIONS.get(name)
    if choices is None:
        raise ValueError(f"must name options among {', '.join(sorted({*_OPTIONS, *_DEADLINES, *_FIGURES, 'window'}))}")
    if value not in choices:
        raise ValueError(f"must have {name} as one of {', '.join(choices)}")
    return choices[value]


def _choices(kind: Any) -> dict[str, Any]:
    """The values of an option by the words for them."""
    if kind is bool:
        return {"yes": True, "no": False}
    parts = (kind,) if get_origin(kind) is Literal else get_args(kind)
    values = [value for part in parts for value in ((None,) if part is type(None) else get_args(part))]
    return {"none" if value is None else value: value for value in values}


_OPTIONS = {name: _choices(kind) for name, kind in get_type_hints(Dialect).items() if name != "name"}
