"""The title of a conversation until somebody names it."""

from __future__ import annotations

from unicodedata import category, normalize

from foundation.graphemes import cut_text
from foundation.visible_text import visible_text

MAX_LENGTH = 60
_ENDS = " ,.;:-،؛、"


def make_title(text: str) -> str:
    """The beginning of `text` on one line, at most `MAX_LENGTH` code points, cut between words where that is possible;
    "" when it has no visible characters."""
    beginning = cut_text(text, 10 * MAX_LENGTH)
    title = " ".join("".join(" " if category(char) == "Cc" else char for char in beginning).split())
    title = visible_text(normalize("NFC", title)).strip()
    if len(title) <= MAX_LENGTH:
        return title
    cut = cut_text(title, MAX_LENGTH - 1)
    edge = cut.rfind(" ") if title[len(cut)] != " " else len(cut)
    # Some languages have no spaces, and some words are very long.
    return (cut[:edge] if edge > MAX_LENGTH // 2 else cut).rstrip(_ENDS) + "…"
