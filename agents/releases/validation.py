"""Check configurations against the installed tools and routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from agents.domain.configuration import AgentConfiguration, Installed
from agents.domain.tool_rules import ToolRight, ToolRule
from agents.llm.routes import route_error
from agents.models import Agent
from foundation.errors import BandstandError

if TYPE_CHECKING:
    from agents.tools.tool import Tool


def unavailable_agents() -> list[tuple[str, str]]:
    """(slug, error) of each agent whose live release cannot be read or names a route that cannot be used here."""
    live = Agent.objects.filter(archived_at=None, live_release__isnull=False)
    return [
        (slug, fault)
        for slug, stored in live.values_list("slug", "live_release__configuration")
        for fault in release_faults(stored)
    ]


def release_faults(stored: Any) -> list[str]:
    """Why a stored configuration cannot be read, or which of its routes cannot be used here."""
    try:
        routes = AgentConfiguration.parse(stored).routes
    except BandstandError as error:
        return [error.detail]
    return [fault for route in routes if (fault := route_error(route)) is not None]


def check_runnable(configuration: AgentConfiguration) -> None:
    """Raise `InvalidInput` with a pointer unless a turn can run on `configuration` in this installation."""
    configuration.validate(Installed(tool_names(), route_error, tool_arguments))


def tool_names() -> frozenset[str]:
    """The names of the tools that are installed here."""
    return frozenset(_tools())


def tool_arguments(tool: str) -> Sequence[str]:
    """The names of the arguments of an installed tool, in their order."""
    return list(_tools()[tool].arguments.schema["properties"])


def writing_tools() -> frozenset[str]:
    """The installed tools that change or send something."""
    return frozenset(name for name, tool in _tools().items() if tool.writes)


def unguarded_tools(configuration: AgentConfiguration) -> list[str]:
    """The tools of a release that change or send something with values that may come from strangers, and nobody is
    asked; none where strangers have no part in what its model reads."""
    used = [tool for name in configuration.tools if (tool := _tools().get(name)) is not None]
    if not configuration.memory.recall and all(tool.trusted_output for tool in used):
        return []
    return [
        tool.name
        for tool in used
        if tool.writes and tool.name not in _SELF_GUARDED and _is_unguarded(configuration.rule_of(tool.name))
    ]


# What it remembers after a result of a stranger waits for a review.
_SELF_GUARDED: Final = frozenset({"remember"})


def _is_unguarded(rule: ToolRule | None) -> bool:
    return rule is None or (rule.right is ToolRight.ALLOW and not rule.checks_sources)


@cache
def _tools() -> Mapping[str, Tool]:
    # Imported late: it loads every tool with its libraries, which most processes never need.
    from agents.tools.toolbox import installed_tools

    return {tool.name: tool for tool in installed_tools()}
