"""Names that people and clients give things: one line of text, as it looks."""

from __future__ import annotations

import re
from unicodedata import normalize

from foundation.visible_text import visible_text

# C0, C1, and what some programs take for ends of lines or paragraphs.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def clean_name(text: str) -> str:
    """`text` in NFC on one line, without invisible characters (such as marks of direction) and outer spaces, and with a
    space for control characters and ends of lines."""
    return visible_text(_BREAKS.sub(" ", normalize("NFC", text))).strip()
