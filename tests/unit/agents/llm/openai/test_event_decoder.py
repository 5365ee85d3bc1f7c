"""Server-sent events: the same bytes are the same events, however the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.llm.openai.event_decoder import EventDecoder, EventTooLong


def decoded(*pieces: bytes) -> list[bytes]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"", []),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\ndata:\ndata: b\n\n", [b"a\n\nb"]),
        (b": comment\n\ndata: a\n: another\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"event: x\n\n", []),
        (b"data:\n\n", []),
        (b"data: \n\n", []),
        (b"data\n\n", []),
        (b"database: a\n\n", []),
        (b" data: a\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
        (b"data: a\n\ndata: b", [b"a", b"b"]),
        (b"data: a\n\ndata: b\n", [b"a", b"b"]),
        ("data: žluťoučký 🐎\n\n".encode(), ["žluťoučký 🐎".encode()]),
    ],
)
def test_a_stream_is_read_as_its_events(stream: bytes, events: list[bytes]) -> None:
    assert decoded(stream) == events


_LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"data:",
        b": c",
        b"event: e",
        b"",
        b"",
        b"data: \xf0\x9f\x90\x8e",
        b"\xef\xbb\xbf",
        b"data: x:y",
    ]
)
_ENDINGS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def _cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    lines = draw(st.lists(st.tuples(_LINES, _ENDINGS), max_size=30))
    stream = b"".join(line + ending for line, ending in lines) + draw(_LINES)
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=20)))
    return stream, [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@settings(deadline=None)
@given(_cut_streams())
@example((b"data: a\r\n\r\n", [b"data: a\r", b"\n\r", b"\n"]))
@example((b"\xef\xbb\xbfdata: a\n\n", [b"\xef", b"\xbb", b"\xbfdata: a\n\n"]))
def test_the_events_do_not_depend_on_the_cuts(case: tuple[bytes, list[bytes]]) -> None:
    stream, pieces = case

    assert decoded(*pieces) == decoded(stream)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_cut_one_by_one_are_the_same_events(stream: bytes) -> None:
    assert decoded(*(bytes([byte]) for byte in stream)) == decoded(stream)


def test_an_event_is_given_out_with_its_last_byte() -> None:
    decoder = EventDecoder()

    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [b"a"]
    assert decoder.feed(b"data: b\r") == []
    assert decoder.feed(b"\r") == [b"b"]


def test_an_event_without_end_is_refused() -> None:
    decoder = EventDecoder(max_event_bytes=100)

    with pytest.raises(EventTooLong):
        decoder.feed(b"data: " + b"x" * 200)
