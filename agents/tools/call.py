"""Run one tool: whatever it does, the model gets a result and the platform no exception."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from agents.domain.waits import Park
from agents.tools.isolated import run_isolated
from agents.tools.outcomes import error_outcome, success_outcome, timeout_outcome
from agents.tools.tool import Tool, ToolContext, ToolOutcome
from foundation.compute_pool import ComputePool
from foundation.errors import BandstandError

log = structlog.get_logger(__name__)


async def run_tool(tool: Tool, arguments: str, context: ToolContext, pool: ComputePool) -> ToolOutcome:
    """Run `tool` with the arguments, JSON text, that a model wrote: in `pool` if it is isolated, else in this process.
    Raises nothing but `Park` and the cancellation of the caller's own task."""
    return await (run_isolated(tool, arguments, context, pool) if tool.isolated else _run(tool, arguments, context))


async def _run(tool: Tool, arguments: str, context: ToolContext) -> ToolOutcome:
    task = asyncio.current_task()
    cancels = task.cancelling() if task else 0
    try:
        values = tool.arguments.read(arguments)
        if tool.arguments.context_name:
            values[tool.arguments.context_name] = context
        async with asyncio.timeout(tool.timeout_seconds) as limit:
            return success_outcome(await _call(tool.function, values))
    except Park:
        raise
    except BandstandError as error:
        return error_outcome(error.detail)
    except asyncio.CancelledError:
        # A tool may also raise this itself, when something that it awaits is cancelled.
        if task is None or task.cancelling() > cancels:
            raise
        return error_outcome("The tool was interrupted.")
    except TimeoutError:
        if not limit.expired():
            return error_outcome("The tool failed (TimeoutError).")
        return timeout_outcome(tool)
    except (Exception, SystemExit) as error:
        log.exception("tool.failed", tool=tool.name, step=context.step_key)
        return error_outcome(f"The tool failed ({type(error).__name__}).")


async def _call(function: Callable[..., Any], values: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**values)
    result = await _in_thread(partial(function, **values))
    return await result if inspect.isawaitable(result) else result


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Call `work` in a thread of its own.

    A pool would be exhausted by tools that hang, and would keep the process from ending. A thread cannot be stopped:
    after a timeout it continues, and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def deliver(result: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((result, error))

    def run() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (context.run(work), None)
        except BaseException as error:
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(deliver, *outcome)
        except RuntimeError:
            log.warning("tool_result.not_delivered")

    threading.Thread(target=run, name="tool", daemon=True).start()
    result, error = await done
    if error is not None:
        raise error
    return result
