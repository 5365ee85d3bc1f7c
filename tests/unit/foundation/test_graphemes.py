"""Text that people read is cut where they see a character end."""

import time
from unicodedata import combining

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.graphemes import cut_text

FAMILY, FLAG, THUMB, HEART = "👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "❤️‍🔥"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
CLUSTERS = [FAMILY, FLAG, THUMB, HEART, ENGLAND, "क्षि", "நி", "e\u0301", "각", "م", "می\u200c", "a", " ", "\r\n", "1️⃣"]


@pytest.mark.parametrize(
    ("text", "length", "beginning"),
    [
        ("", 0, ""),
        ("abc", 3, "abc"),
        ("abc", 2, "ab"),
        (FAMILY * 2, 13, FAMILY),
        (FLAG * 3, 3, FLAG),
        (FLAG * 3, 4, FLAG * 2),
        (THUMB + "a", 2, THUMB),
        ("a" + THUMB, 2, "a"),
        (f"a{HEART}", 4, "a"),
        (ENGLAND + "ab", 8, ENGLAND + "a"),
        ("aक्षिb", 4, "a"),
        ("ae\u0301", 2, "a"),
        ("a\r\n", 2, "a"),
        ("e" + "\u0301" * 50, 10, "e" + "\u0301" * 9),
    ],
)
def test_a_text_is_cut_where_a_character_ends(text: str, length: int, beginning: str) -> None:
    assert cut_text(text, length) == beginning


def test_the_mark_of_a_cut_counts() -> None:
    assert cut_text("abcdef", 6, mark="…") == "abcdef"
    assert cut_text("abcdefg", 6, mark="…") == "abcde…"
    assert cut_text(FAMILY * 2, 8, mark="…") == FAMILY + "…"
    assert cut_text("abc", 0, mark="") == ""


@given(st.lists(st.sampled_from(CLUSTERS), max_size=40), st.integers(0, 60))
def test_no_cut_leaves_half_of_a_character(clusters: list[str], length: int) -> None:
    text = "".join(clusters)
    beginning = cut_text(text, length)
    assert len(beginning) <= length
    assert text.startswith(beginning)
    rest = text[len(beginning) :]
    # All of these are at most seven code points long.
    assert not rest or len(beginning) > length - 8
    if beginning and rest:
        assert not combining(rest[0])
        assert rest[0] not in "\u200d\u200c\ufe0f🏽\n\u20e3"
        assert not beginning.endswith("\u200d")


@given(st.text(max_size=30), st.integers(0, 30))
def test_any_text_can_be_cut(text: str, length: int) -> None:
    beginning = cut_text(text, length)
    assert text.startswith(beginning)
    assert len(beginning) <= length
    assert beginning or not text or not length


def test_a_long_text_costs_no_more_than_its_beginning() -> None:
    began = time.process_time()
    for text in ("a" * 10_000_000, "\u0301" * 10_000_000, FLAG * 5_000_000):
        assert len(cut_text(text, 4_000)) == 4_000
    assert time.process_time() - began < 1
