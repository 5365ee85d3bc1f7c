"""What providers write about their rate limits, as they write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agents.domain.rate_limits import Allowance, RateLimits
from agents.llm.rate_limit_headers import read_rate_limits


def about(seconds: float) -> Any:
    """The clock goes on while a test runs."""
    return pytest.approx(seconds, abs=5)


def limits(**headers: str) -> RateLimits | None:
    return read_rate_limits(
        CIMultiDict({name.replace("_", "-"): text for name, text in headers.items()}), call_tokens=100
    )


def test_openai_writes_durations() -> None:
    assert limits(
        x_ratelimit_limit_requests="60",
        x_ratelimit_limit_tokens="150000",
        x_ratelimit_remaining_requests="59",
        x_ratelimit_remaining_tokens="149984",
        x_ratelimit_reset_requests="1s",
        x_ratelimit_reset_tokens="6m0s",
    ) == RateLimits(Allowance(59, 60, 1.0), Allowance(149_984, 150_000, 360.0), 100)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12ms", 0.012), ("2m59.56s", 179.56), ("7.66s", 7.66), ("1h2m3s", 3723.0), ("1d", 86_400.0), ("34", 34.0),
     ("0.5", 0.5), ("soon", None), ("", None), ("nan", None), ("-3", 0.0), ("1e400", 86_400.0)],
)  # fmt: skip
def test_a_reset_is_read_in_every_form(text: str, seconds: float | None) -> None:
    found = limits(X_RateLimit_Remaining_Requests="5", X_RateLimit_Reset_Requests=text)
    assert found is not None
    assert found.requests is not None
    assert found.requests.reset_seconds == pytest.approx(seconds)


def test_anthropic_writes_times_and_several_kinds_of_tokens() -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    found = limits(
        anthropic_ratelimit_requests_limit="50",
        anthropic_ratelimit_requests_remaining="49",
        anthropic_ratelimit_requests_reset=reset,
        anthropic_ratelimit_input_tokens_limit="40000",
        anthropic_ratelimit_input_tokens_remaining="39000",
        anthropic_ratelimit_input_tokens_reset=reset,
        anthropic_ratelimit_output_tokens_limit="8000",
        anthropic_ratelimit_output_tokens_remaining="400",
        anthropic_ratelimit_output_tokens_reset=reset,
    )
    assert found is not None
    assert found.requests == Allowance(49, 50, about(30))
    # The kind of which the least remains.
    assert found.tokens == Allowance(400, 8000, about(30))


def test_cerebras_and_mistral_name_the_period() -> None:
    found = limits(
        x_ratelimit_limit_requests_day="1000",
        x_ratelimit_remaining_requests_day="10",
        x_ratelimit_reset_requests_day="33011.382867097855",
        x_ratelimit_remaining_tokens_minute="60000",
        x_ratelimit_limit_tokens_minute="60000",
    )
    assert found is not None
    assert found.requests == Allowance(10, 1000, about(33_011.38))
    assert found.tokens == Allowance(60_000, 60_000, None)


def test_a_moment_since_1970_is_a_reset_too() -> None:
    for text in (str(datetime.now(UTC).timestamp() + 20), str(int(datetime.now(UTC).timestamp() * 1000) + 20_000)):
        found = limits(x_ratelimit_remaining_requests="1", x_ratelimit_reset_requests=text)
        assert found is not None
        assert found.requests == Allowance(1, None, about(20))


@pytest.mark.parametrize(
    "headers",
    [{}, {"content_type": "text/event-stream"}, {"x_ratelimit_remaining_tokens": "-1"},
     {"x_ratelimit_remaining_requests": "many"}, {"x_ratelimit_limit_requests": "60"}],
)  # fmt: skip
def test_without_what_remains_nothing_is_known(headers: dict[str, str]) -> None:
    assert limits(**headers) is None


@given(remaining=st.text(max_size=12), limit=st.text(max_size=12), reset=st.text(max_size=30))
def test_any_text_is_survived(remaining: str, limit: str, reset: str) -> None:
    headers = {
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-limit-requests": limit,
        "x-ratelimit-reset-requests": reset,
    }
    read_rate_limits(headers, call_tokens=1)
