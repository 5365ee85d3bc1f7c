"""Control characters are shown, not obeyed."""

import unicodedata
from typing import Any

import pytest

from foundation.control_characters import escape_controls, escape_controls_in_tree

CASES: list[tuple[str, str]] = [
    ("plain text, 漢字, émoji 👩‍👩‍👧, عربي", "plain text, 漢字, émoji 👩‍👩‍👧, عربي"),
    ("\x1b[2J\x07\x00", r"\x1b[2J\x07\x00"),
    ("\x7f\x85\x9b2J\x9d", r"\x7f\x85\x9b2J\x9d"),
    ("a\r\nb\tc\x0b\x0c\x1c\x1d\x1e\x1f", r"a\r\nb\tc\x0b\x0c\x1c\x1d\x1e\x1f"),
    ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
    ("\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c", r"\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c"),
    ("half a pair \ud83d", r"half a pair \ud83d"),
]


@pytest.mark.parametrize(("text", "escaped"), CASES)
def test_what_a_terminal_obeys_is_escaped_and_the_rest_stays(text: str, escaped: str) -> None:
    assert escape_controls(text) == escaped


def test_every_control_and_mark_of_direction_is_escaped() -> None:
    for code in range(0x11_0000):
        char = chr(code)
        turns = unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        if turns or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}:
            assert escape_controls(char).isascii()
            assert (escape_controls(char, keep_lines=True) == char) == (char in "\t\n")


def test_a_tree_is_escaped_with_its_keys() -> None:
    tree: Any = {"\x1b": ["\x9b", {"\u2028": 1}], "n": None, "f": 1.5, "\n": "\n"}
    expected = {r"\x1b": [r"\x9b", {r"\u2028": 1}], "n": None, "f": 1.5, "\n": "\n"}
    assert escape_controls_in_tree(tree, keep_lines=True) == expected
    assert escape_controls_in_tree("\n") == r"\n"
