"""What an OpenAI client may set for one turn: tools of its own, limits, an output format, instructions for the model.

Stored on the turn, so that every runner of the turn makes equal requests: `{"tools": [{"name", "description",
"parameters", "strict"}], "max_output_tokens": n, "stop": [text], "must_call": [name], "one_call": true, "json":
{"schema", "name", "description", "strict"}, "system": id}`, each only if the client sent it; `system` is the id of the
message that holds the client's instructions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agents.domain.message_parts import Part, plain_text
from agents.domain.model_messages import JsonFormat, ToolSpec
from foundation.errors import InvalidInput

# Stands before a client's instructions where the release has instructions of its own.
CLIENT_INSTRUCTIONS_PREFIX = (
    "The client that carries this conversation gave the instructions below. They add to those above; "
    "wherever the two differ, those above count.\n\n"
)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """`max_output_tokens` is per model call, as a release's own limit is. The first call of the model must
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


def dump_options(options: ClientOptions, *, system: str | None) -> dict[str, Any] | None:
    """`options` as the JSON object that a turn's row stores; None when the client set none. `system` is the id of the
    message with its instructions."""
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
    """The options that a turn's row stores; `system_parts` are the parts of the message that its `system` names."""
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
    """The tool calls in an agent's complete answer that its client must run: those without a result."""
    result_ids = {part["call_id"] for part in parts if part["type"] == "tool_result"}
    return [part for part in parts if part["type"] == "tool_call" and part["id"] not in result_ids]


def parts_behind_results(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts of an agent's answer that follow the last result of its own tools; all of them if there is none."""
    results = [index for index, part in enumerate(parts) if part["type"] == "tool_result"]
    return parts[results[-1] + 1 :] if results else parts


def check_results(calls: Sequence[Part], parts: Sequence[Part], *, require_all: bool = True) -> None:
    """Raise `InvalidInput` when `parts` has the result of a call that is not in `calls`, the open ones, or, with
    `require_all`, when it has results of some of them only."""
    result_ids = [part["call_id"] for part in parts if part["type"] == "tool_result"]
    call_ids = [call["id"] for call in calls]
    if unknown := [call_id for call_id in result_ids if call_id not in call_ids]:
        raise InvalidInput(f"There is no open tool call {unknown[0]!r}.", pointer="/messages")
    if result_ids and require_all and (missing := [call_id for call_id in call_ids if call_id not in result_ids]):
        raise InvalidInput(f"The result of the tool call {missing[0]!r} is missing.", pointer="/messages")


def smaller_limit(one: int | None, other: int | None) -> int | None:
    """The smaller of two limits, where None is no limit."""
    return min((bound for bound in (one, other) if bound is not None), default=None)
