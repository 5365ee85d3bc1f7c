"""Feedback on answers."""

from __future__ import annotations

from agents.api.feedback import VALUES, FeedbackView, NewFeedback
from agents.sessions.feedback import MAX_COMMENT
from rest.schema.json_schema import TEXT, choice, described, record, ref
from rest.schema.operation import Answer, Body, Operation

_VALUE = choice(*VALUES, description="Whether the answer was good.")
_COMMENT = described(TEXT, "Why.", maxLength=MAX_COMMENT)
_EXAMPLE = {"value": "down", "comment": "It forgot the tax."}
COMPONENTS = {"Feedback": record({"value": _VALUE, "comment": _COMMENT})}
OPERATIONS = {
    (FeedbackView, "put"): Operation(
        "give_feedback",
        "Sessions",
        "Rate an answer",
        "In place of what you said of it before. All who listen to the session get the event `message.rated`.",
        [Answer(200, "What you said.", ref("Feedback"), _EXAMPLE)],
        scope="chat",
        body=Body(NewFeedback, {"value": _VALUE, "comment": _COMMENT}, _EXAMPLE),
    ),
    (FeedbackView, "delete"): Operation(
        "withdraw_feedback",
        "Sessions",
        "Take a rating back",
        "Also answers so when there was none.",
        [Answer(204, "There is no rating of yours.")],
        scope="chat",
    ),
}
