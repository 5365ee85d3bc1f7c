"""What remains of a model's answer as a title."""

import pytest

from agents.engine.session_titles import clean_title


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Adding numbers", "Adding numbers"),
        ("“Adding numbers.”\n\nShall I go on?", "Adding numbers"),
        ("**# Adding numbers**", "Adding numbers"),
        ('\n  "Adding numbers"  ', "Adding numbers"),
        ("***", ""),
        ("x " * 100, f"{'x ' * 29}x…"),
    ],
)
def test_a_title_is_the_first_line_without_markup(answer: str, expected: str) -> None:
    assert clean_title(answer) == expected
