"""What one turn may spend and how much history it sees: the `limits` and `context_policy` of a release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from foundation.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of one turn. Reaching one ends the turn as `failed` with `limit_reached`; time ends it as `expired`.

    `steps` counts model calls; `output_tokens` is for all of them together, `call_output_tokens` is what one call asks
    the provider for (None: the provider's own bound). `turn_seconds` is for the work of one claim, so that a turn is
    not punished for the time in which no runner lived; the turn's deadline bounds all of it.
    """

    steps: int = 12
    tool_calls: int = 24
    output_tokens: int = 32_000
    call_output_tokens: int | None = None
    turn_seconds: int = 300


@dataclass(frozen=True, slots=True)
class ContextPolicy:
    """How much of the conversation goes to the model: the newest messages, and no more characters than fit."""

    history_messages: int = 30
    history_characters: int = 60_000


LARGEST: dict[str, int] = {
    "steps": 100,
    "tool_calls": 500,
    "output_tokens": 1_000_000,
    "call_output_tokens": 1_000_000,
    "turn_seconds": 3_600,
    "history_messages": 500,
    "history_characters": 4_000_000,
}

T = TypeVar("T", TurnLimits, ContextPolicy)


def read_limits(values: Mapping[str, Any]) -> TurnLimits:
    """The limits of a release. Raises `InvalidInput` with a pointer for an unknown name or a number out of bounds."""
    return _read(TurnLimits, values, "/limits")


def read_context_policy(values: Mapping[str, Any]) -> ContextPolicy:
    """The context policy of a release. Raises as `read_limits`."""
    return _read(ContextPolicy, values, "/context_policy")


def _read(kind: type[T], values: Mapping[str, Any], pointer: str) -> T:
    if not isinstance(values, Mapping):
        raise InvalidInput("An object is expected.", pointer=pointer)
    known = {field.name for field in fields(kind)}
    for name, value in values.items():
        if name not in known:
            raise InvalidInput(f"Unknown name {name!r}; known are {', '.join(sorted(known))}.", pointer=pointer)
        if type(value) is not int or not 1 <= value <= LARGEST[name]:
            raise InvalidInput(f"A whole number from 1 to {LARGEST[name]} is expected.", pointer=f"{pointer}/{name}")
    return kind(**values)


def validate_configuration(
    *,
    model_chain: Any,
    instructions: Any,
    tools: Any,
    limits: Any,
    context_policy: Any,
    known_tools: frozenset[str],
    fault_of_route: Callable[[str], str | None],
) -> None:
    """Raise `InvalidInput` with a pointer unless these values make a release that can run.

    `fault_of_route` says why no model of this installation stands behind a route; None when one does.
    """
    if not isinstance(model_chain, list) or not model_chain:
        raise InvalidInput("At least one route is needed.", pointer="/model_chain")
    for index, route in enumerate(model_chain):
        if not isinstance(route, str) or ":" not in route or len(route) > 200:
            raise InvalidInput("A route reads provider:model.", pointer=f"/model_chain/{index}")
        if (fault := fault_of_route(route)) is not None:
            raise InvalidInput(fault, pointer=f"/model_chain/{index}")
    if not isinstance(instructions, str) or len(instructions) > 100_000:
        raise InvalidInput("Text of at most 100,000 characters is expected.", pointer="/instructions")
    if not isinstance(tools, list):
        raise InvalidInput("A list of tool names is expected.", pointer="/tools")
    for index, name in enumerate(tools):
        if not isinstance(name, str) or name not in known_tools:
            raise InvalidInput(f"There is no tool {name!r}.", pointer=f"/tools/{index}")
        if name in tools[:index]:
            raise InvalidInput(f"{name!r} stands here twice; providers refuse that.", pointer=f"/tools/{index}")
    read_limits(limits)
    read_context_policy(context_policy)
