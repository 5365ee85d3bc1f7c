"""Tools: typed Python functions that a model may call. What a package that brings tools needs is here."""

from agents.tools.tool import Tool, ToolContext, ToolError, tool

__all__ = ["Tool", "ToolContext", "ToolError", "tool"]
