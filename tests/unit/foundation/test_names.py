"""A name is one line, and turns nothing around it."""

import pytest

from foundation.names import clean_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Sums", "Sums"),
        ("  two  words ", "two  words"),
        ("one\r\ntwo\nthree\tfour", "one two three four"),
        ("a\u2028b\u2029c\x85d\x0be\x1b[2Jf", "a b c d e [2Jf"),
        ("\u202egpj.exe\u202c \u2066x\u2069\u200e\u200f\u061c", "gpj.exe x"),
        ("e\u0301", "é"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("\r\n\u202e", ""),
        ("in\u200bvisible\ufeff", "invisible"),
    ],
)
def test_a_name_is_cleaned(text: str, name: str) -> None:
    assert clean_name(text) == name
