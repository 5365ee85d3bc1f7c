"""The tools of a request and its tool choice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agents.domain.model_messages import ToolSpec
from foundation.errors import InvalidInput

MAX_TOOLS = 128
MAX_DESCRIPTION = 16 * 1024

# The names of tools, functions and schemas.
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
BAD_NAME = "A name has 1 to 64 letters, digits, hyphens and underscores."


class ToolOffer(NamedTuple):
    """The offered tools, the names of which one must be called, and whether only one call at a time is allowed."""

    tools: tuple[ToolSpec, ...] = ()
    must_call: tuple[str, ...] = ()
    one_call: bool = False


def read_tool_offer(body: Mapping[str, Any]) -> ToolOffer:
    """The offer in `tools` and `tool_choice`. Raises `InvalidInput`, with pointers to them."""
    tools, choice = _tools(body.get("tools")), body.get("tool_choice")
    if isinstance(choice, dict):
        return _read_tool_choice(tools, choice)
    if choice not in (None, "auto", "none", "required"):
        raise InvalidInput("It is auto, none, required or an object.", pointer="/tool_choice")
    if choice == "none":
        return ToolOffer()
    return _offer(tools, must=choice == "required")


def _read_tool_choice(tools: Sequence[ToolSpec], choice: Mapping[str, Any]) -> ToolOffer:
    """The offer for a `tool_choice` object: one required function, or a list of allowed ones."""
    if choice.get("type") == "allowed_tools":
        allowed, pointer = choice.get("allowed_tools"), "/tool_choice/allowed_tools"
        if not isinstance(allowed, dict) or not isinstance(allowed.get("tools"), list):
            raise InvalidInput('It is {"mode": …, "tools": […]}.', pointer=pointer)
        if (mode := allowed.get("mode")) not in ("auto", "required"):
            raise InvalidInput("It is auto or required.", pointer=f"{pointer}/mode")
        names = {
            _function_name(tools, function, f"{pointer}/tools/{index}")
            for index, function in enumerate(allowed["tools"])
        }
        return _offer([tool for tool in tools if tool.name in names], must=mode == "required")
    return ToolOffer(tuple(tools), (_function_name(tools, choice, "/tool_choice"),), one_call=True)


def _offer(tools: Sequence[ToolSpec], *, must: bool) -> ToolOffer:
    if must and not tools:
        raise InvalidInput("A tool must be called, and there is none in tools.", pointer="/tool_choice")
    return ToolOffer(tuple(tools), tuple(tool.name for tool in tools) if must else ())


def _function_name(tools: Sequence[ToolSpec], choice: Any, pointer: str) -> str:
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    if not isinstance(function, dict):
        raise InvalidInput('A function is {"type": "function", "function": {"name": "…"}}.', pointer=pointer)
    for tool in tools:
        if tool.name == function.get("name"):
            return tool.name
    raise InvalidInput("There is no such function in tools.", pointer=f"{pointer}/function/name")


def _tools(tools: Any) -> tuple[ToolSpec, ...]:
    if tools is None:
        return ()
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        raise InvalidInput(f"A list of at most {MAX_TOOLS} tools is expected.", pointer="/tools")
    specs: list[ToolSpec] = []
    for index, tool in enumerate(tools):
        specs.append(_tool(tool, f"/tools/{index}"))
        if any(spec.name == specs[-1].name for spec in specs[:-1]):
            raise InvalidInput("This name stands here twice.", pointer=f"/tools/{index}/function/name")
    return tuple(specs)


def _tool(tool: Any, pointer: str) -> ToolSpec:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise InvalidInput('A tool is {"type": "function", "function": {…}}.', pointer=pointer)
    pointer = f"{pointer}/function"
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidInput(BAD_NAME, pointer=f"{pointer}/name")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidInput("A JSON schema is expected.", pointer=f"{pointer}/parameters")
    return ToolSpec(
        name,
        read_description(function.get("description"), f"{pointer}/description"),
        parameters or {"type": "object", "properties": {}},
        read_flag(function.get("strict"), f"{pointer}/strict"),
    )


def read_description(value: Any, pointer: str) -> str:
    """The description of a tool or a schema; "" without one. Raises `InvalidInput`."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_DESCRIPTION:
        raise InvalidInput(f"Text of at most {MAX_DESCRIPTION} characters is expected.", pointer=pointer)
    return value


def read_flag(value: Any, pointer: str, *, default: bool = False) -> bool:
    """A boolean; `default` for None. Raises `InvalidInput`."""
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    raise InvalidInput("True or false is expected.", pointer=pointer)
