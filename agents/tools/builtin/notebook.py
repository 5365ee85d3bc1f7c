"""A notebook that demonstrates the step journal: its tool is not idempotent, since a repeated write would be
visible."""

from __future__ import annotations

import os
from typing import Annotated

import orjson
from pydantic import Field

from agents.tools.tool import ToolContext, ToolError, tool

FILE_NAME = "demo-notebook.log"


@tool(idempotent=False, writes=True, timeout_seconds=10, trusted_output=True)
def notebook_add(text: Annotated[str, Field(min_length=1, max_length=2000)], context: ToolContext) -> str:
    """Write a line into the demo notebook, a file on the server.

    Args:
        text: What to write down.
    """
    if context.data_dir is None:
        raise ToolError("There is no notebook here.")
    line = orjson.dumps({"step_key": context.step_key, "session": str(context.session_id), "text": text}) + b"\n"
    context.guard_storage(len(line))
    # One write to a file opened for appending: lines of several runners do not mix, and it is on disk before we say so.
    notebook = os.open(context.data_dir / FILE_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.write(notebook, line) != len(line):
            raise ToolError("The notebook is full.")
        os.fsync(notebook)
    finally:
        os.close(notebook)
    return "Written down."
