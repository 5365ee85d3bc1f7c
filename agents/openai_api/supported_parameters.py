"""Every parameter of chat completions and its treatment. `docs/openai.md` has this table; a test compares them.

*Honoured*: it does what OpenAI's documentation says, within the bounds named there. *Ignored*: accepted without effect,
because the agent's release decides or because it changes nothing here. *Refused*: a completion without it would not be
what the client requested, so only a neutral value is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from foundation.errors import InvalidInput


class Treatment(StrEnum):
    """How a parameter is treated; see the docstring of the module."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


_HONOURED = (
    "model", "messages", "stream", "stream_options", "max_completion_tokens", "max_tokens", "stop", "response_format",
    "tools", "tool_choice", "parallel_tool_calls", "metadata",
)  # fmt: skip
_IGNORED = (
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "reasoning_effort", "verbosity",
    "service_tier", "store", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "prediction",
)  # fmt: skip
# By name the values that request nothing; null always does.
_NEUTRAL_VALUES: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "functions": ([],),
    "function_call": ("none",),
    "web_search_options": (),
    "moderation": (),
}

PARAMETERS: dict[str, Treatment] = {
    **dict.fromkeys(_HONOURED, Treatment.HONOURED),
    **dict.fromkeys(_IGNORED, Treatment.IGNORED),
    **dict.fromkeys(_NEUTRAL_VALUES, Treatment.REFUSED),
}

_ALTERNATIVES = {
    "functions": "Use tools.",
    "function_call": "Use tool_choice.",
    "n": "One answer is given to each request.",
}


class UnknownParameter(InvalidInput):
    """There is no such parameter."""

    code = "unknown_parameter"


class UnsupportedParameter(InvalidInput):
    """This parameter is not supported here."""

    code = "unsupported_parameter"


def check_parameters(body: Mapping[str, Any]) -> None:
    """Raise `UnknownParameter` or `UnsupportedParameter` for the first parameter that is not accepted."""
    for name, value in body.items():
        if name not in PARAMETERS:
            raise UnknownParameter(f"There is no parameter {name[:100]!r}.", pointer=f"/{name[:100]}")
        if PARAMETERS[name] is Treatment.REFUSED and not _is_neutral(name, value):
            alternative = _ALTERNATIVES.get(name, "docs/openai.md lists what is.")
            raise UnsupportedParameter(
                f"{name} with this value is not supported here. {alternative}", pointer=f"/{name}"
            )


def _is_neutral(name: str, value: Any) -> bool:
    # The type must match, too: True is not 1 here.
    return value is None or any(type(value) is type(neutral) and value == neutral for neutral in _NEUTRAL_VALUES[name])
