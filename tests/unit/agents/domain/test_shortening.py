"""Texts made shorter: what says most stays, and equal texts give equal results."""

import time

from hypothesis import given
from hypothesis import strategies as st

from agents.domain.shortening import GAP, cut_middle, key_sentences
from agents.domain.token_estimates import estimate_tokens

TEXT = (
    "The harbour of Basel has three basins. It rained. We had lunch. Ships turn in the second basin of the harbour. "
    "Somebody sang. The harbour earns most with containers."
)
scripts = st.sampled_from(
    ["A word here. ", "Zwei Wörter! ", "привет мир. ", "日本語です。", "x", "\n", "- item\n", "{}"]
)
texts = st.lists(scripts, max_size=60).map("".join)


def test_key_sentences_are_those_of_what_the_text_is_about() -> None:
    short = key_sentences(TEXT, 100, len)
    assert short.startswith("The harbour of Basel has three basins. ")
    assert GAP in short
    assert short.endswith("The harbour earns most with containers.")
    assert "sang" not in short


def test_a_text_that_is_short_enough_stays_as_it_is() -> None:
    assert key_sentences(TEXT, len(TEXT), len) == cut_middle(TEXT, len(TEXT), len) == TEXT


def test_a_text_without_sentences_keeps_its_beginning_and_its_end() -> None:
    cut = key_sentences("a" * 500 + "b" * 500, 100, len)
    assert cut.startswith("a" * 20)
    assert cut.endswith("b" * 10)
    assert "characters left out" in cut
    assert len(cut) <= 100


def test_where_not_even_the_mark_fits_the_beginning_is_left() -> None:
    assert cut_middle("abcdef" * 10, 3, len) == "abc"


@given(texts, st.integers(0, 200))
def test_what_is_left_fits_and_is_the_same_each_time(text: str, tokens: int) -> None:
    for shorten in (key_sentences, cut_middle):
        short = shorten(text, tokens, estimate_tokens)
        assert estimate_tokens(short) <= tokens
        assert short == shorten(text, tokens, estimate_tokens)


def test_a_long_run_of_full_stops_takes_no_longer_than_other_text() -> None:
    began = time.perf_counter()
    for run in (".", "?!", "…"):
        text = run * (60_000 // len(run)) + "a"
        assert estimate_tokens(key_sentences(text, 5_000, estimate_tokens)) <= 5_000
    assert time.perf_counter() - began < 3.0, "the square of its length: half a minute each"
