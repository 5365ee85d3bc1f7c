"""What a release may name: tools and routes."""

from __future__ import annotations

from functools import cache

from agents.llm.routes import fault_of_route
from agents.models import Agent


def unavailable_agents() -> list[tuple[str, str]]:
    """The agents whose live release names a route that leads nowhere here, each with why."""
    chains = Agent.objects.filter(archived_at=None, live_release__isnull=False)
    return [
        (slug, fault)
        for slug, chain in chains.values_list("slug", "live_release__model_chain")
        for route in chain
        if (fault := fault_of_route(route)) is not None
    ]


@cache
def tool_names() -> frozenset[str]:
    """The names of the tools that are installed here."""
    # Late: it imports every tool with its libraries, which most processes that read this module never need.
    from agents.tools.toolbox import installed_tools

    return frozenset(tool.name for tool in installed_tools())
