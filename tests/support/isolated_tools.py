"""Tools that run in the compute pool."""

from __future__ import annotations

import json
import os
import time
from typing import Literal

from agents.tools import ToolContext, ToolError, tool


@tool(idempotent=True, writes=False, isolated=True)
def surroundings(context: ToolContext, text: str) -> str:
    """Tell what the process has."""
    return json.dumps(
        {
            "pid": os.getpid(),
            "environment": list(os.environ),
            "text": text,
            "step": context.step_key,
            "client": context.client,
            "folder": context.data_dir,
        }
    )


@tool(idempotent=True, writes=False, isolated=True)
def refuse() -> str:
    """Refuse."""
    raise ToolError("Not today.")


@tool(idempotent=True, writes=False, isolated=True)
def burst(how: Literal["error", "memory", "exit", "long"]) -> str:
    """Fail."""
    if how == "error":
        raise ValueError("secret-in-message")
    if how == "memory":
        return str(len(bytearray(10**12)))
    if how == "exit":
        os._exit(0)
    return "x" * 10**6


@tool(idempotent=False, writes=True, timeout_seconds=0.5, isolated=True)
def sleep_long() -> str:
    """Sleep."""
    time.sleep(3600)
    return ""
