"""The log of a session."""

from __future__ import annotations

from typing import Any

from agents.api.events import DEFAULT_LIMIT, LARGEST_LIMIT, EventsView
from agents.api.schema.turns import PRIORITIES, STREAM, STREAM_EXAMPLE
from agents.domain.states import TurnStatus
from rest.media_types import EVENT_STREAM
from rest.schema.operation import Answer, Operation, Parameter
from rest.schema.shapes import (
    ANYTHING,
    COUNT,
    ID,
    MOMENT,
    TEXT,
    THEN,
    TURN_ID,
    WHOLE,
    YES_OR_NO,
    Schema,
    list_of,
    one_of,
    or_null,
    page_of,
    record,
    ref,
    said,
)

_SEQ: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_MESSAGE = record({"message": ref("Message")})
_TOOL = {"step": WHOLE, "call_id": TEXT, "name": TEXT}
_STARTED = record({"epoch": said(WHOLE, "Which attempt this is, from 1."), "started_at": MOMENT})
_ENDED = record({"finished_at": MOMENT, "usage": ref("Usage"), "error": ref("TurnError")}, optional=("usage", "error"))

# The `data` of each type of event. What it changes in a snapshot is in `agents.domain.replay`.
DATA: dict[str, Schema] = {
    "session.updated": record({"session": ref("Session")}),
    "message.created": _MESSAGE,
    "message.delta": record({"text": said(TEXT, "The next words of the answer.")}),
    "message.completed": _MESSAGE,
    "message.rated": record({"message": ID, "feedback": or_null(ref("Feedback"))}),
    "tool.started": record({**_TOOL, "arguments": said(TEXT, "JSON text as the model wrote it.")}),
    "tool.finished": record({**_TOOL, "content": TEXT}),
    "tool.failed": record(
        {**_TOOL, "content": TEXT, "outcome": said({"const": "unknown"}, "It may have run: its runner died.")},
        optional=("outcome",),
    ),
    "turn.queued": {
        "anyOf": [
            record({"message": ID, "ordinal": WHOLE, "priority": one_of(*PRIORITIES)}),
            record({"reason": said(TEXT, "Why it was given back to the queue.")}),
        ]
    },
    "turn.started": _STARTED,
    "turn.restarted": said(_STARTED, "Begun again after its runner was lost: what it showed before no longer counts."),
    "turn.waiting": ANYTHING,
    "turn.retry_wait": ANYTHING,
    "turn.cancelling": {"type": "object"},
    "turn.completed": record({"finished_at": MOMENT, "usage": ref("Usage")}),
    "turn.failed": _ENDED,
    "turn.cancelled": _ENDED,
    "turn.expired": _ENDED,
}


def component_of(event_type: str) -> str:
    """The name of the component of a type of event: `MessageDeltaEvent`."""
    return "".join(word.title() for word in event_type.replace(".", "_").split("_")) + "Event"


def _frame(event_type: str, data: Schema) -> Schema:
    return record(
        {
            "type": {"const": "event"},
            "seq": said(_SEQ, "Its place in the session's log, from 1 without gaps."),
            "turn": or_null(ID),
            "event": {"const": event_type},
            "data": data,
            "at": MOMENT,
            "replaces_from": said(_SEQ, "The first of the events that were folded into this one."),
        },
        optional=("replaces_from",),
    )


EXAMPLE: dict[str, Any] = {
    "type": "event",
    "seq": 4,
    "turn": TURN_ID,
    "event": "message.delta",
    "data": {"text": "17 "},
    "at": THEN,
}
COMPONENTS: dict[str, Schema] = {
    **{component_of(event_type): _frame(event_type, data) for event_type, data in DATA.items()},
    "Event": {
        "oneOf": [ref(component_of(event_type)) for event_type in DATA],
        "discriminator": {
            "propertyName": "event",
            "mapping": {name: f"#/components/schemas/{component_of(name)}" for name in DATA},
        },
        "description": "The same over SSE (`data:`), the websocket and pages. Ignore types that you do not know.",
    },
    "OpenTurn": record(
        {
            "id": ID,
            "message": ID,
            "ordinal": WHOLE,
            "priority": one_of(*PRIORITIES),
            "status": one_of(*TurnStatus),
            "shown": list_of(ref("Part"), description="What it has shown so far."),
            "error": or_null(ref("TurnError")),
        }
    ),
    "Snapshot": record(
        {
            "seq": said(_SEQ, "The last event that it includes."),
            "session": ref("Session"),
            "messages": list_of(ref("Message"), description="The newest ones, oldest first."),
            "turns": {
                "type": "object",
                "additionalProperties": ref("OpenTurn"),
                "description": "By id: turns that are open, and those of these messages that did not end well.",
            },
            "older": said(YES_OR_NO, "There are messages before these: see the list of messages."),
        },
        description="The session as it is now, in place of events that are gone.",
    ),
    "StreamError": record(
        {
            "type": {"const": "error"},
            "code": said(TEXT, "As in a problem; `server_stops` when this process ends."),
            "detail": TEXT,
            "ref": or_null(said(TEXT, "Over the websocket: your id of the frame that it answers.")),
            "retryable": said(YES_OR_NO, "Whether to come back, with `Last-Event-ID`."),
            "retry_after_ms": said(COUNT, "So long, at least, wait before that."),
        },
        optional=("retry_after_ms",),
        description="Why a stream ended before its time: the last event, `event: error`, without an id.",
    ),
    "EventPage": page_of(
        ref("Event"),
        last_seq=said(_SEQ, "The newest event of the session."),
        resync=said(or_null(ref("Snapshot")), "Null, unless the events that you asked for are gone."),
    ),
}
OPERATIONS = {
    (EventsView, "get"): Operation(
        "list_events",
        "Events",
        "A session's events, as a page or as they happen",
        "With `Accept: text/event-stream` the events after `after` come at once and the new ones as they happen; each "
        "has its seq as `id:`, so a browser's EventSource resumes by itself (`Last-Event-ID`). The event `resync` "
        "brings a snapshot (see Snapshot) in place of events that are gone: begin anew from it. A stream that ends "
        "before its time says why in a last event `error` (see StreamError): come back if it is `retryable`.",
        [
            Answer(
                200,
                "A page of events, or the stream.",
                ref("EventPage"),
                {"results": [EXAMPLE], "next": None, "previous": None, "last_seq": 4, "resync": None},
            ),
            Answer(200, "", STREAM, STREAM_EXAMPLE, media_type=EVENT_STREAM),
        ],
        parameters=[
            Parameter("after", said(_SEQ, "", default=0), "The last seq that you have seen.", example=3),
            Parameter(
                "limit",
                said(COUNT, "", minimum=1, maximum=LARGEST_LIMIT, default=DEFAULT_LIMIT),
                "How many events a page has at most; a stream has no end.",
            ),
            Parameter(
                "Last-Event-ID", _SEQ, "In a stream: the same as `after`, and counts in its place.", where="header"
            ),
        ],
    ),
}
