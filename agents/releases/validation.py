"""Check configurations against the installed tools and routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from agents.domain.configuration import AgentConfiguration, Installed
from agents.llm.routes import route_error
from agents.models import Agent
from foundation.errors import BandstandError


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
    return frozenset(_tool_arguments())


def tool_arguments(tool: str) -> Sequence[str]:
    """The names of the arguments of an installed tool, in their order."""
    return _tool_arguments()[tool]


@cache
def _tool_arguments() -> Mapping[str, Sequence[str]]:
    # Imported late: it loads every tool with its libraries, which most processes never need.
    from agents.tools.toolbox import installed_tools

    return {tool.name: list(tool.arguments.schema["properties"]) for tool in installed_tools()}
