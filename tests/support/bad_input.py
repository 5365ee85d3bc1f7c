"""What strangers send: one corpus for every way in."""

from __future__ import annotations

import gzip
from typing import Any

import orjson

JSON = "application/json"

_DEEP = 20_000
_BOMB = gzip.compress(bytes(50 * 1024 * 1024))

# Name: the body, its Content-Type, and other headers. None of them is acceptable where an object is expected.
BODIES: dict[str, tuple[bytes, str, dict[str, str]]] = {
    "empty": (b"", JSON, {}),
    "spaces": (b"  \n", JSON, {}),
    "a list": (b"[]", JSON, {}),
    "null": (b"null", JSON, {}),
    "a string": (b'"x"', JSON, {}),
    "a number": (b"1", JSON, {}),
    "true": (b"true", JSON, {}),
    "half an object": (b"{", JSON, {}),
    "trailing comma": (b'{"agent":"demo",}', JSON, {}),
    "two objects": (b"{}{}", JSON, {}),
    "duplicate keys": (b'{"x":1,"x":2}', JSON, {}),
    "duplicate keys by escapes": (b'{"x":1,"\\u0078":2}', JSON, {}),
    "NaN": (b'{"x":NaN}', JSON, {}),
    "Infinity": (b'{"x":-Infinity}', JSON, {}),
    "1e400": (b'{"x":1e400}', JSON, {}),
    "a number of 10,000 digits": (b'{"x":' + b"9" * 10_000 + b"}", JSON, {}),
    "20,000 nested arrays": (b'{"x":' + b"[" * _DEEP + b"]" * _DEEP + b"}", JSON, {}),
    "20,000 nested objects": (b'{"x":' * _DEEP + b"1" + b"}" * _DEEP, JSON, {}),
    "20,000 open brackets": (b"[" * _DEEP, JSON, {}),
    "comments": (b'{/* x */"x":1}', JSON, {}),
    "single quotes": (b"{'x':1}", JSON, {}),
    "a byte order mark": (b"\xef\xbb\xbf{}", JSON, {}),
    "UTF-16": ('{"x":1}'.encode("utf-16"), JSON, {}),
    "UTF-16 declared": ('{"x":1}'.encode("utf-16"), f"{JSON}; charset=utf-16", {}),
    "invalid UTF-8": (b'{"x":"\xff\xfe"}', JSON, {}),
    "overlong UTF-8": (b'{"x":"\xc0\xaf"}', JSON, {}),
    "a surrogate in UTF-8": (b'{"x":"\xed\xa0\x80"}', JSON, {}),
    "a lone surrogate as a name": (b'{"\\ud800":1}', JSON, {}),
    "NUL as a name": (b'{"\\u0000":1}', JSON, {}),
    "a form": (b"agent=demo&input=Hi", "application/x-www-form-urlencoded", {}),
    "1,000 parts": (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' for _ in range(1000)) + b"--b--\r\n",
        "multipart/form-data; boundary=b",
        {},
    ),
    "parts without a boundary": (b"--b\r\n", "multipart/form-data", {}),
    "XML": (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "application/xml", {}),
    "plain text": (b'{"x":1}', "text/plain", {}),
    "no type": (b'{"x":1}', "", {}),
    "a wild type": (b'{"x":1}', "application/json\x00;;charset=\xff", {}),
    "an unknown charset": (b'{"x":1}', f"{JSON}; charset=zlib_codec", {}),
    "a gzip bomb": (_BOMB, JSON, {"Content-Encoding": "gzip"}),
    "a gzip bomb undeclared": (_BOMB, JSON, {}),
    "compressed": (gzip.compress(b'{"x":1}'), JSON, {"Content-Encoding": "gzip, gzip"}),
    "over 256 KiB": (orjson.dumps({"x": "x" * (256 * 1024)}), JSON, {}),
    "over 1 MiB": (orjson.dumps({"x": "x" * (1024 * 1024)}), JSON, {}),
}

# Text that no row can hold; the rest of a request may be good.
UNSTORABLE: dict[str, str] = {"NUL": "a\x00b", "a lone surrogate": "a\ud800b", "the other half": "\udfff"}

# Text that is odd, and may be taken or refused, but breaks nothing.
ODD: dict[str, str] = {
    "nothing": "",
    "only spaces": " \t\n\u00a0\u2003",
    "right to left": "\u202eevil\u202c",
    "invisible": "\u200b\u200d\ufeff",
    "64 KB without a space": "x" * 65_536,
    "combining": "e" + "\u0301" * 5_000,
    "not in NFC": "e\u0301",
    "emoji": "👩‍👩‍👧‍👦" * 100,
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "a template": "{{ 7*7 }}{% debug %}${7*7}#{7*7}",
    "SQL": "'; DROP TABLE accounts_user; --",
    "a format": "%s%n%(x)s{0.__class__}",
    "a path": "../../../../etc/passwd",
    "control characters": "\x01\x07\x08\x0b\x1b[31m\x7f\x85",
    "lines of a log": 'x\n{"event":"forged","level":"info"}\r\nY: 1',
    "noncharacters": "\ufffe\uffff\U0010ffff",
}

# Where a value of one type is expected: others. Which are wrong depends on the field.
WRONG_TYPES: list[Any] = [None, True, 0, -1, 1.0, 2**63, 2**64, -(2**63) - 1, 1e308, "", "x", [], [1], {}, {"a": 1}]

# In place of an id in a path (quoted as they would be).
IDS = [
    "0", "-1", "1", "1.0", "true", "null", "undefined", "9223372036854775808", "1e3", "01890000", "x" * 300,
    "..", "..%2f..%2fetc%2fpasswd", "%00", "%ff", "%ed%a0%80", "%0d%0aX-Evil:1", "{0}",
    "%7B01890000-0000-7000-8000-00000000000a%7D",
    "018900000000700080000000000000a0", "urn:uuid:01890000-0000-7000-8000-00000000000a", "'%20OR%201=1--", "*",
    "%25%30%30",
]  # fmt: skip

# Query strings that no address declares.
QUERIES = [
    "limit=1000000000", "limit=0", "limit=-1", "limit=1.0", "limit=%D9%A3", "limit=1&limit=2", "limit=", "limit=true",
    "cursor=forged", "cursor=", "cursor=eyJ9.x.y", "cursor=%00", "cursor=" + "x" * 5000, "cursor=a&cursor=b",
    "ordering=password", "order_by=-user__password", "user=1", "user_id=1", "user__password__startswith=p",
    "agent__groups__name=x", "id__in=1,2", "id__regex=(a%2B)%2B$", "format=admin", "fields=*", "__class__=x", "%00=1",
    "%ff=%ff", "a[b]=c", "x=" + "y" * 8000, "&".join(f"p{n}=1" for n in range(1500)),
]  # fmt: skip

# Headers with values that cannot be right; each alone.
HEADERS: list[tuple[str, bytes]] = [
    ("Authorization", b""),
    ("Authorization", b"Bearer"),
    ("Authorization", b"Bearer \xff\xfe"),
    ("Authorization", b"Bearer " + b"x" * 8000),
    ("Authorization", b"Basic b3duZXI6b3duZXI="),
    ("Authorization", b"Bearer bs_aaaaaaaaaaaa_" + b"a" * 43),
    ("X-Api-Key", b"' OR 1=1 --"),
    ("Idempotency-Key", b""),
    ("Idempotency-Key", b"\xff"),
    ("Idempotency-Key", b"a b"),
    ("Idempotency-Key", b"x" * 256),
    ("If-Match", b"W/\"1\""),
    ("If-Match", b'"' + b"9" * 100 + b'"'),
    ("If-Match", b"\xff"),
    ("Last-Event-ID", b"-1"),
    ("Last-Event-ID", b"99999999999999999999999"),
    ("Last-Event-ID", b"\xff"),
    ("Accept", b"\xff/\xff;q=nan"),
    ("Accept", b"text/event-stream;q=" + b"9" * 5000),
    ("Accept", b", ," * 500),
    ("Prefer", b"wait=" + b"9" * 5000),
    ("Prefer", b"wait=-1, wait=x, \xff"),
    ("Accept-Language", b"x" * 5000),
    ("Accept-Encoding", b"gzip;q=x, \xff"),
    ("Range", b"bytes=0-99999999999,-1"),
    ("If-Modified-Since", b"Thu, 99 Foo 0000 99:99:99 GMT"),
    ("X-Request-Id", b"\xff\r"),
    ("X-HTTP-Method-Override", b"DELETE"),
    ("X-Forwarded-Host", b"evil.test"),
    ("X-Stainless-Retry-Count", b"-1"),
    ("X-Session-Id", b"../x"),
    ("Cookie", b"\xff=\xff; ; =; x"),
    ("Origin", b"null"),
    ("Referer", b"\xff"),
]  # fmt: skip


def with_text(example: dict[str, Any], field: str, text: str) -> bytes:
    """`example` with `text` in `field`, written so that a lone surrogate arrives as an escape."""
    import json

    return json.dumps({**example, field: text}).encode()
