"""Turns."""

from __future__ import annotations

from agents.api.schema.messages import ANSWER
from agents.api.turns import CancelView, NewTurnInput, TurnsView, TurnView
from agents.domain.failures import ErrorClass
from agents.domain.response_fallbacks import Fallback
from agents.domain.states import Priority, TurnStatus, WhenBusy
from rest.content_negotiation import EVENT_STREAM
from rest.schema.json_schema import (
    COUNT,
    ID,
    MOMENT,
    QUESTION_ID,
    SESSION_ID,
    TEXT,
    THEN,
    TURN_ID,
    WHOLE,
    YES_OR_NO,
    array,
    choice,
    described,
    or_null,
    record,
    ref,
)
from rest.schema.operation import LOCATION, PREFER, PREFERENCE_APPLIED, REPLAYED, Answer, Body, Operation, Parameter
from rest.serializers import Input

PRIORITIES = sorted(priority.wire_name for priority in Priority)

QUEUED = {
    "id": TURN_ID,
    "session": SESSION_ID,
    "status": "queued",
    "priority": "interactive",
    "ordinal": 1,
    "position": 0,
    "queued_at": THEN,
    "started_at": None,
    "finished_at": None,
    "error": None,
    "usage": {"input_tokens": None, "output_tokens": None, "cost_usd": None},
    "answered_by": None,
    "attempts": 0,
    "fallback": None,
    "approvals": [],
    "answer": None,
}
COMPLETED = {
    **QUEUED,
    "status": "completed",
    "position": None,
    "started_at": THEN,
    "finished_at": THEN,
    "usage": {"input_tokens": 12, "output_tokens": 7, "cost_usd": "0.00001700"},
    "answered_by": "openai:gpt-5-mini",
    "attempts": 1,
    "answer": ANSWER,
}
STREAM = described(
    TEXT,
    "The `data` of each event is JSON.",
    contentMediaType=EVENT_STREAM,
    contentSchema={"anyOf": [ref("Event"), ref("Snapshot"), ref("StreamError")]},
)
STREAM_EXAMPLE = (
    ": open\n"
    "id: 4\nevent: message.delta\n"
    f'data: {{"type":"event","seq":4,"turn":"{TURN_ID}","event":"message.delta","data":{{"text":"17 "}},"at":"{THEN}"}}'
    "\n\n"
)
_ID_AND_STATUS = {
    "id": ID,
    "session": ID,
    "status": ref("TurnStatus"),
    "priority": ref("Priority"),
    "ordinal": described(WHOLE, "The ordinal of its message."),
}
_TIMES_AND_END = {
    "queued_at": MOMENT,
    "started_at": or_null(MOMENT),
    "finished_at": or_null(MOMENT),
    "error": described(or_null(ref("TurnError")), "Why it failed; null unless it did."),
    "usage": ref("Usage"),
    "answered_by": described(or_null(TEXT), "The route of the model that gave the answer; null until there is one."),
    "attempts": described(COUNT, "How often models were asked until now, calls that failed among them."),
    "fallback": described(
        or_null(choice(*Fallback)),
        "What it ended with in place of an answer of the agent's models; null: with one, or for another reason.",
    ),
}
# What a turn has wherever it stands.
TURN_FIELDS = {**_ID_AND_STATUS, **_TIMES_AND_END}
_TOKENS = "Of all model calls; null while nobody knows: before the end, or where a provider did not say."
COMPONENTS = {
    "Usage": record(
        {
            "input_tokens": described(or_null(COUNT), _TOKENS),
            "output_tokens": described(or_null(COUNT), _TOKENS),
            "cost_usd": described(
                or_null({"type": "string", "pattern": r"^[0-9]+\.[0-9]{8}$"}),
                "US dollars as a decimal; null while nobody knows, such as when a model's price is not known.",
            ),
        }
    ),
    "TurnError": record(
        {
            "error_class": choice(*ErrorClass, description="What kind of failure, for programs. Others may come."),
            "detail": described(TEXT, "What happened, for people."),
            "error_id": described(or_null(ID), "What operators find it by."),
            "retry_suggested": described(YES_OR_NO, "Whether asking again may help."),
            "retry_at": described(MOMENT, "When asking again may help, such as when a budget begins anew."),
        },
        optional=("retry_at",),
    ),
    "TurnStatus": choice(*TurnStatus, description="`completed`, `failed`, `cancelled` and `expired` are final."),
    "Priority": choice(*PRIORITIES),
    "Turn": record(
        {
            **_ID_AND_STATUS,
            "position": described(
                or_null(COUNT), "How many turns of its session stand before it; null unless it is queued."
            ),
            **_TIMES_AND_END,
            "approvals": array(ref("ApprovalRequested"), description="Calls of tools that wait until a person agrees."),
            "answer": described(or_null(ref("Message")), "What the agent said, once the turn has ended."),
        }
    ),
    "StoredMessage": record(
        {
            "id": described({"type": "null"}, "There is no turn."),
            "session": ID,
            "status": {"const": "stored"},
            "ordinal": WHOLE,
            "message": ID,
        },
        description="A message without a turn: a human answers in this session.",
    ),
}
STORED = {"id": None, "session": SESSION_ID, "status": "stored", "ordinal": 1, "message": QUESTION_ID}
OPERATIONS = {
    (TurnsView, "post"): Operation(
        "create_turn",
        "Turns",
        "Say something and have it answered",
        "The message is accepted for good before you hear of it: whatever happens to your connection or to our "
        "processes, it is answered exactly once. You choose how to wait:\n\n"
        "- at once: 202 with the turn; read it later or listen to the session's events;\n"
        "- `Prefer: wait=30`: 200 with the finished turn, or 202 when it takes longer;\n"
        "- `Accept: text/event-stream`: the turn's events until it has ended.\n\n"
        "Send an Idempotency-Key, and repeat the request whenever you are in doubt. Leaving does not stop a turn: "
        "cancel it.",
        [
            Answer(
                200,
                "The finished turn (with `Prefer: wait`), or the turn's events as a stream (see Event).",
                ref("Turn"),
                COMPLETED,
                headers=[LOCATION, PREFERENCE_APPLIED, REPLAYED],
            ),
            Answer(200, "", STREAM, STREAM_EXAMPLE, media_type=EVENT_STREAM),
            Answer(
                202,
                "Accepted: the turn as it is now. While a human answers there is no turn, and no Location.",
                {"oneOf": [ref("Turn"), ref("StoredMessage")]},
                QUEUED,
                headers=[
                    LOCATION.when("unless the message was only stored"),
                    PREFERENCE_APPLIED,
                    REPLAYED,
                ],
            ),
        ],
        scope="chat",
        body=Body(
            NewTurnInput,
            {
                "input": described(
                    TEXT, "What you say; kept byte for byte, at most 64 KiB.", pattern=r"\S", maxLength=64 * 1024
                ),
                "parent": described(
                    or_null(ID),
                    "The message that yours follows: a branch. Null begins anew; without it yours follows the "
                    "session's last.",
                ),
                "when_busy": choice(
                    *WhenBusy,
                    description="While another turn is open: wait behind it, be refused (409), or stop it first. "
                    "Without it the agent's own choice holds.",
                ),
                "priority": choice(
                    *PRIORITIES, description="`background` lets interactive turns go first, for a minute at most."
                ),
            },
            {"input": "What is 17 * 3?"},
        ),
        parameters=[
            PREFER,
            Parameter(
                "Last-Event-ID",
                described(COUNT, "", maximum=2**63 - 1),
                "In a repeat that asks for the stream again: the last event that you have seen.",
                where="header",
            ),
        ],
        refusals={
            409: "A turn is open and `when_busy` says reject (`turn_in_progress`).",
            429: "Too many messages wait in this session (`session_queue_full`), or too many requests.",
        },
        idempotent=True,
    ),
    (TurnView, "get"): Operation(
        "get_turn",
        "Turns",
        "One turn",
        "With its answer once it has ended.",
        [Answer(200, "The turn.", ref("Turn"), COMPLETED)],
    ),
    (CancelView, "post"): Operation(
        "cancel_turn",
        "Turns",
        "Stop a turn",
        "At once where nobody works on it yet; otherwise it is `cancelling` until its runner has stopped. What was "
        "said so far is kept, marked as partial. A turn that has ended stays as it is.",
        [
            Answer(
                200,
                "The turn as it is now.",
                ref("Turn"),
                {**QUEUED, "status": "cancelled", "position": None},
                headers=[REPLAYED],
            )
        ],
        scope="chat",
        body=Body(Input, {}, {}, may_be_empty=True),
        idempotent=True,
    ),
}
