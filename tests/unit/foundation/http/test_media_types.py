"""What a server declares for a text: read leniently, in linear time, and decoded by codecs of our list only."""

from __future__ import annotations

import codecs
import random
import time

import pytest

from foundation.http.media_types import _CODECS, decode_text, parse_content_type

HEADER_BYTES = 8190  # the longest that the client takes


@pytest.mark.parametrize(
    ("header", "kind", "charset"),
    [
        ("", "", ""),
        ("text/html", "text/html", ""),
        ("Text/HTML; Charset=UTF-8", "text/html", "utf-8"),
        ('text/plain;format=flowed;charset="Shift_JIS" ; x=y', "text/plain", "shift_jis"),
        ("text/plain; charset", "text/plain", ""),
        ("text/plain; charset=a; charset=b", "text/plain", "a"),
        (";charset=utf-8", "", "utf-8"),
        ("((((", "((((", ""),
    ],
)
def test_type_and_charset_are_read(header: str, kind: str, charset: str) -> None:
    assert parse_content_type(header) == (kind, charset)


@pytest.mark.parametrize("unit", [";", "a=b;", 'a="', "(", "a*1*=b%20;", "charset=a;", " ", '\\"', "=?utf-8?q?a?="])
def test_no_header_takes_long(unit: str) -> None:
    began = time.process_time()
    parse_content_type("text/html;" + unit * (HEADER_BYTES // len(unit)))
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize("label", ["punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "zip", "bz2"])
def test_codecs_that_compress_or_calculate_are_not_used(label: str) -> None:
    assert decode_text(b"\\x41-", label) == "\\x41-"


def test_every_codec_of_the_list_is_there_and_none_takes_long() -> None:
    noise = random.Random(1)
    samples = [noise.randbytes(32 * 1024), *(bytes(pair) * (16 * 1024) for pair in ((0xFF, 0xFF), (0, 0xD8), (27, 36)))]
    for codec in set(_CODECS.values()):
        assert codecs.lookup(codec)._is_text_encoding
        for sample in samples:
            began = time.process_time()
            text = sample.decode(codec, "replace")
            assert time.process_time() - began < 0.25, codec
            assert len(text) <= len(sample)
