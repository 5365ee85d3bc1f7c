"""What only hides is removed; what gives letters and emoji their shape stays."""

import pytest

from foundation.visible_text import is_printable

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "printable"),
    [
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d👩\u200d👧\u200d👦 " + ENGLAND, True),
        ("\u0647\u200d.\u0642", True),
        ("k\u200d.", False),
        ("a\u200cb", False),
        ("a\n", False),
        ("\u202ea", False),
        ("a\x00", False),
        ("\u2028", False),
    ],
)
def test_what_only_hides_is_not_printable(text: str, printable: bool) -> None:
    assert is_printable(text) is printable
