"""Which values stand word for word in a text."""

from time import perf_counter
from typing import Any

import pytest

from agents.domain.verbatim_values import MAX_CHARACTERS, VerbatimTexts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("write to a@b.com", "a@b.com"),
        ("write to a@b.com.", "a@b.com"),
        ("(a@b.com)", "a@b.com"),
        ("Ada <a@b.com>, please", "a@b.com"),
        ("“a@b.com”", "a@b.com"),
        ("see https://a.example/x?y=1#z now", "https://a.example/x?y=1#z"),
        ("发送到 a@b.com，谢谢", "a@b.com"),  # noqa: RUF001
        ("Ask Ada Lovelace!", "Ada Lovelace"),
        ("line one\nline two", "line one\nline two"),
        ("pay 100 now", 100),
        ("pay 100 now", 100.0),
        ("pay $100.", 100),
        ("pay 100€", 100),
        ("10%", 10),
        ("pay 12.50", "12.50"),
        ("pay 12.5", 12.5),
        ("at -5", -5),
    ],
)
def test_a_value_stands_there_as_a_word(text: str, value: Any) -> None:
    assert VerbatimTexts([text]).contain(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("xa@b.com", "a@b.com"),
        ("a@b.com.evil", "a@b.com"),
        ("xa@b.com.evil", "a@b.com"),
        ("a@b.com/x", "a@b.com"),
        ("a@b.com-x", "a@b.com"),
        ("mailto:a@b.com", "a@b.com"),
        ("a+a@b.com", "a@b.com"),
        ("https://a.example/x", "https://a.example"),
        ("https://a.example.evil", "https://a.example"),
        ("*.a.example", ".a.example"),
        ("Ada Lovelaces", "Ada Lovelace"),
        ("xAda Lovelace", "Ada Lovelace"),
        ("a@b.com", "A@b.com"),
        ("a@b.com", "a@b.com\u200b"),
        ("a@b.com\u200b", "a@b.com"),
        ("e\u0301", "e"),
        ("é", "e\u0301"),
        ("1000", 100),
        ("1,000", 1),
        ("100.5", 100),
        ("-100", 100),
        ("v100", 100),
        ("1e2", 100),
        ("١٠٠", 100),  # noqa: RUF001
        ("a", ""),
        ("a b", " "),
        ("a,b", ","),
        ("true", None),
    ],
)
def test_a_part_of_a_word_is_another_value(text: str, value: Any) -> None:
    assert not VerbatimTexts([text]).contain(value)


def test_the_first_texts_are_read_and_no_part_of_one() -> None:
    texts = VerbatimTexts(["first", "x " * MAX_CHARACTERS, "last"])
    assert texts.contain("first")
    assert texts.contain("last")
    assert not texts.contain("x")


def test_looking_up_takes_a_bounded_time() -> None:
    texts = VerbatimTexts(["a b" * (MAX_CHARACTERS // 3)])
    began_at = perf_counter()
    assert not texts.contain("b a")
    assert not texts.contain("c")
    assert perf_counter() - began_at < 2


def test_what_stands_around_a_value_is_looked_at_once() -> None:
    unit = f"x{'(' * 40}a b{')' * 40}x "
    texts = VerbatimTexts([unit * (MAX_CHARACTERS // len(unit))])
    began_at = perf_counter()
    for number in range(1, 31):
        assert not any(texts.contain("(" * number + "a b" + ")" * other) for other in range(1, 31))
    assert perf_counter() - began_at < 6
