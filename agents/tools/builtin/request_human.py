"""A tool with which an agent asks for a person. The act counts, not a word in a text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.tools.tool import ToolContext, ToolError, tool


@tool(idempotent=True, writes=False, timeout_seconds=15, trusted_output=True)
def request_human(reason: Annotated[str, Field(min_length=1, max_length=200)], context: ToolContext) -> str:
    """Ask for a person of the team to take over this conversation, because the user wants one or you cannot help.

    You go on answering until a person comes. The result says whether somebody is there.

    Args:
        reason: Why a person is needed, in one sentence. The user can read it.
    """
    if context.request_human is None:
        raise ToolError("Nobody can be asked here.")
    return context.request_human(reason)
