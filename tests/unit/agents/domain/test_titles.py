"""What a conversation is called by its first words."""

from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.titles import MAX_LENGTH, make_title
from agents.sessions.crud import MAX_TITLE

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
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
        # Emoji: families, flags of letters and of tags, tones of skin, variants.
        ("Hi 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️‍🔥 1️⃣", "Hi 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️‍🔥 1️⃣"),
        (f"{SCOTLAND} wins", f"{SCOTLAND} wins"),
        ("👩‍👩‍👧‍👦" * 9, "👩‍👩‍👧‍👦" * 8 + "…"),
        ("x" * 58 + "🇩🇪🇩🇪", "x" * 58 + "…"),
        ("x" * 58 + "👍🏽👍🏽", "x" * 58 + "…"),
        (SCOTLAND * 9, SCOTLAND * 8 + "…"),
        # Persian, Devanagari, Sinhala, Mongolian and Arabic keep what joins and parts their letters.
        ("می‌خواهم نامه‌ای بنویسم", "می‌خواهم نامه‌ای بنویسم"),
        ("क्‍ष र्‍क शक्‌ति", "क्‍ष र्‍क शक्‌ति"),
        ("ශ්‍රී ලංකා", "ශ්‍රී ලංකා"),
        ("\u1828\u180e\u1820", "\u1828\u180e\u1820"),
        ("\u0600\u0661\u0662", "\u0600\u0661\u0662"),
        ("\u06f1\u06f4\u06f0\u06f2\u0647\u200d.\u0642", "\u06f1\u06f4\u06f0\u06f2\u0647\u200d.\u0642"),
        ("क्षि" * 20, "क्षि" * 14 + "…"),
        ("می‌خواهم " * 9, "می‌خواهم می‌خواهم می‌خواهم می‌خواهم می‌خواهم می‌خواهم…"),
        # What only hides, and whatever turns the text around it.
        ("pay\u200cpal pass\u200dword a\u200c👍", "paypal password a👍"),
        ("\u200cم\u200c \u200cم\u200c\u200c\u200cم", "م مم"),
        ("\u2066a\u2067b\u2068c\u2069 \u202ad\u202be\u202cf\u202d\u200eg\u200f\u061ch", "abc defgh"),
        ("\U000e0068\U000e0069 x\U000e007f", "x"),
        ("e" + "\u0301" * 500, "\u00e9" + "\u0301" * 58 + "…"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_title_is_the_beginning_cut_at_a_word(text: str, title: str) -> None:
    assert make_title(text) == title


@given(st.text(st.characters() | st.sampled_from("\x00\ud800 \u202e\n\u200d\u200c👩🏽🇩م"), max_size=200))
def test_a_title_is_one_short_line_that_a_row_takes(text: str) -> None:
    title = make_title(text)
    title.encode()
    assert title == title.strip()
    assert len(title) <= MAX_LENGTH < MAX_TITLE
    assert not {category(char) for char in title} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {*"\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u00ad"} & {*title}
    assert title.lstrip("\u200c\u200d") == title.rstrip("\u200c") == title


def test_a_long_message_costs_no_more_than_its_beginning() -> None:
    assert make_title("a b " * 16_000) == make_title("a b " * 1000)
