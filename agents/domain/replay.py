"""The replay law: a snapshot at seq n and the events after it give the snapshot at any later seq.

A snapshot is `{"seq", "session", "messages", "turns", "older"}`: the session's shape (its `head` is the end of the
conversation that people see), the newest messages by ordinal with their owner's feedback, and the turns that are open
or, among those of these messages, did not end well, each as
`{"id", "message", "ordinal", "priority", "status", "shown", "error"}`. `shown` holds the parts that an open turn has
shown so far; once it ends they stand in a message. `older` says that there are messages before; what was known of them
still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

from agents.domain.message_parts import Part, text_part, tool_call_part, tool_result_part

Snapshot = dict[str, Any]
Data = Mapping[str, Any]
Turn = dict[str, Any]
Apply = Callable[[Snapshot, Turn | None, Data], None]


def show(parts: list[Part], event_type: str, data: Data) -> None:
    """Add to `parts` what an event of a running turn shows; events that show nothing leave it as it is."""
    if event_type == "message.delta":
        if parts and parts[-1]["type"] == "text":
            parts[-1] = text_part(parts[-1]["text"] + data["text"])
        else:
            parts.append(text_part(data["text"]))
    elif event_type == "tool.started":
        parts.append(tool_call_part(call_id=data["call_id"], name=data["name"], arguments=data["arguments"]))
    elif event_type in ("tool.finished", "tool.failed"):
        failed = event_type == "tool.failed"
        unknown = data.get("outcome") == "unknown"
        parts.append(
            tool_result_part(call_id=data["call_id"], content=data["content"], is_error=failed, unknown=unknown)
        )


def _session_updated(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    snapshot["session"] = dict(data["session"])


def _created(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    _add(snapshot, data["message"])
    snapshot["session"]["head"] = data["message"]["id"]


def _answered(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    _add(snapshot, data["message"])
    # Unless people went on, or to another branch, in the meantime.
    if snapshot["session"]["head"] == data["message"]["parent"]:
        snapshot["session"]["head"] = data["message"]["id"]


def _add(snapshot: Snapshot, message: Mapping[str, Any]) -> None:
    snapshot["messages"] = sorted([*snapshot["messages"], message], key=lambda m: m["ordinal"])


def _rated(snapshot: Snapshot, _turn: Turn | None, data: Data) -> None:
    snapshot["messages"] = [
        {**message, "feedback": data["feedback"]} if message["id"] == data["message"] else message
        for message in snapshot["messages"]
    ]


def _shown(event_type: str) -> Apply:
    def apply(_snapshot: Snapshot, turn: Turn | None, data: Data) -> None:
        if turn is not None:
            show(turn["shown"], event_type, data)

    return apply


def _status(status: str, *, drop_shown: bool = False) -> Apply:
    def apply(_snapshot: Snapshot, turn: Turn | None, _data: Data) -> None:
        if turn is not None:
            turn["status"] = status
            if drop_shown:
                turn["shown"] = []

    return apply


def _completed(snapshot: Snapshot, turn: Turn | None, _data: Data) -> None:
    if turn is not None:
        del snapshot["turns"][turn["id"]]


def _ended_badly(status: str) -> Apply:
    def apply(_snapshot: Snapshot, turn: Turn | None, data: Data) -> None:
        if turn is not None:
            turn["status"], turn["shown"] = status, []
            turn["error"] = data.get("error")

    return apply


_APPLY: dict[str, Apply] = {
    "session.updated": _session_updated,
    "message.created": _created,
    "message.completed": _answered,
    "message.rated": _rated,
    "message.delta": _shown("message.delta"),
    "tool.started": _shown("tool.started"),
    "tool.finished": _shown("tool.finished"),
    "tool.failed": _shown("tool.failed"),
    # A turn that was given back shows its partial text until its next runner starts it again.
    "turn.queued": _status("queued"),
    "turn.started": _status("running"),
    "turn.restarted": _status("running", drop_shown=True),
    "turn.waiting": _status("waiting"),
    "turn.retry_wait": _status("retry_wait"),
    "turn.cancelling": _status("cancelling"),
    "turn.completed": _completed,
    "turn.failed": _ended_badly("failed"),
    "turn.cancelled": _ended_badly("cancelled"),
    "turn.expired": _ended_badly("expired"),
}

EVENT_TYPES = frozenset(_APPLY)


def apply_event(
    snapshot: Snapshot, *, seq: int, turn_id: str | None, event_type: str, data: Data, replaces_from: int | None = None
) -> Snapshot:
    """The snapshot after one event. Raises `ValueError` when the event does not follow the snapshot, `KeyError` for an
    unknown type."""
    after = deepcopy(snapshot)
    _advance(after, seq=seq, turn_id=turn_id, event_type=event_type, data=data, replaces_from=replaces_from)
    return after


def replay(snapshot: Snapshot, events: Iterable[Mapping[str, Any]]) -> Snapshot:
    """The snapshot after `events`, each with the keyword arguments of `apply_event`. Raises as that does."""
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
    turn = _turn_of(snapshot, turn_id, event_type, data)
    _APPLY[event_type](snapshot, turn, data)


def _turn_of(snapshot: Snapshot, turn_id: str | None, event_type: str, data: Data) -> Turn | None:
    if turn_id is None:
        return None
    turns = snapshot["turns"]
    if event_type == "turn.queued" and turn_id not in turns:
        turns[turn_id] = {
            "id": turn_id,
            "message": data["message"],
            "ordinal": data["ordinal"],
            "priority": data["priority"],
            "status": "queued",
            "shown": [],
            "error": None,
        }
    found: Turn | None = turns.get(turn_id)
    return found
