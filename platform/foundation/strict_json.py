"""JSON from strangers: bounded, strict, and always an error of ours when it is wrong."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from foundation.errors import InvalidInput, Malformed, TooLarge

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_AS_ONE_KIND = bytes.maketrans(b"{}", b"[]")
# What PostgreSQL and psycopg refuse in text: NUL, and surrogates without their partner.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# A string, or the rest of the text where one never ends. Possessive, so that a hostile text costs one pass: with plain
# repetition, 256 KiB of escaped quotes kept a processor busy for minutes.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def loads(raw: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """The object in `raw`.

    Raises `TooLarge` above `max_bytes`, `Malformed` for anything that is not strict JSON (NaN, Infinity, a number that
    overflows, duplicate keys, a BOM, invalid UTF-8, deeper than `max_depth`) or not an object, and `InvalidInput` with
    a pointer for text that no database row can hold (NUL, lone surrogates) and numbers beyond 64 bits.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > max_bytes:
        raise TooLarge(f"More than {max_bytes} bytes.")
    if _too_deep(data, max_depth):
        raise Malformed(f"Nested deeper than {max_depth} levels, or not valid JSON.")
    # orjson judges the syntax fast; what it cannot say (duplicate keys, lone surrogates) shows in the careful pass.
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if "surrogate" in str(error):
            check_storable(_careful(data))
        raise Malformed("Not valid JSON.") from None
    if not isinstance(value, dict):
        raise Malformed("A JSON object is expected.")
    if data.count(b":") > 1 or b"\\u" in data:
        check_storable(_careful(data))
    return value


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON; datetimes as RFC 3339 in UTC with `Z`, UUIDs as text."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def canonical(value: Any) -> bytes:
    """Compact UTF-8 JSON with its keys in order, so that equal values give equal bytes: the input of fingerprints."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def check_storable(value: Any, pointer: str = "") -> None:
    """Raise `InvalidInput` with a pointer below `pointer` unless `value` is JSON that a row gives back as it was.

    That leaves out NUL and lone surrogates, NaN and infinities, numbers beyond 64 bits, and other types.
    """
    if not _is_storable(value):
        _find_unstorable(value, pointer)


def _is_storable(value: Any) -> bool:
    """The quick look, which nearly everything passes: no names are put together, and nothing calls itself."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str:
            if _UNSTORABLE.search(item):
                return False
        elif kind is dict:
            waiting += item
            waiting += item.values()
            if any(type(key) is not str for key in item):
                return False
        elif kind is list:
            waiting += item
        elif kind is int or kind is float:
            if not -(2**63) <= item < 2**63:
                return False
        elif item is not None and kind is not bool:
            return False
    return True


def _find_unstorable(value: Any, pointer: str) -> None:
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
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
    # Fractions too: a row writes a large one out as a whole number, which could then not be given back.
    if not -(2**63) <= value < 2**64:
        raise InvalidInput("A number has at most 64 bits.", pointer=pointer)


def _too_deep(data: bytes, limit: int) -> bool:
    """Whether brackets are nested deeper than `limit`, or do not match, which is no JSON either."""
    if data.count(b"[") + data.count(b"{") <= limit:
        return False
    # Which kind of bracket it is, the parser will see.
    brackets = _STRING.sub(b"", data).translate(_AS_ONE_KIND, _NO_BRACKETS)
    for _ in range(limit):
        # One level, the innermost, goes in each round; a loop over the bytes would take a second for a megabyte.
        fewer = brackets.replace(b"[]", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    return bool(brackets)


def _careful(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise Malformed("Not valid JSON.") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("A key appears twice.")
    return result
