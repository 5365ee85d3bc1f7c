"""The text that people may send."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.message_parts import (
    MAX_TEXT_BYTES,
    check_text,
    plain_text,
    text_part,
    tool_call_part,
    tool_result_part,
)
from foundation.errors import InvalidInput, TooLarge
from foundation.storable_text import storable_text


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "  kept with its spaces \r\n",
        "e\u0301 is not \u00e9",
        "\u202eright to left",
        "\u200b",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "w" * MAX_TEXT_BYTES,
        "é" * (MAX_TEXT_BYTES // 2),
    ],
)
def test_text_is_kept_byte_exact(text: str) -> None:
    assert check_text(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t \r", "\u2003\u3000", "a\x00", "\ud800", "\U0001f600\udc00", None, 1, b"x", ["x"]]
)
def test_text_that_is_empty_or_cannot_be_stored_is_refused_with_a_pointer(text: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_text(text, pointer="/messages/0")
    assert refusal.value.pointer == "/messages/0"


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT_BYTES + 1), "é" * (MAX_TEXT_BYTES // 2 + 1), "x" * 10_000_000])
def test_size_is_counted_in_bytes(text: str) -> None:
    with pytest.raises(TooLarge) as refusal:
        check_text(text)
    assert refusal.value.pointer == "/input"


@given(st.text(st.characters() | st.sampled_from("\x00\ud800\udfff")))
def test_what_a_model_wrote_becomes_storable_and_keeps_its_length(text: str) -> None:
    stored = storable_text(text)
    stored.encode()
    assert "\x00" not in stored
    assert len(stored) == len(text)
    assert all(new in (old, "\ufffd") for old, new in zip(text, stored, strict=True))


def test_people_read_the_text_parts_only() -> None:
    parts = [
        text_part("It is "),
        tool_call_part(call_id="a", name="clock", arguments="{}"),
        tool_result_part(call_id="a", content="noon", is_error=False),
        text_part("noon."),
    ]
    assert plain_text(parts) == "It is noon."
