"""Cleans text that people read, and cuts it between the characters that they see (Unicode's grapheme clusters, UAX 29).

An emoji of a family is seven code points, a flag two, a syllable of Devanagari up to five: half of one is another one.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import category

if TYPE_CHECKING:
    import regex

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co"})
# Of these, numbers and verses stand below them (Arabic, Syriac, Kaithi): they are seen.
_SIGNS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# A joiner or non-joiner within a word of Persian, of Indic scripts or of Mongolian, or within an emoji; in Latin words
# it would only hide. And the flags that are written in tags, such as Scotland's.
_JOINERS = re.compile(
    "(?<=[^\x00-\u02ff\\s\u180e\u2000-\u206f])[\u200c\u200d\u180e](?=[^\x00-\u02ff\\s\u180e\u2000-\u206f])"
)
_FLAGS = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")


@cache
def _cluster() -> regex.Pattern[str]:
    import regex  # imported only when a text is cut: it adds to the start of every process

    return regex.compile(r"\X")


def cut_text(text: str, length: int, *, mark: str = "") -> str:
    """`text`, or its beginning followed by `mark`: together at most `length` code points, as columns count them.

    Only a single character of more than `length` code points (letters under heaps of accents) is cut apart.
    """
    if len(text) <= length:
        return text
    room = max(length - len(mark), 0)
    end = 0
    # Whether a cluster ends somewhere depends on what precedes, and on one code point after it.
    for cluster in _cluster().finditer(text[: room + 1]):
        if cluster.end() > room:
            break
        end = cluster.end()
    return text[: end or room] + mark


def visible_text(text: str) -> str:
    """`text` without invisible characters (controls, marks of direction, surrogates, private use), except those that
    the shape of others depends on."""
    parts: list[str] = []
    end = 0
    for flag in _FLAGS.finditer(text):
        parts += [_joined(text[end : flag.start()]), flag[0]]
        end = flag.end()
    return "".join([*parts, _joined(text[end:])])


def is_printable(text: str) -> bool:
    """`str.isprintable`, but for the invisible characters that the shape of others depends on."""
    return visible_text(text) == text and all(char.isprintable() or category(char) == "Cf" for char in text)


def _joined(text: str) -> str:
    kept = {match.start() for match in _JOINERS.finditer(text)}
    return "".join(
        char for index, char in enumerate(text) if index in kept or char in _SIGNS or category(char) not in _INVISIBLE
    )
