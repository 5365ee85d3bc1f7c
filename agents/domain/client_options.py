"""What an OpenAI client may ask of one turn besides its answer: tools of its own, bounds, a form, words for the model.

Stored on the turn, so that whoever runs it again asks the same: `{"tools": [{"name", "description", "parameters",
"strict"}], "max_output_tokens": n, "stop": [text], "must_call": [name], "one_call": true, "json": {"schema", "name",
"description", "strict"}, "system": id}`, each only if it was given; `system` is the id of the message that holds the
client's instructions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agents.domain.chat import JsonFormat, ToolSpec
from agents.domain.message_parts import Part, plain_text
from foundation.errors import InvalidInput

# In front of a client's instructions, where the release has some of its own.
BELOW_OURS = (
    "The client that carries this conversation gave the instructions below. They add to those above; "
    "wherever the two differ, those above count.\n\n"
)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """`max_output_tokens` is for one call of the model, as a release's own bound is. The first call of the model must
    call one of the `tools` that `must_call` names, if it names any; with `one_call` each calls one tool at most."""

    tools: tuple[ToolSpec, ...] = ()
    max_output_tokens: int | None = None
    instructions: str = ""
    stop: tuple[str, ...] = ()
    must_call: tuple[str, ...] = ()
    one_call: bool = False
    json: JsonFormat | None = None

    @property
    def forced_tools(self) -> tuple[ToolSpec, ...]:
        return tuple(tool for tool in self.tools if tool.name in self.must_call)

    @property
    def tool_names(self) -> frozenset[str]:
        return frozenset(tool.name for tool in self.tools)


NO_OPTIONS = ClientOptions()


def stored_options(options: ClientOptions, *, system: str | None) -> dict[str, Any] | None:
    """`options` as a turn's row holds them, None when there is nothing to hold."""
    stored = {
        "tools": [asdict(tool) for tool in options.tools],
        "max_output_tokens": options.max_output_tokens,
        "system": system,
        "stop": list(options.stop),
        "must_call": list(options.must_call),
        "one_call": options.one_call,
        "json": asdict(options.json) if options.json is not None else None,
    }
    return {name: value for name, value in stored.items() if value} or None


def read_options(stored: Mapping[str, Any] | None, system_parts: Sequence[Part] = ()) -> ClientOptions:
    """The options in a turn's row, and the parts of the message that its `system` names."""
    if not stored:
        return NO_OPTIONS
    return ClientOptions(
        tools=tuple(ToolSpec(**tool) for tool in stored.get("tools", ())),
        max_output_tokens=stored.get("max_output_tokens"),
        instructions=plain_text(system_parts),
        stop=tuple(stored.get("stop", ())),
        must_call=tuple(stored.get("must_call", ())),
        one_call=stored.get("one_call", False),
        json=JsonFormat(**stored["json"]) if "json" in stored else None,
    )


def client_tool_calls(parts: Sequence[Part]) -> list[Part]:
    """The tool calls in an agent's whole answer that its client must run: those without a result."""
    answered = {part["call_id"] for part in parts if part["type"] == "tool_result"}
    return [part for part in parts if part["type"] == "tool_call" and part["id"] not in answered]


def last_words(parts: Sequence[Part]) -> Sequence[Part]:
    """What an agent's answer holds behind the results of its own tools."""
    results = [index for index, part in enumerate(parts) if part["type"] == "tool_result"]
    return parts[results[-1] + 1 :] if results else parts


def check_results(calls: Sequence[Part], asked: Sequence[Part], *, all_of_them: bool = True) -> None:
    """Raise `InvalidInput` unless the results in `asked`, if there are any, are those of the open `calls`."""
    given = [part["call_id"] for part in asked if part["type"] == "tool_result"]
    known = [call["id"] for call in calls]
    if unknown := [call_id for call_id in given if call_id not in known]:
        raise InvalidInput(f"There is no open tool call {unknown[0]!r}.", pointer="/messages")
    if given and all_of_them and (missing := [call_id for call_id in known if call_id not in given]):
        raise InvalidInput(f"The result of the tool call {missing[0]!r} is missing.", pointer="/messages")


def smaller_limit(one: int | None, other: int | None) -> int | None:
    """The tighter of two bounds, of which None is no bound."""
    return min((bound for bound in (one, other) if bound is not None), default=None)
