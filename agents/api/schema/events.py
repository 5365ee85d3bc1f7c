"""Events of a session."""

from __future__ import annotations

from typing import Any, get_args

from agents.api.events import DEFAULT_LIMIT, LARGEST_LIMIT, EventsView
from agents.api.schema.turns import STREAM, STREAM_EXAMPLE
from agents.domain.events import EventType, Field, Form, ListOf, OneOf, Shape, payload_fields
from agents.domain.handoffs import HandoffSource
from agents.domain.states import WaitReason
from rest.content_negotiation import EVENT_STREAM
from rest.schema.json_schema import (
    COUNT,
    ID,
    MOMENT,
    TEXT,
    THEN,
    TURN_ID,
    WHOLE,
    YES_OR_NO,
    Schema,
    array,
    choice,
    described,
    or_null,
    page_schema,
    record,
    ref,
)
from rest.schema.operation import Answer, Operation, Parameter

_SEQ: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}


def _shape(shape: type) -> Schema:
    """The schema of one of the typed dictionaries of `agents.domain.events`."""
    fields = payload_fields(shape)
    optional = [name for name, field in fields.items() if not field.required]
    return record({name: _field(field) for name, field in fields.items()}, optional=optional)


def _field(field: Field) -> Schema:
    schema = or_null(_kind(field.kind)) if field.nullable else _kind(field.kind)
    return described(schema, field.description) if field.description else schema


def _kind(kind: Any) -> Schema:
    match kind:
        case Form() | type():
            return _KINDS[kind]
        case ListOf(form):
            return {"type": "array", "items": _KINDS[form]}
        case OneOf(words):
            return choice(*words)
        case Shape(name):
            return ref(name)
        case _:
            [constant] = get_args(kind)
            return {"const": constant}


_KINDS: dict[Any, Schema] = {Form.ID: ID, Form.MOMENT: MOMENT, Form.TEXT: TEXT, str: TEXT, int: WHOLE, bool: YES_OR_NO}
# The `data` of each type of event. What it changes in a snapshot is in `agents.domain.replay`.
DATA: dict[EventType, Schema] = {
    event_type: references[0] if len(references) == 1 else {"anyOf": references}
    for event_type in EventType
    for references in [[ref(shape.__name__) for shape in event_type.declaration.shapes]]
}


def payload_component(event_type: str) -> str:
    """The component name of an event type, such as `MessageDeltaEvent`."""
    return "".join(word.title() for word in event_type.replace(".", "_").split("_")) + "Event"


def _frame(event_type: EventType, data: Schema) -> Schema:
    return record(
        {
            "type": {"const": "event"},
            "seq": described(_SEQ, "Its place in the session's log, from 1 without gaps."),
            "turn": or_null(ID),
            "event": {"const": event_type.value},
            "data": data,
            "at": MOMENT,
            "replaces_from": described(_SEQ, "The first of the events that were folded into this one."),
        },
        optional=("replaces_from",),
        description=event_type.declaration.meaning,
    )


EXAMPLE: dict[str, Any] = {
    "type": "event",
    "seq": 4,
    "turn": TURN_ID,
    "event": EventType.MESSAGE_DELTA.value,
    "data": {"text": "17 "},
    "at": THEN,
}
COMPONENTS: dict[str, Schema] = {
    # Components of their own, so that generators of clients find names for them.
    **{shape.__name__: _shape(shape) for event_type in EventType for shape in event_type.declaration.shapes},
    **{payload_component(event_type): _frame(event_type, data) for event_type, data in DATA.items()},
    "Event": {
        "oneOf": [ref(payload_component(event_type)) for event_type in DATA],
        "discriminator": {
            "propertyName": "event",
            "mapping": {name.value: f"#/components/schemas/{payload_component(name)}" for name in DATA},
        },
        "description": "The same over SSE (`data:`), the websocket and pages. Ignore types that you do not know.",
    },
    "OpenTurn": record(
        {
            "id": ID,
            "message": ID,
            "ordinal": WHOLE,
            "priority": ref("Priority"),
            "status": ref("TurnStatus"),
            "waits_for": or_null(choice(*WaitReason, description="What one that is `waiting` waits for.")),
            "shown": array(ref("Part"), description="What it has shown so far."),
            "approvals": array(ref("ApprovalRequested"), description="Calls that wait until a person agrees."),
            "error": or_null(ref("TurnError")),
        }
    ),
    "HandoffNow": record(
        {
            "state": choice("pending", "open"),
            "reason": TEXT,
            "by": choice(*HandoffSource),
            "on_duty": or_null(described(YES_OR_NO, "Whether a person was there to answer when one was asked for.")),
            "assignee": or_null(described(TEXT, "The name of the person who answers.")),
        },
        description="A person is wanted (`pending`: the agent goes on answering) or answers (`open`).",
    ),
    "Snapshot": record(
        {
            "seq": described(_SEQ, "The last event that it includes."),
            "session": ref("Session"),
            "messages": array(ref("Message"), description="The newest ones, oldest first."),
            "turns": {
                "type": "object",
                "additionalProperties": ref("OpenTurn"),
                "description": "By id: turns that are open, and those of these messages that did not end well.",
            },
            "older": described(YES_OR_NO, "There are messages before these: see the list of messages."),
            "handoff": or_null(ref("HandoffNow")),
        },
        description="The session as it is now, in place of events that are gone.",
    ),
    "StreamError": record(
        {
            "type": {"const": "error"},
            "code": described(TEXT, "As in a problem; `server_stops` when this process ends."),
            "detail": TEXT,
            "ref": or_null(described(TEXT, "Over the websocket: your id of the frame that it answers.")),
            "retryable": described(YES_OR_NO, "Whether to come back, with `Last-Event-ID`."),
            "retry_after_ms": described(COUNT, "So long, at least, wait before that."),
            "resets_at": described(MOMENT, "Of a budget that is used up: when it begins anew."),
        },
        optional=("retry_after_ms", "resets_at"),
        description="Why a stream ended before its time: the last event, `event: error`, without an id.",
    ),
    "EventPage": page_schema(
        ref("Event"),
        last_seq=described(_SEQ, "The newest event of the session."),
        resync=described(or_null(ref("Snapshot")), "Null, unless the events that you asked for are gone."),
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
            Parameter("after", described(_SEQ, "", default=0), "The last seq that you have seen.", example=3),
            Parameter(
                "limit",
                described(COUNT, "", minimum=1, maximum=LARGEST_LIMIT, default=DEFAULT_LIMIT),
                "How many events a page has at most; a stream has no end.",
            ),
            Parameter(
                "Last-Event-ID", _SEQ, "In a stream: the same as `after`, and counts in its place.", where="header"
            ),
        ],
    ),
}
