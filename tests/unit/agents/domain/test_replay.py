"""The replay law as a pure rule. `tests/integration/agents/journal/test_turn_machine.py` holds it against the rows."""

from copy import deepcopy
from typing import Any

import pytest

from agents.domain.events import TERMINAL_EVENTS, EventType
from agents.domain.message_parts import Part, reasoning_part, text_part, tool_call_part, tool_result_part
from agents.domain.replay import Snapshot, apply_event, replay, show_event
from agents.domain.states import TurnStatus
from tests.support.event_examples import example

TURN = "turn-1"
ERROR = {"error_class": "transient", "detail": "It broke.", "error_id": "e", "retry_suggested": True}


def snapshot(seq: int = 7, **turn: Any) -> Snapshot:
    known = {
        "id": TURN,
        "message": "m1",
        "ordinal": 1,
        "priority": "interactive",
        "status": "running",
        "shown": [],
        "approvals": [],
        "error": None,
    }
    message = {"id": "m1", "ordinal": 1, "feedback": None}
    return {
        "seq": seq,
        "session": {"title": "", "head": "m1"},
        "messages": [message],
        "turns": {TURN: known | turn},
        "handoff": None,
    }


def after(before: Snapshot, event_type: str, turn: str | None = TURN, **data: Any) -> Snapshot:
    return apply_event(before, seq=before["seq"] + 1, turn_id=turn, event_type=event_type, data=data)


# One example of the data of every type: of these, with what stands in the snapshot.
DATA: dict[str, dict[str, Any]] = {event_type.value: example(event_type) for event_type in EventType} | {
    "session.updated": {"session": {"title": "New", "head": "m1"}},
    "message.created": {"message": {"id": "m2", "ordinal": 2}},
    "message.completed": {"message": {"id": "m2", "ordinal": 2, "parent": "m1"}},
    "message.rated": {"message": "m1", "feedback": {"value": "up", "comment": ""}},
    "message.delta": {"text": "Hi"},
    "reasoning.delta": {"text": "Hm"},
    "tool.started": {"step": 2, "call_id": "a", "name": "clock", "arguments": "{}"},
    "tool.finished": {"step": 2, "call_id": "a", "name": "clock", "content": "noon"},
    "tool.failed": {"step": 2, "call_id": "a", "name": "clock", "content": "broken"},
    "model.retrying": {"step": 1, "route": "openai:next", "reason": "transient"},
    "memory.recalled": {"memories": ["a"], "low_confidence": False},
    "turn.queued": {"message": "m1", "ordinal": 1, "priority": "interactive"},
    "turn.started": {"epoch": 1, "resumed": False},
    "turn.restarted": {"epoch": 2},
    "turn.waiting": {"for": "approval", "until": "2026-11-22T08:15:30.000001Z"},
    "turn.retry_wait": {"until": "2026-11-22T08:15:30.000001Z"},
    "turn.cancelling": {},
    "turn.completed": {"usage": {}},
    "turn.failed": {"error": ERROR},
    "turn.cancelled": {},
    "turn.expired": {"error": ERROR},
}


@pytest.mark.parametrize("event_type", sorted(EventType))
def test_an_event_leaves_the_old_snapshot_as_it_was(event_type: str) -> None:
    before = snapshot(shown=[text_part("Wait.")])
    copy = deepcopy(before)
    assert after(before, event_type, **DATA[event_type])["seq"] == 8
    assert before == copy


@pytest.mark.parametrize("event_type", sorted(EventType))
def test_an_event_that_does_not_follow_is_refused(event_type: str) -> None:
    for seq, replaces_from in [(7, None), (9, None), (9, 7), (9, 9)]:
        with pytest.raises(ValueError, match="does not follow 7"):
            apply_event(
                snapshot(), seq=seq, turn_id=TURN, event_type=event_type, data=DATA[event_type],
                replaces_from=replaces_from,
            )  # fmt: skip


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(KeyError):
        after(snapshot(), "turn.exploded")


@pytest.mark.parametrize(
    ("event_type", "status"),
    [
        (f"turn.{name}", status)
        for name, status in [
            ("queued", "queued"), ("started", "running"), ("restarted", "running"), ("waiting", "waiting"),
            ("retry_wait", "retry_wait"), ("cancelling", "cancelling"), ("failed", "failed"),
            ("cancelled", "cancelled"), ("expired", "expired"),
        ]
    ],
)  # fmt: skip
def test_an_event_of_a_turn_names_its_state(event_type: str, status: str) -> None:
    turn = after(snapshot(status="?"), event_type, **DATA[event_type])["turns"][TURN]
    assert turn["status"] == TurnStatus(status)


def test_a_completed_turn_leaves_the_snapshot() -> None:
    assert after(snapshot(), "turn.completed")["turns"] == {}


@pytest.mark.parametrize("event_type", sorted(TERMINAL_EVENTS - {"turn.completed"}))
def test_a_turn_that_ended_badly_stays_with_its_error_and_shows_nothing(event_type: str) -> None:
    turn = after(snapshot(shown=[text_part("Hi")]), event_type, **DATA[event_type])["turns"][TURN]
    assert turn["shown"] == []
    assert turn["error"] == DATA[event_type].get("error")


def test_a_new_turn_is_queued_with_what_its_event_says() -> None:
    queued = after(snapshot(), "turn.queued", "turn-2", message="m2", ordinal=2, priority="background")["turns"][
        "turn-2"
    ]
    assert queued == {
        "id": "turn-2", "message": "m2", "ordinal": 2, "priority": "background", "status": "queued",
        "waits_for": None, "shown": [], "approvals": [], "error": None,
    }  # fmt: skip


def test_a_turn_that_was_given_back_shows_its_text_until_it_starts_again() -> None:
    given_back = after(snapshot(shown=[text_part("Hi")]), "turn.queued", reason="lease_lost")
    assert given_back["turns"][TURN]["shown"] == [text_part("Hi")]
    assert after(given_back, "turn.restarted", epoch=2)["turns"][TURN]["shown"] == []


@pytest.mark.parametrize("waits", ["turn.waiting", "turn.retry_wait"])
def test_a_turn_that_waited_goes_on_behind_what_it_has_shown(waits: str) -> None:
    state = snapshot(shown=[text_part("Hel")])
    for event_type, data in [
        (waits, DATA[waits]),
        ("turn.queued", {"reason": "approved"}),
        ("turn.started", {"epoch": 2, "resumed": True}),
        ("message.delta", {"text": "lo"}),
    ]:
        state = after(state, event_type, **data)
    assert (state["turns"][TURN]["shown"], state["turns"][TURN]["status"]) == ([text_part("Hello")], "running")


CALL = tool_call_part(call_id="a", name="clock", arguments="{}")
RESULT = tool_result_part(call_id="a", content="noon", is_error=False)


@pytest.mark.parametrize(
    ("shown", "left"),
    [
        ([], []),
        ([text_part("Hel")], []),
        ([text_part("Wait."), CALL, RESULT, text_part("It is")], [text_part("Wait."), CALL, RESULT]),
        ([text_part("Wait."), CALL, RESULT], [text_part("Wait."), CALL, RESULT]),
        ([text_part("Wait."), CALL], [text_part("Wait."), CALL]),
        ([reasoning_part("Hm"), text_part("Hel")], []),
        ([reasoning_part("Hm"), CALL, RESULT, reasoning_part("So")], [reasoning_part("Hm"), CALL, RESULT]),
    ],
)
def test_when_the_model_is_asked_once_more_its_text_since_the_last_tool_goes(
    shown: list[Part], left: list[Part]
) -> None:
    for route in ("openai:next", None):
        data: dict[str, Any] = {"step": 3, "route": route, "reason": "transient"}
        turn = after(snapshot(shown=shown), "model.retrying", **data)["turns"][TURN]
        assert (turn["shown"], turn["status"]) == (left, "running")
        assert show_all(left, ("message.delta", {"text": "again"})) == [*left, text_part("again")]


def show_all(parts: list[Part], *events: tuple[str, dict[str, Any]]) -> list[Part]:
    shown = list(parts)
    for event_type, data in events:
        show_event(shown, event_type, data)
    return shown


def test_two_attempts_in_a_row_leave_the_words_of_the_last() -> None:
    retry = ("model.retrying", DATA["model.retrying"])
    words = [("message.delta", {"text": text}) for text in "abc"]
    assert show_all([], words[0], retry, retry, words[1], retry, words[2]) == [text_part("c")]


def test_what_a_turn_shows_grows_in_order_and_deltas_flow_together() -> None:
    parts: list[Part] = []
    for event_type in [
        "message.delta",
        "message.delta",
        "tool.started",
        "tool.finished",
        "tool.failed",
        "turn.started",
    ]:
        show_event(parts, event_type, DATA[event_type])
    for outcome in ("unknown", "refused"):
        show_event(parts, "tool.failed", {**DATA["tool.failed"], "outcome": outcome})
    show_event(parts, "message.delta", {"text": "!"})
    assert parts == [
        text_part("HiHi"),
        tool_call_part(call_id="a", name="clock", arguments="{}"),
        tool_result_part(call_id="a", content="noon", is_error=False),
        tool_result_part(call_id="a", content="broken", is_error=True),
        tool_result_part(call_id="a", content="broken", is_error=True, outcome="unknown"),
        tool_result_part(call_id="a", content="broken", is_error=True, outcome="refused"),
        text_part("!"),
    ]


def test_reasoning_and_text_flow_together_each_with_its_own() -> None:
    reasoning, text = ("reasoning.delta", {"text": "Hm"}), ("message.delta", {"text": "Hi"})
    assert show_all([], reasoning, reasoning, text, text, reasoning) == [
        reasoning_part("HmHm"), text_part("HiHi"), reasoning_part("Hm"),
    ]  # fmt: skip


def test_messages_stand_in_the_order_of_their_ordinals() -> None:
    late = after(snapshot(), "message.created", None, message={"id": "m3", "ordinal": 3})
    assert [m["ordinal"] for m in after(late, "message.completed", message={**ANSWER, "parent": "m1"})["messages"]] == [
        1,
        2,
        3,
    ]


ANSWER = {"id": "m2", "ordinal": 2}


def test_the_head_is_the_last_message_and_its_answer_unless_people_went_on() -> None:
    asked = after(snapshot(), "message.created", None, message={"id": "m3", "ordinal": 3})
    assert asked["session"]["head"] == "m3"
    assert after(asked, "message.completed", message={**ANSWER, "parent": "m1"})["session"]["head"] == "m3"
    assert after(snapshot(), "message.completed", message={**ANSWER, "parent": "m1"})["session"]["head"] == "m2"


def test_a_rating_stands_with_its_message() -> None:
    rated = after(snapshot(), "message.rated", None, **DATA["message.rated"])
    assert rated["messages"][0]["feedback"] == {"value": "up", "comment": ""}
    assert after(rated, "message.rated", None, message="m1", feedback=None)["messages"][0]["feedback"] is None


def test_a_folded_row_stands_for_its_whole_range() -> None:
    folded = {"turn_id": TURN, "event_type": "message.delta", "data": {"text": "abc"}, "seq": 10, "replaces_from": 8}
    end = {"turn_id": TURN, "event_type": "turn.completed", "data": {}, "seq": 11}
    assert replay(snapshot(), [folded])["turns"][TURN]["shown"] == [text_part("abc")]
    assert replay(snapshot(), [folded, end])["seq"] == 11


def test_an_event_of_a_turn_that_is_long_over_changes_only_the_seq() -> None:
    before = snapshot()
    assert after(before, "message.delta", "turn-0", text="late") == {**before, "seq": 8}
