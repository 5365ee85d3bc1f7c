"""The tools that a release may name."""

from __future__ import annotations

from functools import cache


@cache
def tool_names() -> frozenset[str]:
    """The names of the tools that are installed here."""
    # Late: it imports every tool with its libraries, which most processes that read this module never need.
    from agents.tools.toolbox import installed_tools

    return frozenset(tool.name for tool in installed_tools())
