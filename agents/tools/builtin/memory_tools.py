"""Long-term memory for agents: remember what the user asks for, look it up, forget it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.tools.tool import ToolContext, ToolError, tool
from agents.tools.turn_memory import TurnMemory

_SECONDS = 15


def open_memory(context: ToolContext) -> TurnMemory:
    """The memory of the call. Raises `ToolError` where there is none."""
    if context.memory is None:
        raise ToolError("There is no memory here.")
    return context.memory


@tool(idempotent=True, writes=True, timeout_seconds=_SECONDS, trusted_output=True)
def remember(
    text: Annotated[str, Field(min_length=1, max_length=4000)],
    context: ToolContext,
    about: Annotated[str, Field(max_length=64)] = "",
) -> str:
    """Remember something for later conversations. Only what the user asked you to remember, in one sentence.

    Args:
        text: What to remember, as the user said it, such as: I live in Bern.
        about: The name of the fact, if a new value shall replace the old one, such as home_city.
    """
    return open_memory(context).remember(text, slot=about)


@tool(idempotent=True, writes=False, timeout_seconds=_SECONDS, trusted_output=True)
async def recall(query: Annotated[str, Field(min_length=1, max_length=1000)], context: ToolContext) -> str:
    """Look up what is remembered from earlier conversations with this user.

    Args:
        query: What to look for, such as: where the user lives.
    """
    return await open_memory(context).recall(query)


@tool(idempotent=True, writes=True, timeout_seconds=_SECONDS, trusted_output=True)
def forget(memory: Annotated[str, Field(min_length=1, max_length=4000)], context: ToolContext) -> str:
    """Forget something for good, because the user asked you to.

    Args:
        memory: The id of a memory, as recall shows it, or its exact text.
    """
    return open_memory(context).forget(memory)
