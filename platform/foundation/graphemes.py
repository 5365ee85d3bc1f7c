"""Cuts text that people read between the characters that they see (Unicode's grapheme clusters, UAX 29).

An emoji of a family is seven code points, a flag two, a syllable of Devanagari up to five: half of one is another one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex


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
