"""Run one tool in a process of the compute pool, where it can neither stop nor starve anything else."""

from __future__ import annotations

import importlib
import json
from uuid import UUID

import structlog

from agents.tools.outcomes import error_outcome, success_outcome, timeout_outcome
from agents.tools.tool import Tool, ToolContext, ToolOutcome
from foundation.compute_pool import ComputeFailed, ComputeOverloaded, ComputePool
from foundation.compute_pool.errors import Outcome
from foundation.errors import BandstandError

log = structlog.get_logger(__name__)

TARGET = f"{__name__}:call_tool_function"


async def run_isolated(tool: Tool, arguments: str, context: ToolContext, pool: ComputePool) -> ToolOutcome:
    """Run `tool` in `pool` with the arguments, JSON text, that a model wrote. Raises only for a cancellation."""
    call = {
        "tool": tool.reference,
        "arguments": arguments,
        "session_id": str(context.session_id),
        "turn_id": str(context.turn_id),
        "step_key": context.step_key,
    }
    requester = None if context.user_id is None else str(context.user_id)
    try:
        answer = json.loads(
            await pool.run(TARGET, json.dumps(call), seconds=tool.timeout_seconds, kind=tool.name, requester=requester)
        )
    except ComputeOverloaded:
        return error_outcome("Too many tools are calculating at the moment; the tool was not begun. Try again later.")
    except ComputeFailed as error:
        if error.outcome is Outcome.TIMEOUT:
            return timeout_outcome(tool)
        log.warning(
            "tool.failed", tool=tool.name, step=context.step_key, outcome=error.outcome, exception=error.report or None
        )
        return error_outcome(_DETAILS[error.outcome])
    return ToolOutcome(answer["content"], is_error=answer["is_error"])


_DETAILS = {
    Outcome.RAISED: "The tool failed.",
    Outcome.MEMORY: "The tool needs more memory than it may use.",
    Outcome.OUTPUT: "The tool wrote more than it may.",
    Outcome.DIED: "The tool's process ended before it was finished.",
}


def call_tool_function(payload: str) -> str:
    """In the process of the pool: call a tool, and return its outcome as JSON. What the tool raises, other than to talk
    to the model, is raised."""
    call = json.loads(payload)
    module, _, name = call["tool"].partition(":")
    tool: Tool = getattr(importlib.import_module(module), name)
    try:
        values = tool.arguments.read(call["arguments"])
        if tool.arguments.context_name:
            ids = UUID(call["session_id"]), UUID(call["turn_id"])
            values[tool.arguments.context_name] = ToolContext(*ids, call["step_key"])
        outcome = success_outcome(tool.function(**values))
    except BandstandError as error:
        outcome = error_outcome(error.detail)
    return json.dumps({"content": outcome.content, "is_error": outcome.is_error})
