"""The corpus of bad bodies: whatever a stranger sends is an object, or an error of ours."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation import strict_json
from foundation.clock import now
from foundation.errors import InvalidInput, Malformed, TooLarge
from tests.support.bad_input import MALFORMED_JSON


@pytest.mark.parametrize("raw", MALFORMED_JSON.values(), ids=MALFORMED_JSON.keys())
def test_what_is_not_strict_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        strict_json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"a":"\\u0000"}', "/a"),
        (b'{"a":"\\ud800"}', "/a"),
        (b'{"a":"\\udfff\\ud800"}', "/a"),
        ('{"a":"\ud800"}', "/a"),
        (b'{"a":"\xed\xa0\x80"}', "/a"),
        (b'{"a":[1,{"b":"x\\u0000"}]}', "/a/1/b"),
        (b'{"a/b":{"~":"\\u0000"}}', "/a~1b/~0"),
        (b'{"x":{"a\\u0000":1}}', "/x"),
        (b'{"\\ud800":1}', ""),
        (b'{"a":[0,18446744073709551616],"b":1}', "/a/1"),
        (b'{"a":-9223372036854775809,"b":1}', "/a"),
        (b'{"a":{"b":1e20}}', "/a/b"),
        (b'{"a":{"b":-1e19}}', "/a/b"),
    ],
)
def test_what_no_row_gives_back_as_it_was_is_refused_with_a_pointer(raw: bytes | str, pointer: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        strict_json.loads(raw)
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' \r\n\t{"a" : 1} ', {"a": 1}),
        ('{"a":"é"}', {"a": "é"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"u0000 \\\\u0000"}', {"a": "u0000 \\u0000"}),
        (b'{"a":"\\u202e","b":"x:y"}', {"a": "\u202e", "b": "x:y"}),
        (b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}', {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}),
        (b'{"a":' + b"[" * 31 + b"]" * 31 + b"}", {"a": json.loads("[" * 31 + "]" * 31)}),
        (b'{"a":"' + b"[{" * 40 + b'"}', {"a": "[{" * 40}),
        (b'{"a":"' + b'[\\"' * 40 + b'"}', {"a": '["' * 40}),
        (b'{"a":"' + b"[\\\\" * 40 + b'"}', {"a": "[\\" * 40}),
        (b'{"a":[' + b"[]," * 100 + b"{}]}", {"a": [*([[]] * 100), {}]}),
        (b'{"a":true,"b":null,"c":-0.5,"d":9223372036854775808}', {"a": True, "b": None, "c": -0.5, "d": 2**63}),
    ],
)
def test_strict_json_is_read_as_it_stands(raw: bytes | str, value: object) -> None:
    assert strict_json.loads(raw) == value


def test_size_counts_bytes_and_is_judged_first() -> None:
    assert strict_json.loads('{"a":"éé"}', max_bytes=12) == {"a": "éé"}
    for raw in ('{"a":"ééx"}', b"x" * 13):
        with pytest.raises(TooLarge):
            strict_json.loads(raw, max_bytes=12)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "escaped quotes in a string that never ends": lambda n: b"[" * 40 + b'"' + b'\\"' * (n // 2),
    "quotes": lambda n: b"[" * 40 + b'"' * n,
    "backslashes": lambda n: b"[" * 40 + b'"' + b"\\" * n,
    "empty lists": lambda n: b'{"a":[' + b"[]," * (n // 3) + b"[]]}",
    "empty strings": lambda n: b'{"a":' + b"[" * 31 + b'"",' * (n // 3) + b'""' + b"]" * 31 + b"}",
    "keys": lambda n: b"{" + b",".join(b'"%d":{}' % i for i in range(n // 12)) + b"}",
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_of_full_size_is_judged_at_once(hostile: Callable[[int], bytes]) -> None:
    raw = hostile(strict_json.MAX_BYTES - 256)
    began = time.process_time()
    with suppress(Malformed, TooLarge):
        strict_json.loads(raw)
    # One pass takes hundredths of a second, a pass per character minutes.
    assert time.process_time() - began < 2


# Surrogates are left out by `st.text`; NUL is not.
storable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(-(2.0**63), 2.0**63)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | storable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable, inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(st.sampled_from(["a", "b", "c/d", "~"]), json_values), spaces=st.booleans())
def test_whatever_python_writes_strictly_is_read_back(value: dict[str, Any], spaces: bool) -> None:
    separators = (" , ", "\t: ") if spaces else (",", ":")
    raw = json.dumps(value, separators=separators, ensure_ascii=spaces)
    assert strict_json.loads(raw) == value


@given(raw=st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0dn1 \ud800\x00', max_size=40))
def test_anything_at_all_is_an_object_or_an_error_of_ours(raw: bytes | str) -> None:
    try:
        value = strict_json.loads(raw)
    except (Malformed, InvalidInput, TooLarge):
        return
    assert isinstance(value, dict)


def test_the_same_value_has_the_same_canonical_bytes() -> None:
    one = {"b": [1, {"y": None, "x": "é"}], "a": UUID(int=1)}
    other = {"a": UUID(int=1), "b": [1, {"x": "é", "y": None}]}
    assert strict_json.canonical(one) == strict_json.canonical(other)
    assert strict_json.canonical(one) != strict_json.canonical({**one, "b": [{"y": None, "x": "é"}, 1]})


def test_moments_are_written_in_utc_with_a_z() -> None:
    assert json.loads(strict_json.dumps({"at": now()}))["at"].endswith("Z")
