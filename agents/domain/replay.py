"""Replay: a snapshot at seq n and the events after it give the snapshot at any later seq.

A snapshot is `{"seq", "session", "messages", "turns", "older", "handoff"}`: the session's shape (its `head` is the end
of the conversation that people see), the newest messages by ordinal with their owner's feedback, and the turns that are
open or, among those of these messages, did not complete, each as
`{"id", "message", "ordinal", "priority", "status", "waits_for", "shown", "approvals", "error"}`. `waits_for` says what
one in status `waiting` waits for, as in `turn.waiting`; else it is null. `shown` holds the parts that an open turn has
shown so far; once it ends they are parts of a message. `approvals` are the calls of it that wait until a person agrees,
as in `approval.requested`. `older` says that there are earlier messages, which a snapshot does not
change. `handoff` is null, or says that a person is wanted (`pending`) or answers (`open`):
`{"state", "reason", "by", "on_duty", "assignee"}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from agents.domain.events import EventType
from agents.domain.handoffs import HandoffState
from agents.domain.message_parts import Part, reasoning_part, text_part, tool_call_part, tool_result_part
from agents.domain.states import TERMINAL, TurnStatus

Snapshot = dict[str, Any]
Data = Mapping[str, Any]
Turn = dict[str, Any]
Apply = Callable[[Snapshot, Turn | None, Data], None]


def show_event(parts: list[Part], event_type: str, data: Data) -> None:
    """Change `parts`, what a running turn has shown so far, as one of its events does; most events do not change it."""
    if event_type == EventType.MESSAGE_DELTA:
        _extend(parts, text_part(data["text"]))
    elif event_type == EventType.REASONING_DELTA:
        _extend(parts, reasoning_part(data["text"]))
    elif event_type == EventType.TOOL_STARTED:
        parts.append(tool_call_part(call_id=data["call_id"], name=data["name"], arguments=data["arguments"]))
    elif event_type in (EventType.TOOL_FINISHED, EventType.TOOL_FAILED):
        failed = event_type == EventType.TOOL_FAILED
        outcome = data.get("outcome", "")
        parts.append(
            tool_result_part(call_id=data["call_id"], content=data["content"], is_error=failed, outcome=outcome)
        )
    elif event_type == EventType.MODEL_RETRYING:
        # This is what the attempt that failed showed. What stands before a tool call or its result is in the journal.
        while parts and parts[-1]["type"] in ("text", "reasoning"):
            parts.pop()


def _extend(parts: list[Part], more: Part) -> None:
    """Add the text of `more` to the last of `parts` if that has its type, else add `more` itself."""
    if parts and parts[-1]["type"] == more["type"]:
        more = {**more, "text": parts.pop()["text"] + more["text"]}
    parts.append(more)


def _session_updated(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    snapshot["session"] = dict(data["session"])


def _message_created(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    _add(snapshot, data["message"])
    snapshot["session"]["head"] = data["message"]["id"]


def _message_completed(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    _add(snapshot, data["message"])
    # Unless people went on, or to another branch, in the meantime.
    if snapshot["session"]["head"] == data["message"]["parent"]:
        snapshot["session"]["head"] = data["message"]["id"]


def _add(snapshot: Snapshot, message: Mapping[str, Any]) -> None:
    snapshot["messages"] = sorted([*snapshot["messages"], message], key=lambda m: m["ordinal"])


def _message_rated(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    snapshot["messages"] = [
        {**message, "feedback": data["feedback"]} if message["id"] == data["message"] else message
        for message in snapshot["messages"]
    ]


def _extend_shown(event_type: EventType) -> Apply:
    def apply(_snapshot: Snapshot, turn: Turn | None, data: Data) -> None:
        if turn is not None:
            show_event(turn["shown"], event_type, data)

    return apply


def _set_status(status: TurnStatus) -> Apply:
    def apply(_snapshot: Snapshot, turn: Turn | None, data: Data) -> None:
        if turn is not None:
            turn["status"], turn["waits_for"] = status.value, data.get("for")
            if status in TERMINAL:
                turn["shown"], turn["approvals"], turn["error"] = [], [], data.get("error")

    return apply


def _turn_restarted(_snapshot: Snapshot, turn: Turn | None, _data: Data) -> None:
    if turn is not None:
        turn["status"], turn["waits_for"], turn["shown"] = TurnStatus.RUNNING.value, None, []


def _turn_completed(snapshot: Snapshot, turn: Turn | None, _data: Data) -> None:
    if turn is not None:
        del snapshot["turns"][turn["id"]]


def _approval_requested(_snapshot: Snapshot, turn: Turn | None, data: Data) -> None:
    if turn is not None:
        turn["approvals"].append(dict(data))


def _approval_decided(_snapshot: Snapshot, turn: Turn | None, data: Data) -> None:
    if turn is not None:
        turn["approvals"] = [one for one in turn["approvals"] if one["approval"] != data["approval"]]


def _handoff_requested(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    # Who asks once more meets the first request.
    if snapshot["handoff"] is None:
        snapshot["handoff"] = {
            "state": HandoffState.PENDING.value,
            "reason": data["reason"],
            "by": data["by"],
            "on_duty": data.get("on_duty"),
            "assignee": None,
        }


def _handoff_opened(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    previous = snapshot["handoff"] or {"reason": data["reason"], "by": data["by"], "on_duty": None}
    snapshot["handoff"] = {**previous, "state": HandoffState.OPEN.value, "assignee": data["assignee"]}


def _handoff_ended(snapshot: Snapshot, _turn: Turn | None, _data: Data) -> None:
    snapshot["handoff"] = None


def _no_change(_snapshot: Snapshot, _turn: Turn | None, _data: Data) -> None:
    """The event changes nothing that is part of a snapshot."""


def _status_change(event_type: EventType) -> Apply:
    status = event_type.declaration.status
    return _no_change if status is None else _set_status(status)


# A turn that was requeued shows its partial text until its next runner restarts it. One that waited is started again
# and continues after what it has shown.
_APPLIERS: dict[str, Apply] = {event_type.value: _status_change(event_type) for event_type in EventType} | {
    EventType.SESSION_UPDATED: _session_updated,
    EventType.MESSAGE_CREATED: _message_created,
    EventType.MESSAGE_COMPLETED: _message_completed,
    EventType.MESSAGE_RATED: _message_rated,
    EventType.MESSAGE_DELTA: _extend_shown(EventType.MESSAGE_DELTA),
    EventType.REASONING_DELTA: _extend_shown(EventType.REASONING_DELTA),
    EventType.TOOL_STARTED: _extend_shown(EventType.TOOL_STARTED),
    EventType.TOOL_FINISHED: _extend_shown(EventType.TOOL_FINISHED),
    EventType.TOOL_FAILED: _extend_shown(EventType.TOOL_FAILED),
    EventType.MODEL_RETRYING: _extend_shown(EventType.MODEL_RETRYING),
    EventType.APPROVAL_REQUESTED: _approval_requested,
    EventType.APPROVAL_DECIDED: _approval_decided,
    EventType.HANDOFF_REQUESTED: _handoff_requested,
    EventType.HANDOFF_OPENED: _handoff_opened,
    EventType.HANDOFF_RETURNED: _handoff_ended,
    EventType.HANDOFF_RESOLVED: _handoff_ended,
    EventType.TURN_RESTARTED: _turn_restarted,
    EventType.TURN_COMPLETED: _turn_completed,
}


def apply_event(
    snapshot: Snapshot, *, seq: int, turn_id: str | None, event_type: str, data: Data, replaces_from: int | None = None
) -> Snapshot:
    """The snapshot after one event. Raises `ValueError` when the event does not follow the snapshot, `KeyError` for an
    unknown type."""
    after = deepcopy(snapshot)
    _advance(after, seq=seq, turn_id=turn_id, event_type=event_type, data=data, replaces_from=replaces_from)
    return after


def replay(snapshot: Snapshot, events: Iterable[Mapping[str, Any]]) -> Snapshot:
    """The snapshot after `events`, each with the keyword arguments of `apply_event`. Raises `ValueError` when an event
    does not follow, `KeyError` for an unknown type."""
    after = deepcopy(snapshot)  # once: a copy per event would make a long log quadratic
    for event in events:
        _advance(after, **event)
    return after


def _advance(
    snapshot: Snapshot, *, seq: int, turn_id: str | None, event_type: str, data: Data, replaces_from: int | None = None
) -> None:
    if (replaces_from or seq) != snapshot["seq"] + 1:
        raise ValueError(f"event {replaces_from or seq} does not follow {snapshot['seq']}")
    snapshot["seq"] = seq
    turn = _find_turn(snapshot, turn_id, event_type, data)
    _APPLIERS[event_type](snapshot, turn, data)


def _find_turn(snapshot: Snapshot, turn_id: str | None, event_type: str, data: Data) -> Turn | None:
    if turn_id is None:
        return None
    turns = snapshot["turns"]
    if event_type == EventType.TURN_QUEUED and turn_id not in turns:
        turns[turn_id] = {
            "id": turn_id,
            "message": data["message"],
            "ordinal": data["ordinal"],
            "priority": data["priority"],
            "status": TurnStatus.QUEUED.value,
            "waits_for": None,
            "shown": [],
            "approvals": [],
            "error": None,
        }
    turn: Turn | None = turns.get(turn_id)
    return turn
