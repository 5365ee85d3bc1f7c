import json
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ws.frames import MessageCreate, Ping, Resume, Seen, TurnCancel, frame_ref, read_frame
from agents.ws.socket_limits import SlidingWindow, Window
from foundation import strict_json
from foundation.errors import BandstandError, InvalidInput, Malformed, TooLarge
from tests.support.bad_input import INVALID_FRAMES, MALFORMED_FRAMES

TURN = UUID("019b2c3d-4e5f-7a6b-8c7d-0123456789ab")


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"resume","after":17}', Resume(17)),
        ('{"type":"resume","after":9223372036854775807}', Resume(2**63 - 1)),
        ('{"type":"message.create","client_msg_id":"a","text":"Hi"}', MessageCreate("a", "Hi")),
        ('{"type":"message.create","client_msg_id":"a","text":"\\u202e 😀"}', MessageCreate("a", "\u202e 😀")),
        ('{"type":"message.create","client_msg_id":"a","text":"Hi","parent":null}', MessageCreate("a", "Hi", None)),
        (
            f'{{"type":"message.create","client_msg_id":"a","text":"Hi","parent":"{TURN}"}}',
            MessageCreate("a", "Hi", TURN),
        ),
        (f'{{"type":"turn.cancel","turn":"{TURN}"}}', TurnCancel(TURN)),
        ('{"seq":0,"type":"seen"}', Seen(0)),
        ('{"type":"ping"}', Ping()),
    ],
)
def test_a_good_frame_is_read(text: str, frame: object) -> None:
    assert read_frame(text) == frame


@pytest.mark.parametrize("text", MALFORMED_FRAMES)
def test_what_is_no_frame_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read_frame(text)


@pytest.mark.parametrize("text", INVALID_FRAMES)
def test_a_frame_of_the_wrong_shape_is_invalid(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_frame(text)


def test_a_frame_above_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        read_frame('{"type":"message.create","client_msg_id":"a","text":"' + "é" * 140_000 + '"}')


def test_the_error_names_the_message_that_it_is_about() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_frame('{"type":"message.create","client_msg_id":"mine","text":7}')
    assert frame_ref(caught.value) == "mine"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
KINDS = st.sampled_from(["resume", "message.create", "turn.cancel", "seen", "ping", "other"])
FIELDS = st.dictionaries(st.sampled_from(["after", "seq", "turn", "client_msg_id", "text", "parent", "x"]), JSON)


def read_or_refuse(text: str) -> None:
    with suppress(BandstandError):
        assert isinstance(read_frame(text), Resume | MessageCreate | TurnCancel | Seen | Ping)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


@given(KINDS, FIELDS)
def test_any_object_is_read_or_refused(kind: str, fields: dict[str, object]) -> None:
    read_or_refuse(json.dumps({"type": kind, **fields}))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_a_message_keeps_every_character(text: str) -> None:
    raw = strict_json.dumps({"type": "message.create", "client_msg_id": "a", "text": text}).decode()
    assert read_frame(raw) == MessageCreate("a", text)


def test_the_fifth_fault_within_a_minute_is_one_too_many() -> None:
    rate = SlidingWindow(5, 60.0)
    assert [rate.exceeded(at) for at in (0.0, 10.0, 20.0, 30.0, 59.9)] == [False, False, False, False, True]


def test_faults_that_lie_further_apart_are_forgiven() -> None:
    rate = SlidingWindow(5, 60.0)
    assert not any(rate.exceeded(15.0 * n) for n in range(100))


def test_a_window_is_full_until_the_client_has_seen_enough() -> None:
    window = Window(3)
    for seq in (4, 9, 10):
        assert not window.full
        window.add(seq)
    assert window.full
    window.acknowledge(3)
    assert window.full
    window.acknowledge(9)
    window.add(11)
    assert not window.full
    window.add(12)
    assert window.full
