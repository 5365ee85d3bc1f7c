"""What a model reads of a call: a result or an error, as text that can be stored, of bounded length."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from agents.tools.tool import MAX_RESULT_BYTES, Tool, ToolOutcome
from foundation.storable_text import storable_text


def success_outcome(result: Any) -> ToolOutcome:
    """The outcome of a call that returned `result`."""
    return ToolOutcome(truncate(result), is_error=False)


def error_outcome(text: str) -> ToolOutcome:
    """The outcome of a call that failed, with words for the model."""
    return ToolOutcome(truncate(text), is_error=True)


def timeout_outcome(tool: Tool) -> ToolOutcome:
    """The outcome of a call of `tool` that took too long."""
    suffix = " It may still have taken effect." if tool.writes else ""
    return error_outcome(f"The tool did not finish within {tool.timeout_seconds:g} seconds.{suffix}")


def truncate(value: Any) -> str:
    """`value` as text of at most 16 KiB that can be stored; a note at the end says when it was cut."""
    if value is None:
        return "Done."
    text = value if isinstance(value, str) else to_json(value, fallback=str).decode()
    data = storable_text(text[: MAX_RESULT_BYTES + 1]).encode()
    if len(data) <= MAX_RESULT_BYTES:
        return data.decode()
    mark = f"\n… [cut: only the first {MAX_RESULT_BYTES // 1024} KiB are here]"
    return data[: MAX_RESULT_BYTES - len(mark.encode())].decode(errors="ignore") + mark
