"""Long messages are split where a reader would, and whatever comes, in time that grows with their length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memory.writing.text_splitting import split_text


def test_a_short_text_stays_whole() -> None:
    assert split_text("  I live in Bern. And you?\n") == ["I live in Bern. And you?"]
    assert split_text(" \n ") == []


def test_paragraphs_sentences_and_words_are_ends_in_this_order() -> None:
    assert split_text("One two. Three four.\n\nFive. Six seven", size=30) == ["One two. Three four.", "Five. Six seven"]
    assert split_text("One two three. Four five six", size=20) == ["One two three.", "Four five six"]
    assert split_text("One two three four five", size=15) == ["One two three", "four five"]
    assert split_text("x" * 25, size=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_what_is_longer_than_all_parts_is_cut() -> None:
    chunks = split_text("word " * 100_000)
    assert len(chunks) == 64
    assert max(map(len, chunks)) <= 1_000


@given(st.text(alphabet="ab .!?\n…。", max_size=300), st.integers(1, 40))
def test_nothing_but_white_space_is_lost(text: str, size: int) -> None:
    chunks = split_text(text, size=size, limit=1_000)
    assert "".join("".join(chunks).split()) == "".join(text.split())
    assert all(chunk.strip() and len(chunk) <= size for chunk in chunks)
