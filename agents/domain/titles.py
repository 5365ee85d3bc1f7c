"""The title of a conversation until somebody names it."""

from __future__ import annotations

from unicodedata import category, normalize

MAX_LENGTH = 60
# Control characters, marks that change the direction of the text around the title, surrogates and private use.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co"})


def make_title(text: str) -> str:
    """The beginning of `text` on one line, at most `MAX_LENGTH` characters, cut between words where that is possible;
    "" when it has no visible characters."""
    title = " ".join("".join(" " if category(char) == "Cc" else char for char in text[: 10 * MAX_LENGTH]).split())
    title = "".join(char for char in normalize("NFC", title) if category(char) not in _INVISIBLE)
    if len(title) <= MAX_LENGTH:
        return title.strip()
    cut = title[: MAX_LENGTH - 1]
    edge = cut.rfind(" ") if title[MAX_LENGTH - 1] != " " else len(cut)
    # Some languages have no spaces, and some words are very long.
    return (cut[:edge] if edge > MAX_LENGTH // 2 else cut).rstrip(" ,.;:-") + "…"
