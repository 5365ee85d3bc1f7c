"""What a conversation is called by its first words."""

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.titles import MAX_LENGTH, make_title
from agents.sessions.crud import MAX_TITLE

_WEATHER = "Tell me everything there is to know about the weather"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is the time?", "What is the time?"),
        ("  What\n\n is\t the time?  ", "What is the time?"),
        ("w" * 60, "w" * 60),
        ("w" * 61, "w" * 59 + "…"),
        ("Tell me everything there is to know about the weather now, in detail", _WEATHER + " now…"),
        ("Tell me everything there is to know about the weather: rains and so on", _WEATHER + "…"),
        ("short " + "w" * 100, "short " + "w" * 53 + "…"),
        ("天気" * 40, "天気" * 29 + "天…"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\x00b\x07", "a b"),
        ("\u200b\u2060", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_title_is_the_beginning_cut_at_a_word(text: str, title: str) -> None:
    assert make_title(text) == title


@given(st.text(st.characters() | st.sampled_from("\x00\ud800 \u202e\n"), max_size=200))
def test_a_title_is_one_short_line_that_a_row_takes(text: str) -> None:
    title = make_title(text)
    title.encode()
    assert title == title.strip()
    assert len(title) <= MAX_LENGTH < MAX_TITLE
    assert not {category(char) for char in title} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_a_long_message_costs_no_more_than_its_beginning() -> None:
    assert make_title("a b " * 16_000) == make_title("a b " * 1000)
