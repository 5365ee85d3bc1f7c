"""Working memory for agents: the open tasks and notes of a conversation, which the model sees with each question."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agents.tools.builtin.memory_tools import open_memory
from agents.tools.tool import ToolContext, tool

_SECONDS = 15
_Text = Annotated[str, Field(min_length=1, max_length=2000)]


@tool(idempotent=True, writes=False, timeout_seconds=_SECONDS, trusted_output=True)
def add_task(text: _Text, context: ToolContext) -> str:
    """Put a task on the list of this conversation. You see the list with each question, until the task is finished.

    Args:
        text: What is to be done.
    """
    return open_memory(context).add_item("task", text)


@tool(idempotent=True, writes=False, timeout_seconds=_SECONDS, trusted_output=True)
def finish_task(task: Annotated[str, Field(min_length=1, max_length=64)], context: ToolContext) -> str:
    """Take a task off the list of this conversation.

    Args:
        task: The id of the task, as the list shows it.
    """
    return open_memory(context).finish_item(task)


@tool(idempotent=True, writes=False, timeout_seconds=_SECONDS, trusted_output=True)
def note(text: _Text, context: ToolContext) -> str:
    """Keep a note for the rest of this conversation. It is not remembered in others.

    Args:
        text: What to keep in mind.
    """
    return open_memory(context).add_item("note", text)
