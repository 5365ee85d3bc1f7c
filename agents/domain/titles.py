"""What a conversation is called until somebody gives it a name."""

from __future__ import annotations

from unicodedata import category, normalize

LONGEST = 60
# Controls, marks that turn the direction of what stands beside the title, and what is no character of anybody's.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co"})


def make_title(text: str) -> str:
    """The first words of `text` on one line, cut at a word's edge; "" when there are none to see."""
    words = " ".join("".join(" " if category(char) == "Cc" else char for char in text[: 10 * LONGEST]).split())
    words = "".join(char for char in normalize("NFC", words) if category(char) not in _UNSEEN)
    if len(words) <= LONGEST:
        return words.strip()
    cut = words[: LONGEST - 1]
    edge = cut.rfind(" ") if words[LONGEST - 1] != " " else len(cut)
    # Some languages have no spaces, and some words no end.
    return (cut[:edge] if edge > LONGEST // 2 else cut).rstrip(" ,.;:-") + "…"
