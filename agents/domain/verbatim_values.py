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
            return any(_stands_in(text, value) for text in self._texts)
        return value in self._read_words()

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


def _stands_in(text: str, value: str) -> bool:
    start = text.find(value)
    for _ in range(_MAX_PLACES):
        if start < 0:
            return False
        if _begins_word(text, start) and _ends_word(text, start + len(value)):
            return True
        start = text.find(value, start + 1)
    return False


def _begins_word(text: str, index: int) -> bool:
    while index > 0 and text[index - 1] in _OPENING:
        index -= 1
    return index == 0 or _is_separator(text[index - 1])


def _ends_word(text: str, index: int) -> bool:
    while index < len(text) and text[index] in _CLOSING:
        index += 1
    return index == len(text) or _is_separator(text[index])
