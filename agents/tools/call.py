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
from pydantic_core import to_json

from agents.domain.waits import Park
from agents.tools.tool import MAX_RESULT_BYTES, Tool, ToolContext, ToolOutcome
from foundation.errors import BandstandError
from foundation.storable_text import storable_text

log = structlog.get_logger(__name__)


async def run_tool(tool: Tool, arguments: str, context: ToolContext) -> ToolOutcome:
    """Run `tool` with the arguments, JSON text, that a model wrote. Raises nothing but `Park` and the cancellation of
    the caller's own task."""
    task = asyncio.current_task()
    cancels = task.cancelling() if task else 0
    try:
        values = tool.arguments.read(arguments)
        if tool.arguments.context_name:
            values[tool.arguments.context_name] = context
        async with asyncio.timeout(tool.timeout_seconds) as limit:
            return ToolOutcome(_truncate(await _call(tool.function, values)), is_error=False)
    except Park:
        raise
    except BandstandError as error:
        return _error_outcome(error.detail)
    except asyncio.CancelledError:
        # A tool may also raise this itself, when something that it awaits is cancelled.
        if task is None or task.cancelling() > cancels:
            raise
        return _error_outcome("The tool was interrupted.")
    except TimeoutError:
        if not limit.expired():
            return _error_outcome("The tool failed (TimeoutError).")
        suffix = " It may still have taken effect." if tool.writes else ""
        return _error_outcome(f"The tool did not finish within {tool.timeout_seconds:g} seconds.{suffix}")
    except (Exception, SystemExit) as error:
        log.exception("tool.failed", tool=tool.name, step=context.step_key)
        return _error_outcome(f"The tool failed ({type(error).__name__}).")


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


def _error_outcome(text: str) -> ToolOutcome:
    return ToolOutcome(_truncate(text), is_error=True)


def _truncate(value: Any) -> str:
    """`value` as text of at most 16 KiB that can be stored; a note at the end says when it was cut."""
    if value is None:
        return "Done."
    text = value if isinstance(value, str) else to_json(value, fallback=str).decode()
    data = storable_text(text[: MAX_RESULT_BYTES + 1]).encode()
    if len(data) <= MAX_RESULT_BYTES:
        return data.decode()
    mark = f"\n… [cut: only the first {MAX_RESULT_BYTES // 1024} KiB are here]"
    return data[: MAX_RESULT_BYTES - len(mark.encode())].decode(errors="ignore") + mark
