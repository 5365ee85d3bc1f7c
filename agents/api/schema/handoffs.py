"""Handoffs, as the users of sessions have them."""

from __future__ import annotations

from agents.api.handoffs import (
    NOBODY_WANTED,
    HandoffChoice,
    HandoffMessageView,
    HandoffView,
    NewHandoff,
    NewHandoffMessage,
)
from agents.api.schema.turns import STORED
from agents.domain.handoffs import HandoffSource, HandoffState
from agents.journal.handoff_writes import MAX_REASON
from rest.schema.json_schema import (
    ID,
    MOMENT,
    SESSION_ID,
    TEXT,
    THEN,
    YES_OR_NO,
    array,
    choice,
    described,
    or_null,
    record,
    ref,
)
from rest.schema.operation import REPLAYED, Answer, Body, Operation

_PENDING = {
    "session": SESSION_ID,
    "state": "pending",
    "on_duty": False,
    "choices": ["wait", "leave_message", "withdraw"],
    "reason": "The invoice is wrong.",
    "by": "user",
    "requested_at": THEN,
    "assignee": None,
}
_NONE = {
    "session": SESSION_ID,
    "state": "none",
    "on_duty": True,
    "choices": ["ask", "leave_message"],
    "reason": None,
    "by": None,
    "requested_at": None,
    "assignee": None,
}
COMPONENTS = {
    "Handoff": record(
        {
            "session": ID,
            "state": choice(
                NOBODY_WANTED,
                HandoffState.PENDING,
                HandoffState.OPEN,
                description="`pending`: a person is wanted, the agent goes on answering. `open`: a person answers.",
            ),
            "on_duty": described(YES_OR_NO, "Whether somebody is there to answer now."),
            "choices": array(
                choice(*HandoffChoice),
                description="What you may do: ask for a person, wait, leave a message for one, go on with the agent.",
            ),
            "reason": described(or_null(TEXT), "Why a person is wanted; null while nobody is."),
            "by": described(or_null(choice(*HandoffSource)), "Who asked for one."),
            "requested_at": or_null(MOMENT),
            "assignee": described(or_null(TEXT), "The name of the person who answers."),
        }
    ),
}
OPERATIONS = {
    (HandoffView, "post"): Operation(
        "request_handoff",
        "Sessions",
        "Ask for a person",
        "The agent goes on answering until somebody comes. With nobody on duty `on_duty` says so at once, and you "
        "choose: wait, leave a message, or go on with the agent (DELETE). Who asks once more meets the first request. "
        "What becomes of it is in the session's events: `handoff.opened`, `handoff.returned`, `handoff.resolved`.",
        [Answer(202, "The request.", ref("Handoff"), _PENDING, headers=[REPLAYED])],
        scope="chat",
        body=Body(
            NewHandoff,
            {"reason": described(TEXT, "What a person should help you with.", maxLength=MAX_REASON)},
            {"reason": "The invoice is wrong."},
            may_be_empty=True,
        ),
        refusals={409: "The agent's release offers no person (`handoff_not_offered`)."},
        idempotent=True,
    ),
    (HandoffView, "get"): Operation(
        "get_handoff",
        "Sessions",
        "Whether a person is wanted, or answers",
        "With what you may do about it.",
        [Answer(200, "The present state.", ref("Handoff"), _NONE)],
    ),
    (HandoffView, "delete"): Operation(
        "withdraw_handoff",
        "Sessions",
        "Go on with the agent",
        "Nobody is wanted any more; a person who answers gives the session back. Also answers so when nobody was.",
        [Answer(204, "The agent answers.")],
        scope="chat",
    ),
    (HandoffMessageView, "post"): Operation(
        "leave_message",
        "Sessions",
        "Leave a message for the person who comes next",
        "The agent does not answer it, now or later. It asks for a person, if nobody was asked for, and that request "
        "stays until somebody has read it.",
        [Answer(202, "It is stored.", ref("StoredMessage"), STORED, headers=[REPLAYED])],
        scope="chat",
        body=Body(
            NewHandoffMessage,
            {
                "text": described(
                    TEXT, "What you say; kept byte for byte, at most 64 KiB.", pattern=r"\S", maxLength=64 * 1024
                )
            },
            {"text": "Please call me back about invoice 1749."},
        ),
        refusals={409: "The agent's release offers no person (`handoff_not_offered`)."},
        idempotent=True,
    ),
}
