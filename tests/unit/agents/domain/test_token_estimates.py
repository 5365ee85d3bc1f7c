"""Tokens are estimated by script, and corrected by what providers report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.token_estimates import (
    LARGEST_FACTOR,
    LEAST_FACTOR,
    LEAST_SAMPLE_TOKENS,
    estimate_tokens,
    max_tokens,
    next_factor,
    raise_factor,
    token_counter,
)

any_text = st.text(st.characters())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 2), ("é", 1), ("日本", 2), ("😀", 2), ("\ud800", 1), ("привет, мир", 5), ("مرحبا", 3)],
)
def test_tokens_are_estimated_by_script(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        # With OpenAI's o200k_base.
        ("The quick brown fox jumps over the lazy dog, and nobody is surprised by that any more. ", 20),
        ("Съешь же ещё этих мягких французских булок, да выпей чаю. ", 20),
        ("我能吞下玻璃而不伤身体。今天天气很好，我们去公园散步吧。", 23),  # noqa: RUF001
    ],
)
def test_an_estimate_is_near_what_models_count_and_above_it(text: str, counted: int) -> None:
    assert counted <= estimate_tokens(text) <= 2 * counted


@given(any_text, any_text, st.floats(LEAST_FACTOR, LARGEST_FACTOR))
def test_a_text_has_no_more_tokens_than_bytes_nor_less_than_its_parts(one: str, two: str, factor: float) -> None:
    count = token_counter(factor)
    assert 0 <= count(one) <= max_tokens(one) <= 4 * len(one)
    assert estimate_tokens(one) <= len(one.encode("utf-8", "surrogatepass"))
    assert max(count(one), count(two)) <= count(one + two) + 1
    assert estimate_tokens(one + two) <= estimate_tokens(one) + estimate_tokens(two)


@given(st.floats(0.3, 3), st.integers(LEAST_SAMPLE_TOKENS, 100_000), st.floats(LEAST_FACTOR, LARGEST_FACTOR))
def test_the_factor_comes_near_what_is_reported_and_stays_in_its_bounds(
    ratio: float, estimated: int, factor: float
) -> None:
    reported = int(ratio * estimated)
    for _ in range(40):
        factor = next_factor(factor, estimated=estimated, reported=reported)
        assert LEAST_FACTOR <= factor <= LARGEST_FACTOR
    wanted = min(LARGEST_FACTOR, max(LEAST_FACTOR, 1.1 * reported / estimated))
    assert factor == pytest.approx(wanted, abs=0.01)


def test_more_tokens_are_believed_faster_than_fewer_and_small_requests_not_at_all() -> None:
    assert next_factor(1.0, estimated=1_000, reported=2_000) == pytest.approx(1.5)
    assert next_factor(2.0, estimated=1_000, reported=900) == pytest.approx(1.798)
    assert next_factor(1.0, estimated=LEAST_SAMPLE_TOKENS - 1, reported=5_000) == 1.0
    assert next_factor(1.0, estimated=1_000, reported=0) == 1.0


def test_a_refused_request_raises_the_factor_up_to_its_bound() -> None:
    assert raise_factor(1.0) == 1.25
    assert raise_factor(1.9) == LARGEST_FACTOR
