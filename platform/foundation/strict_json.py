"""A strict and bounded parser of untrusted JSON, which raises the platform's own errors."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from foundation.errors import InvalidInput, Malformed, TooLarge

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
# In bodies over `MAX_BYTES`: 4 MiB of empty lists held the interpreter for 1.5 s, and as much text 0.05 s.
MAX_VALUES = 100_000

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_AS_ONE_KIND = bytes.maketrans(b"{}", b"[]")


def loads(raw: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """Parse the JSON object in `raw`.

    Raises `TooLarge` above `max_bytes`, `Malformed` for anything that is not strict JSON (NaN, Infinity, a number that
    overflows, duplicate keys, a BOM, invalid UTF-8, deeper than `max_depth`) or not an object, and `InvalidInput` with
    a pointer for text that no database row can hold (NUL, lone surrogates) and numbers beyond 64 bits. A body over
    `MAX_BYTES` may have `MAX_VALUES` values, or is `TooLarge`.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > max_bytes:
        raise TooLarge(f"More than {max_bytes} bytes.")
    if len(data) > MAX_BYTES and _has_too_many_values(data):
        raise TooLarge(f"More than {MAX_VALUES} values.")
    if _too_deep(data, max_depth):
        raise Malformed(f"Nested deeper than {max_depth} levels, or not valid JSON.")
    # orjson checks the syntax fast; duplicate keys and lone surrogates are found by the slower parser.
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "surrogate" in str(error):
            check_storable(_parse_strictly(data))
        raise Malformed("Not valid JSON.") from None
    if not isinstance(value, dict):
        raise Malformed("A JSON object is expected.")
    if data.count(b":") > 1 or b"\\u" in data:
        check_storable(_parse_strictly(data))
    return value


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON; datetimes as RFC 3339 in UTC with `Z`, UUIDs as text."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def canonical(value: Any) -> bytes:
    """Compact UTF-8 JSON with its keys in order, so that equal values give equal bytes: the input of fingerprints."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def check_storable(value: Any, pointer: str = "") -> None:
    """Raise `InvalidInput` with a pointer below `pointer` unless `value` is JSON that PostgreSQL stores losslessly.

    It rejects NUL and lone surrogates, NaN and infinities, numbers beyond 64 bits, and other types.
    """
    if not _is_storable(value):
        _find_unstorable(value, pointer)


def _is_storable(value: Any) -> bool:
    """A fast check without pointers and recursion, which nearly all values pass."""
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is str:
            if not _is_storable_text(item):
                return False
        elif kind is dict:
            stack += item
            stack += item.values()
            if any(type(key) is not str for key in item):
                return False
        elif kind is list:
            stack += item
        elif kind is int or kind is float:
            if not -(2**63) <= item < 2**63:
                return False
        elif item is not None and kind is not bool:
            return False
    return True


def _is_storable_text(text: str) -> bool:
    """Whether PostgreSQL and psycopg take it: they reject NUL and lone surrogates."""
    if "\x00" in text:
        return False
    try:
        # Ten times as fast as a regular expression, which would hold the interpreter for 20 ms per megabyte.
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _find_unstorable(value: Any, pointer: str) -> None:
    if isinstance(value, str):
        if not _is_storable_text(value):
            raise InvalidInput("NUL and lone surrogates cannot be stored.", pointer=pointer)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput("A name in an object is text.", pointer=pointer)
            _find_unstorable(key, pointer)
            _find_unstorable(item, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _find_unstorable(item, f"{pointer}/{index}")
    elif isinstance(value, int | float):
        _check_number(value, pointer)
    elif value is not None:
        raise InvalidInput("This is no JSON.", pointer=pointer)


def _check_number(value: float, pointer: str) -> None:
    if not math.isfinite(value):
        raise InvalidInput("A number is finite.", pointer=pointer)
    # Floats, too: PostgreSQL stores a large one as an integer, which could then not be read back.
    if not -(2**63) <= value < 2**64:
        raise InvalidInput("A number has at most 64 bits.", pointer=pointer)


def _has_too_many_values(data: bytes) -> bool:
    outside = _without_strings(data)
    return outside is None or sum(map(outside.count, (b",", b"[", b"{"))) > MAX_VALUES


def _without_strings(data: bytes) -> bytes | None:
    """What stands outside of strings; None for more of these than there may be values. Meaningless for what is no JSON,
    which the parser refuses."""
    data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    return b"".join(data.split(b'"')[::2]) if data.count(b'"') <= 4 * MAX_VALUES else None


def _too_deep(data: bytes, limit: int) -> bool:
    """Whether brackets are nested deeper than `limit`, or do not match, which is no JSON either."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return False
    outside = _without_strings(data)
    if outside is None:
        return True
    # The kind of bracket does not matter here; the parser checks it.
    brackets = outside.translate(_AS_ONE_KIND, _NO_BRACKETS)
    for _ in range(limit):
        # Each round removes the innermost level; a loop over the bytes would take a second per megabyte.
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return bool(brackets)


def _parse_strictly(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise Malformed("Not valid JSON.") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("A key appears twice.")
    return result
