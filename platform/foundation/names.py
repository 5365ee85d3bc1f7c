"""Names that people and clients give things: one line of text, as it looks."""

from __future__ import annotations

import re
from unicodedata import normalize

# C0, C1, and what some programs take for ends of lines or paragraphs.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Marks that turn the direction of all text after them, also of what stands around the name.
_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean_name(text: str) -> str:
    """`text` in NFC on one line: without marks of direction and outer spaces, with a space for control characters and
    ends of lines. Joiners stay: emojis and Persian are written with them."""
    return _BREAKS.sub(" ", _DIRECTIONS.sub("", normalize("NFC", text))).strip()
