"""Directives inside a message, for the test models: `[[offline text="Hello." pace_ms=20]]`."""

from __future__ import annotations

import json
import re
from typing import Any

_KEY = re.compile(r"\s*([a-z_]+)=")
_END = re.compile(r"\s*\]\]")
_WORD = re.compile(r"(?:(?!\]\])\S){1,1000}+")
_JSON = json.JSONDecoder()
_MAX_SETTINGS = 100


def parse_directive(text: str, keyword: str) -> dict[str, Any] | None:
    """The settings of the first `[[keyword key=value …]]` in `text`, or None when there is none.

    A value is JSON when it begins with `{`, `[` or `"`; else it ends at white space or at `]]`, and is an int, a float
    or a plain word. Raises `ValueError` for a directive that cannot be read, repeats a setting or has more than
    100.
    """
    opening = f"[[{keyword}"
    position = text.find(opening)
    if position < 0:
        return None
    position += len(opening)
    settings: dict[str, Any] = {}
    while not _END.match(text, position):
        key = _KEY.match(text, position)
        if key is None or key[1] in settings or len(settings) >= _MAX_SETTINGS:
            raise ValueError(f"Cannot read the directive [[{keyword} …]] at {text[position : position + 20]!r}.")
        settings[key[1]], position = _value(text, key.end())
    return settings


def _value(text: str, position: int) -> tuple[Any, int]:
    if text[position : position + 1] in ("{", "[", '"'):
        try:
            return _JSON.raw_decode(text, position)
        except RecursionError:
            raise ValueError("A value in the directive is nested too deeply.") from None
    word = _WORD.match(text, position)
    if word is None:
        raise ValueError("A value is missing in the directive.")
    return plain_value(word[0]), word.end()


def plain_value(word: str) -> int | float | str:
    """`word` as a number if it looks like one."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
