"""Token counts as servers report them, in the spellings of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.llm.interface import Usage

# OpenAI's chat completions; its Responses API and Anthropic; Ollama's and llama.cpp's own interfaces.
_INPUT = ("prompt_tokens", "input_tokens", "prompt_eval_count", "tokens_evaluated")
_OUTPUT = ("completion_tokens", "output_tokens", "eval_count", "tokens_predicted")
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "completion_tokens_details", "output_tokens_details")
# OpenAI's, DeepSeek's and Moonshot's.
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens")


def parse_usage(usage: Any) -> Usage | None:
    """The token counts; None when they are no valid counts, or all of them are zero: so servers write that they do not
    count."""
    if not isinstance(usage, Mapping):
        return None
    read, written = _first_count(usage, _INPUT), _first_count(usage, _OUTPUT)
    if read is None or written is None or not (read or written):
        return None
    details = {
        name: value for key in _DETAILS if isinstance(part := usage.get(key), Mapping) for name, value in part.items()
    }
    cached = _first_count({**usage, **details}, _CACHED) or 0
    reasoning = _first_count({**usage, **details}, ("reasoning_tokens",)) or 0
    return Usage(
        read,
        written,
        cached_tokens=cached if cached <= read else 0,
        reasoning_tokens=reasoning if reasoning <= written else 0,
    )


def _first_count(values: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _count(values.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    """A count, also one that was written as 7.0 or "7"."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 10**12 else None
