"""Removes invisible characters from names and titles, but for those that the shape of others depends on."""

from __future__ import annotations

import re
from unicodedata import category

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co"})
# Of these, numbers and verses stand below them (Arabic, Syriac, Kaithi): they are seen.
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
_JOINED = "[^\x00-\u02ff\\s\u180e\u2000-\u206f]"
# A joiner or non-joiner within a word of Persian, of Indic scripts or of Mongolian, or within an emoji; in Latin words
# it would only hide. And a joiner after a letter of such a script (Arabic to Mongolian), which takes the shape that it
# has before another: "\u0647\u200d." abbreviates a year of the Hijra.
_JOINERS = re.compile(f"(?<={_JOINED})[\u200c\u200d\u180e](?={_JOINED})|(?<=[\u0600-\u180d\u180f-\u18af])\u200d")
# The flags that are written in tags, such as Scotland's.
_FLAGS = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")


def visible_text(text: str) -> str:
    """`text` without invisible characters (controls, marks of direction, surrogates, private use), except those that
    the shape of others depends on."""
    parts: list[str] = []
    end = 0
    for flag in _FLAGS.finditer(text):
        parts += [_remove_invisible(text[end : flag.start()]), flag[0]]
        end = flag.end()
    return "".join([*parts, _remove_invisible(text[end:])])


def is_printable(text: str) -> bool:
    """`str.isprintable`, but for the invisible characters that the shape of others depends on."""
    return visible_text(text) == text and all(char.isprintable() or category(char) == "Cf" for char in text)


def _remove_invisible(text: str) -> str:
    kept = {match.start() for match in _JOINERS.finditer(text)}
    return "".join(
        char for index, char in enumerate(text) if index in kept or char in _SIGNS or category(char) not in _INVISIBLE
    )
