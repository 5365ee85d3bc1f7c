"""Messages."""

from __future__ import annotations

from agents.api.sessions import MessagesView
from agents.domain.message_parts import CUT_REASONS
from agents.domain.response_fallbacks import FALLBACK_NOTES
from agents.models import Message
from rest.schema.json_schema import (
    ANSWER_ID,
    ID,
    MOMENT,
    QUESTION_ID,
    TEXT,
    THEN,
    TURN_ID,
    WHOLE,
    YES_OR_NO,
    array,
    choice,
    described,
    or_null,
    page_schema,
    record,
    ref,
)
from rest.schema.operation import CURSOR, LIMIT, Answer, Operation

QUESTION = {
    "id": QUESTION_ID,
    "ordinal": 1,
    "author": "user",
    "parts": [{"type": "text", "text": "What is 17 * 3?"}],
    "turn": TURN_ID,
    "parent": None,
    "partial": False,
    "feedback": None,
    "created_at": THEN,
}
ANSWER = {
    **QUESTION,
    "id": ANSWER_ID,
    "ordinal": 2,
    "author": "agent",
    "parts": [{"type": "text", "text": "17 * 3 = 51"}],
    "parent": QUESTION_ID,
}
COMPONENTS = {
    "TextPart": record(
        {
            "type": {"const": "text"},
            "text": TEXT,
            "cut": choice(
                *CUT_REASONS,
                description="Why the model stopped before it was complete: a limit of tokens; or it repeated itself.",
            ),
            "fallback": choice(
                *FALLBACK_NOTES, description="What it is in place of an answer of the agent's models; show it."
            ),
            "answered_at": described(MOMENT, "Of a `cached_response`: when it was given first."),
            "schedule": described(
                ID, "Of a question that a schedule of its user sent: that schedule, which may be gone."
            ),
            "by": described(
                TEXT,
                "Of a message of the author `human`: the name of the person who wrote it. Of the author `user`: it was "
                "copied from a session of this user.",
            ),
        },
        optional=("cut", "fallback", "answered_at", "schedule", "by"),
    ),
    "ReasoningPart": record(
        {
            "type": {"const": "reasoning"},
            "text": described(TEXT, "What the model thought before the text or the calls that follow."),
        },
        description="No part of the answer: show it folded.",
    ),
    "ToolCallPart": record(
        {
            "type": {"const": "tool_call"},
            "id": described(TEXT, "The call's id; its result names it."),
            "name": TEXT,
            "arguments": described(TEXT, "JSON text as the model wrote it, which may be broken."),
        }
    ),
    "ToolResultPart": record(
        {
            "type": {"const": "tool_result"},
            "call_id": TEXT,
            "content": TEXT,
            "is_error": YES_OR_NO,
            "outcome": described(
                {"enum": ["unknown", "refused"]},
                "unknown: it may have run, its runner died. refused: its release or a person did not let it run.",
            ),
        },
        optional=("outcome",),
    ),
    "Part": {
        "oneOf": [ref("TextPart"), ref("ReasoningPart"), ref("ToolCallPart"), ref("ToolResultPart")],
        "discriminator": {
            "propertyName": "type",
            "mapping": {
                "text": "#/components/schemas/TextPart",
                "reasoning": "#/components/schemas/ReasoningPart",
                "tool_call": "#/components/schemas/ToolCallPart",
                "tool_result": "#/components/schemas/ToolResultPart",
            },
        },
    },
    "Message": record(
        {
            "id": ID,
            "ordinal": described(WHOLE, "Its place in the session, from 1."),
            "author": choice(
                *Message.Author.values, description="`human` is a person who answers in place of the agent."
            ),
            "parts": array(ref("Part")),
            "turn": described(or_null(ID), "The turn that it asks for or answers; null while a human answers."),
            "parent": described(or_null(ID), "The message that it follows. Two with the same parent are branches."),
            "partial": described(YES_OR_NO, "Whether it was cut short by a stop, an interruption or an error."),
            "feedback": described(or_null(ref("Feedback")), "What you think of it."),
            "created_at": MOMENT,
        }
    ),
    "MessagePage": page_schema(ref("Message")),
}
OPERATIONS = {
    (MessagesView, "get"): Operation(
        "list_messages",
        "Sessions",
        "What was said in a session",
        "In the order in which it was said, all branches together. Follow `parent` back from the session's `head` for "
        "the conversation that people see.",
        [
            Answer(
                200,
                "A page of messages.",
                ref("MessagePage"),
                {"results": [QUESTION, ANSWER], "next": None, "previous": None},
            )
        ],
        parameters=[LIMIT, CURSOR],
    ),
}
