"""What the headers of an answer say of its provider's rate limits.

OpenAI's names (platform.openai.com/docs/guides/rate-limits), which Groq, Azure and most servers copy, with resets as
durations ("6m0s", "20ms") or seconds; the same with a period at the end (Cerebras, Mistral); and Anthropic's
(docs.anthropic.com/en/api/rate-limits), with resets as times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from math import isnan

from agents.domain.rate_limits import Allowance, RateLimits
from agents.domain.token_estimates import BYTES_PER_TOKEN

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[dhms]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
# A reset that is a moment and not a duration: seconds or milliseconds since 1970.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12
_MAX_RESET_SECONDS = 86_400.0
_MAX_NUMBER = 10**12

# Of the remaining number, of the limit, of the reset. Of several that an answer has, the one with the least remaining
# counts, as a share of its limit.
_Names = tuple[str, str, str]


def _openai(noun: str) -> _Names:
    return (f"x-ratelimit-remaining-{noun}", f"x-ratelimit-limit-{noun}", f"x-ratelimit-reset-{noun}")


def _anthropic(noun: str) -> _Names:
    return tuple(f"anthropic-ratelimit-{noun}-{what}" for what in ("remaining", "limit", "reset"))  # type: ignore[return-value]


_REQUESTS = (
    _openai("requests"), _openai("requests-minute"), _openai("req-minute"), _openai("requests-day"),
    _anthropic("requests"),
)  # fmt: skip
_TOKENS = (
    _openai("tokens"), _openai("tokens-minute"),
    _anthropic("tokens"), _anthropic("input-tokens"), _anthropic("output-tokens"),
)  # fmt: skip


def read_rate_limits(headers: Mapping[str, str], *, call_tokens: int) -> RateLimits | None:
    """The limits in `headers`, which are found in any case of letters; None where they say nothing that can be read.

    `call_tokens` is an estimate of what the request took.
    """
    requests, tokens = _tightest_allowance(headers, _REQUESTS), _tightest_allowance(headers, _TOKENS)
    return None if requests is None and tokens is None else RateLimits(requests, tokens, max(1, call_tokens))


def estimate_call_tokens(sent_bytes: int, max_output_tokens: int | None) -> int:
    """What providers count for a request before they answer it, estimated: its own tokens
    and those that the answer may have."""
    return sent_bytes // BYTES_PER_TOKEN + (max_output_tokens or 0)


def _tightest_allowance(headers: Mapping[str, str], candidates: tuple[_Names, ...]) -> Allowance | None:
    tightest: Allowance | None = None
    for remaining_name, limit_name, reset_name in candidates:
        if (text := headers.get(remaining_name)) is None or (remaining := _number(text)) is None:
            continue
        allowance = Allowance(remaining, _number(headers.get(limit_name)) or None, _seconds(headers.get(reset_name)))
        if tightest is None or _share(allowance) < _share(tightest):
            tightest = allowance
    return tightest


def _share(allowance: Allowance) -> float:
    return allowance.remaining / allowance.limit if allowance.limit else 1.0


def _number(text: str | None) -> int | None:
    """A number that is not negative: Azure writes -1 for what it does not know."""
    with suppress(ValueError, OverflowError):
        number = int(float(text)) if text is not None else -1
        return number if 0 <= number <= _MAX_NUMBER else None
    return None


def _seconds(text: str | None) -> float | None:
    """The seconds until a reset that is written as a duration, a number or a time."""
    if text is None:
        return None
    text = text.strip()
    seconds: float | None = None
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        with suppress(ValueError, OverflowError):
            seconds = _until(float(text))
        if seconds is None:
            with suppress(ValueError, OverflowError, TypeError):
                seconds = (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _MAX_RESET_SECONDS) if seconds is not None and not isnan(seconds) else None


def _until(number: float) -> float:
    if number < _EPOCH_SECONDS:
        return number
    moment = number / 1000 if number >= _EPOCH_MILLISECONDS else number
    return moment - datetime.now(UTC).timestamp()
