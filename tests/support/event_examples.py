"""Examples of events, made from their declarations: whoever adds a type has them for nothing."""

from __future__ import annotations

from typing import Any, get_args

from agents.domain.events import EventType, Field, Form, ListOf, OneOf, Shape, payload_fields

SESSION_ID = "019ab000-0000-7000-8000-000000000001"
TURN_ID = "019ab000-0000-7000-8000-000000000002"
QUESTION_ID = "019ab000-0000-7000-8000-000000000003"
ANSWER_ID = "019ab000-0000-7000-8000-000000000004"
MOMENT = "2026-11-22T08:15:30.000001Z"
USAGE = {"input_tokens": 12, "output_tokens": 7, "cost_usd": "0.00001700"}
ERROR = {"error_class": "transient", "detail": "It broke.", "error_id": ANSWER_ID, "retry_suggested": True}
SESSION = {
    "id": SESSION_ID, "agent": "demo", "release": 1, "title": "Sums", "metadata": {}, "controller": "agent",
    "version": 1, "head": QUESTION_ID, "created_at": MOMENT,
}  # fmt: skip
QUESTION = {
    "id": QUESTION_ID, "ordinal": 1, "author": "user", "parts": [{"type": "text", "text": "What is 17 * 3?"}],
    "turn": TURN_ID, "parent": None, "partial": False, "feedback": None, "created_at": MOMENT,
}  # fmt: skip
ANSWER = {**QUESTION, "id": ANSWER_ID, "ordinal": 2, "author": "agent", "parent": QUESTION_ID}
SHAPES: dict[str, dict[str, Any]] = {
    "Session": SESSION,
    "Message": ANSWER,
    "Feedback": {"value": "up", "comment": "Right."},
    "Usage": USAGE,
    "TurnError": ERROR,
}


def examples(event_type: EventType) -> list[dict[str, Any]]:
    """The `data` of an event, one for each shape that it may have, with all fields and with the needed ones only."""
    found: list[dict[str, Any]] = []
    for shape in event_type.declaration.shapes:
        fields = payload_fields(shape)
        found.append({name: _value(field) for name, field in fields.items()})
        if any(not field.required for field in fields.values()):
            found.append({name: _value(field) for name, field in fields.items() if field.required})
    return found


def example(event_type: EventType) -> dict[str, Any]:
    return examples(event_type)[0]


def _value(field: Field) -> Any:
    match field.kind:
        case Form.ID:
            return QUESTION_ID
        case ListOf(Form.ID):
            return [QUESTION_ID]
        case ListOf(Form.TEXT):
            return ["`to` came from a web page."]
        case Form.MOMENT:
            return MOMENT
        case OneOf(words):
            return words[0]
        case Shape(name):
            return SHAPES[name]
        case type() as kind:
            return {str: "some text", int: 1, bool: True}[kind]
        case literal:
            return get_args(literal)[0]
