"""What strangers send: one corpus for every way in."""

from __future__ import annotations

import gzip
import json
from typing import Any
from uuid import UUID

import orjson

JSON = "application/json"

_DEEP = 20_000
_BOMB = gzip.compress(bytes(50 * 1024 * 1024))

# What is no strict JSON object.
MALFORMED_JSON: dict[str, bytes] = {
    "nothing": b"",
    "only spaces": b"  ",
    "a list": b"[]",
    "null": b"null",
    "a string": b'"x"',
    "a number": b"1",
    "true": b"true",
    "half an object": b"{",
    "a trailing comma": b'{"a":1,}',
    "a comment": b'{"a":1}//',
    "something behind it": b'{"a":1} x',
    "two objects": b"{}{}",
    "single quotes": b"{'a':1}",
    "a name without quotes": b"{a:1}",
    "a leading zero": b'{"a":01}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "a number that overflows": b'{"a":1e400}',
    "a number of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "a BOM": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "an overlong form": b'{"a":"\xc0\xaf"}',
    "a raw control character": b'{"a":"\x01"}',
    "a raw NUL": b'{"a":"\x00"}',
    "a raw line feed in a string": b'{"a":"x\ny"}',
    "an unknown escape": b'{"a":"\\q"}',
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, with a space before the colon": b'{"a" :1,"a" :2}',
    "a key twice, with two spaces before the colon": b'{"a"  :1,"a"  :2}',
    "a key twice, with a tab before the colon": b'{"a"\t:1,"a"\t:2}',
    "a key twice, with a line feed before the colon": b'{"a"\n:1,"a"\n:2}',
    "a key twice, once escaped": b'{"a":1,"\\u0061":2}',
    "a key twice, deep inside": b'{"x":[{"y":{"a":1,"b":2,"a":3}}]}',
    "20,000 nested lists": b'{"a":' + b"[" * _DEEP + b"]" * _DEEP + b"}",
    "20,000 lists that never end": b"[" * _DEEP,
    "33 levels": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "33 levels of objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "33 levels behind a string with an escaped quote": b'{"b":"\\"","a":' + b"[" * 32 + b"]" * 32 + b"}",
    "33 levels behind a string that ends in a backslash": b'{"b":"\\\\","a":' + b"[" * 32 + b"]" * 32 + b"}",
    "a number of 10,000 digits": b'{"a":' + b"9" * 10_000 + b"}",
    "20,000 nested objects": b'{"a":' * _DEEP + b"1" + b"}" * _DEEP,
    "a comment in front": b'{/* x */"a":1}',
    "a trailing comma behind text": b'{"agent":"demo",}',
}

# Name: the body, its Content-Type, and other headers. None of them is acceptable where an object is expected.
BODIES: dict[str, tuple[bytes, str, dict[str, str]]] = {
    **{name: (raw, JSON, {}) for name, raw in MALFORMED_JSON.items()},
    "UTF-16 declared": ('{"x":1}'.encode("utf-16"), f"{JSON}; charset=utf-16", {}),
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

# Of the bodies: enough to see that an address gives them to the code that refuses them all.
ONE_OF_EACH = {
    "nothing", "a list", "half an object", "NaN", "a number of 5,000 digits", "invalid UTF-8", "a raw NUL",
    "a key twice", "20,000 nested lists", "33 levels", "NUL as a name", "a form", "no type", "a gzip bomb",
    "over 256 KiB", "over 1 MiB",
}  # fmt: skip

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
    "x", "%00", "-1", "9223372036854775808", "..%2f", "0", "1", "1.0", "true", "null", "undefined", "1e3", "01890000",
    "x" * 300,
    "None", "..", "..%2f..%2fetc%2fpasswd", "%ff", "%ed%a0%80", "%0d%0aX-Evil:1", "{0}",
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

# Query strings for every list of the console: what it makes of them depends on its fields.
EVERY_LIST_QUERIES = [
    "q=%00", "q=%ff", "q='%20OR%201=1", "p=99999999999999999999", "o=99.-99.x", "e=1", "_to_field=password",
    "_facets=1", "password__startswith=p", "id__exact=x", "id__in=" + "x," * 500, "status__exact=x",
]  # fmt: skip

# Query strings for the first list of each kind; the others of that kind read them by the same code.
LIST_QUERIES = [
    *EVERY_LIST_QUERIES,
    "q=" + "x" * 5000, "p=-1", "p=x", "all=",
    "o=" + "1." * 2000,
    "_to_field=", "_popup=1&_to_field=x", "_changelist_filters=%00",
    "user__password__regex=(a%2B)%2B$",
    "is_active__exact=%00", "since=x&until=%00", "agent=%00", "state=%27", "user=99999999999999999999999", "cost=NaN",
    "release=-1", "error=%ed%a0%80", "q=no%20such%20thing", "q=" + "x" * 10_000, "p=999999", "o=1.2.3",
    "kind__range=x", "at__year=9223372036854775808", "attempts__in=9223372036854775808",
    "status=%ED%A0%80",
    "age=century", "agent__id__exact=x",
]  # fmt: skip

# For each filter of a list.
FILTER_VALUES = [
    "\x00", "x", "-1", "1e400", "9" * 30, "2026-02-30", "0001-01-01", "9999-12-31",
    "01890000-0000-7000-8000-00000000000a",
]  # fmt: skip

# In the fields of the console's forms.
FORM_VALUES = [
    *UNSTORABLE.values(), ODD["64 KB without a space"], ODD["right to left"], ODD["markup"], ODD["a template"], "-1",
    "1e400", "[", "{",
]  # fmt: skip

# In place of the rows of a console's action.
ROWS = ["a\x00b", "x", "-1", "9" * 40, "", "' OR 1=1 --"]

# Headers with values that cannot be right; each alone.
HEADERS: list[tuple[str, bytes]] = [
    ("Authorization", b""),
    ("Authorization", b"Bearer"),
    ("Authorization", b"Bearer \xff\xfe"),
    ("Authorization", b"Bearer " + b"x" * 8000),
    ("Authorization", b"Basic b3duZXI6b3duZXI="),
    ("Authorization", b"Bearer bs_aaaaaaaaaaaa_" + b"a" * 53),
    ("X-Api-Key", b"' OR 1=1 --"),
    ("Idempotency-Key", b""),
    ("Idempotency-Key", b"\xff"),
    ("Idempotency-Key", b"a b"),
    ("Idempotency-Key", b"x" * 256),
    ("If-Match", b"W/\"x\""),
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

# Those of the headers that views read; the others are for what is around all of them.
READ_BY_VIEWS = {
    "Authorization", "Idempotency-Key", "If-Match", "Last-Event-ID", "Accept", "Prefer", "Range", "If-Modified-Since",
    "X-Session-Id",
}  # fmt: skip


def with_text(example: dict[str, Any], field: str, text: str) -> bytes:
    """`example` with `text` in `field`, written so that a lone surrogate arrives as an escape."""
    return json.dumps({**example, field: text}).encode()


# On a websocket: what is no frame, and frames whose fields are wrong.
_TURN = UUID("019b2c3d-4e5f-7a6b-8c7d-0123456789ab")
MALFORMED_FRAMES = [
    "",
    "{",
    "[",
    "null",
    "[1]",
    "1",
    '"x"',
    "true",
    "NaN",
    '{"type":"resume","after":NaN}',
    '{"type":"resume","after":Infinity}',
    '{"type":"resume","after":1e400}',
    '{"type":"ping",}',
    '{"type":"ping","type":"ping"}',
    '\ufeff{"type":"ping"}',
    "[" * 20_000,
    '{"type":' * 20_000,
    "{}",
    '{"type":null}',
    '{"type":7}',
    '{"type":["ping"]}',
    '{"type":"unknown"}',
    '{"type":"__class__"}',
    '{"type":"Ping"}',
]
INVALID_FRAMES = [
    '{"type":"resume"}',
    '{"type":"resume","after":null}',
    '{"type":"resume","after":-1}',
    '{"type":"resume","after":9223372036854775808}',
    '{"type":"resume","after":1.0}',
    '{"type":"resume","after":true}',
    '{"type":"resume","after":"1"}',
    '{"type":"seen","seq":[1]}',
    '{"type":"ping","extra":1}',
    '{"type":"turn.cancel"}',
    '{"type":"turn.cancel","turn":1}',
    '{"type":"turn.cancel","turn":"../"}',
    '{"type":"turn.cancel","turn":"%00"}',
    f'{{"type":"turn.cancel","turn":"{_TURN.hex}"}}',
    f'{{"type":"turn.cancel","turn":"{{{_TURN}}}"}}',
    '{"type":"message.create","text":"Hi"}',
    '{"type":"message.create","client_msg_id":"","text":"Hi"}',
    '{"type":"message.create","client_msg_id":"a b","text":"Hi"}',
    '{"type":"message.create","client_msg_id":"é","text":"Hi"}',
    '{"type":"message.create","client_msg_id":1,"text":"Hi"}',
    f'{{"type":"message.create","client_msg_id":"{"a" * 256}","text":"Hi"}}',
    '{"type":"message.create","client_msg_id":"a"}',
    '{"type":"message.create","client_msg_id":"a","text":["Hi"]}',
    '{"type":"message.create","client_msg_id":"a","text":"\\ud800"}',
    '{"type":"message.create","client_msg_id":"a","text":"\\u0000"}',
    '{"type":"message.create","client_msg_id":"a","text":"Hi","author":"agent"}',
    '{"type":"message.create","client_msg_id":"a","text":"Hi","parent":"x"}',
    '{"type":"message.create","client_msg_id":"a","text":"Hi","parent":0}',
]
