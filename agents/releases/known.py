"""The tools that a release may name."""

from __future__ import annotations


def tool_names() -> frozenset[str]:
    """The names of every registered tool."""
    return frozenset({"clock", "calculator", "http_fetch", "notebook_add"})
