"""How servers with OpenAI's chat completions API differ: one `Dialect` for each, by name.

A dialect says what a server's requests must look like. What its answers look like is no matter of dialects: the parser
reads all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from agents.llm.interface import Deadlines

LimitField = Literal["max_tokens", "max_completion_tokens"]
ReturnedReasoning = Literal["never", "with_calls", "always"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The form of the requests that a server takes. The defaults are understood by nearly every server.

    `limit_field`: its name of the limit of output tokens. `stream_usage`: whether it knows `stream_options`, without
    which some send no usage. `parallel_calls`: whether it knows `parallel_tool_calls`. `strict_tools`: whether it knows
    `strict` in a tool's declaration. `system_role`: the role of instructions; `user`: it knows no such role, so they
    begin the first question. `alternate`: user and assistant must take turns, so neighbours of one role are joined.
    `answer_after_results`: results of tools must be followed by an answer before the next question.
    `short_call_ids`: ids of calls have exactly nine letters and digits. `null_content`: the content of a message that
    only calls tools is null, not "". `name_results`: results carry the name of their tool. `returned_reasoning`: which
    answers of the history are sent with their reasoning, in `reasoning_field`; `with_calls` are those that call tools,
    where servers that require it get "" if there is none.
    `starts_reasoning`: answers begin inside of `<think>`, without the tag. `needs_finish_reason`: an answer whose end
    is marked but has no finish reason is broken off. `has_key_header`: the key is sent as `api-key`, too.
    """

    name: str = "generic"
    limit_field: LimitField | None = "max_tokens"
    stream_usage: bool = True
    parallel_calls: bool = True
    strict_tools: bool = True
    system_role: Literal["system", "developer", "user"] = "system"
    alternate: bool = True
    answer_after_results: bool = False
    short_call_ids: bool = False
    null_content: bool = True
    name_results: bool = False
    returned_reasoning: ReturnedReasoning = "never"
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    starts_reasoning: bool = False
    needs_finish_reason: bool = False
    has_key_header: bool = False


GENERIC = Dialect()
# What a deadline may be at most.
MAX_SECONDS = 3_600

PRESETS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        GENERIC,
        Dialect("openai", limit_field="max_completion_tokens", alternate=False),
        Dialect("azure", limit_field="max_completion_tokens", alternate=False, has_key_header=True),
    )
}


# Where a preset is meant without being named: by the end of the host's name, or by the port of a local server.
_HOSTS = {
    "api.openai.com": "openai",
    ".openai.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
}
_PORTS = {11434: "ollama"}


def preset_for_address(host: str, port: int) -> Dialect:
    """The dialect of a server by its address, where the settings name none."""
    name = next((name for suffix, name in _HOSTS.items() if host == suffix or host.endswith(suffix)), _PORTS.get(port))
    return PRESETS.get(name or "", GENERIC)


@dataclass(frozen=True, slots=True)
class _Entry:
    """Settings of the routes that `pattern` matches: a route, or the beginning of routes and `*`."""

    pattern: str
    preset: Dialect | None
    dialect: Mapping[str, Any]
    deadlines: Mapping[str, float]

    def matches(self, route: str) -> bool:
        return route.startswith(self.pattern[:-1]) if self.pattern.endswith("*") else route == self.pattern


@dataclass(frozen=True, slots=True)
class Dialects:
    """The dialects and the deadlines of routes, as an installation sets them. The most exact entry counts."""

    entries: tuple[_Entry, ...] = ()
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

    def _find(self, route: str) -> _Entry | None:
        matching = [entry for entry in self.entries if entry.matches(route)]
        # The longest pattern is the most exact one; without `*` it is a route.
        return max(matching, key=lambda entry: len(entry.pattern), default=None)


_DEADLINES = frozenset(entry.name for entry in fields(Deadlines))


def read_dialects(text: str) -> Dialects:
    """From `[route=]preset[+option=value…]`, separated by commas, as in `vllm,openai:o3=openai+total_seconds=600`.

    An option is a field of `Dialect` or of `Deadlines`; booleans are yes and no, no limit field is `none`. Raises
    `ValueError` with what is wrong.
    """
    return Dialects(tuple(_read_entry(item) for part in text.split(",") if (item := part.strip())))


def _read_entry(text: str) -> _Entry:
    # A route holds a colon, and may end in a plus.
    pattern, _, rest = text.partition("=")
    if ":" not in pattern and pattern.strip() != "*":
        pattern, rest = "*", text
    name, *options = [part.strip() for part in rest.split("+")]
    if name and name not in PRESETS:
        raise ValueError(f"must name presets among {', '.join(PRESETS)}, as in vllm,openai:o3=openai")
    dialect: dict[str, Any] = {}
    deadlines: dict[str, float] = {}
    for option in options:
        key, _, value = (part.strip() for part in option.partition("="))
        if key in _DEADLINES:
            deadlines[key] = _seconds(key, value)
        else:
            dialect[key] = _read_option(key, value)
    return _Entry(pattern.strip(), PRESETS[name] if name else None, dialect, deadlines)


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"must have {name} between 0 and {MAX_SECONDS}")
    return seconds


def _read_option(name: str, value: str) -> Any:
    choices = _OPTIONS.get(name)
    if choices is None:
        raise ValueError(f"must name options among {', '.join(sorted({*_OPTIONS, *_DEADLINES}))}")
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
