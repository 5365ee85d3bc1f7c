"""Whether a value stands word for word in texts that somebody wrote.

A value is a whole word, or several of them, between white space: brackets, quotation marks and the punctuation of a
sentence may stand around it. So `a@b.com` stands in "to <a@b.com>, please" and not in "xa@b.com.evil". Nothing is
decoded and nothing is folded: another case, another encoding and a letter that looks the same are another value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from foundation import strict_json

# No more of all texts is read: so many take 20 to 50 ms, once.
MAX_CHARACTERS: Final = 100_000
# Of a value with spaces, so many of its places in a text are looked at.
_MAX_PLACES: Final = 1_000
_OPENING: Final = "([{<\"'«‹“„‘‚`¿¡"  # noqa: RUF001
_CLOSING: Final = ".,;:!?…)]}>\"'»›”’`"  # noqa: RUF001
# White space of scripts that write none: no address and no name goes on across these.
_SEPARATORS: Final = "、。，．；：！？「」『』（）【】《》〈〉\u3000"  # noqa: RUF001
_AS_SPACES: Final = str.maketrans(dict.fromkeys(_SEPARATORS, " "))


class VerbatimTexts:
    """Texts in which values are looked up. The first ones are read first, until they have `MAX_CHARACTERS`."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: list[str] = []
        room = MAX_CHARACTERS
        for text in texts:
            # A text that is cut would end with a part of a word.
            if text and len(text) <= room:
                self._texts.append(text)
                room -= len(text)
        self._words: set[str] | None = None
        self._edges: dict[int, tuple[bytearray, bytearray]] = {}

    def contain(self, value: Any) -> bool:
        """Whether a text, a number, a boolean or null stands there as a whole. The empty text stands nowhere."""
        if isinstance(value, str):
            return self._contain_text(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            return self._contain_number(value) or self._contain_number(int(value))
        return self._contain_number(value)

    def _contain_text(self, value: str) -> bool:
        if not value.strip():
            return False
        if any(map(_is_separator, value)):
            return any(self._occurs_in(index, value) for index in range(len(self._texts)))
        return value in self._read_words()

    def _occurs_in(self, index: int, value: str) -> bool:
        text = self._texts[index]
        start = text.find(value)
        if start >= 0 and index not in self._edges:
            # Once: who writes the text chooses how often a value is met, and what stands around it.
            self._edges[index] = _word_edges(text)
        for _ in range(_MAX_PLACES):
            if start < 0:
                return False
            begins, ends = self._edges[index]
            if begins[start] and ends[start + len(value)]:
                return True
            start = text.find(value, start + 1)
        return False

    def _contain_number(self, value: Any) -> bool:
        return strict_json.canonical(value).decode() in self._read_words()

    def _read_words(self) -> set[str]:
        if self._words is None:
            self._words = set()
            for text in self._texts:
                for word in set(text.translate(_AS_SPACES).split()):
                    self._words.add(word)
                    if not word.isalnum():
                        self._words |= {word.lstrip(_OPENING), word.rstrip(_CLOSING), _strip(word)}
                        self._words.add(_number(_strip(word)))
            self._words.discard("")
        return self._words


def _strip(word: str) -> str:
    return word.lstrip(_OPENING).rstrip(_CLOSING)


def _number(word: str) -> str:
    """A number without the sign of its currency or the per cent sign; "" for a word that is none."""
    if word[:1] and unicodedata.category(word[0]) == "Sc":
        word = word[1:]
    elif word[-1:] and (word[-1] == "%" or unicodedata.category(word[-1]) == "Sc"):
        word = word[:-1]
    else:
        return ""
    integer, _, fraction = word.partition(".")
    return word if all(part.isascii() and part.isdigit() for part in (integer, fraction or "0")) else ""


def _is_separator(character: str) -> bool:
    return character.isspace() or character in _SEPARATORS


def _word_edges(text: str) -> tuple[bytearray, bytearray]:
    """By index, whether a word may begin there, and whether one may end before it."""
    begins, ends = bytearray(len(text) + 1), bytearray(len(text) + 1)
    may = True
    for index, character in enumerate(text):
        begins[index] = may
        may = _is_separator(character) or (may and character in _OPENING)
    may = True
    for index in range(len(text), 0, -1):
        ends[index] = may
        character = text[index - 1]
        may = _is_separator(character) or (may and character in _CLOSING)
    return begins, ends
