"""Approvals."""

from __future__ import annotations

from agents.api.approvals import ApprovalView, DecisionInput
from agents.domain.approvals import ApprovalState, Decision
from agents.sessions.approvals import MAX_NOTE
from rest.schema.json_schema import (
    ID,
    MOMENT,
    QUESTION_ID,
    SESSION_ID,
    TEXT,
    THEN,
    TURN_ID,
    WHOLE,
    choice,
    described,
    record,
    ref,
)
from rest.schema.operation import REPLAYED, Answer, Body, Operation

COMPONENTS = {
    "DecidedApproval": record(
        {
            "approval": ID,
            "session": ID,
            "turn": ID,
            "step": described(WHOLE, "The number of the step that waited."),
            "call_id": described(TEXT, "The model's id of the call."),
            "tool": TEXT,
            "arguments": described(TEXT, "JSON text: what runs, if it was approved, is exactly this."),
            "state": choice(ApprovalState.APPROVED, ApprovalState.DENIED),
            "note": TEXT,
            "decided_at": MOMENT,
        }
    )
}
_DECIDED = {
    "approval": QUESTION_ID,
    "session": SESSION_ID,
    "turn": TURN_ID,
    "step": 2,
    "call_id": "call_1",
    "tool": "http_fetch",
    "arguments": '{"url":"https://example.com/"}',
    "state": "approved",
    "note": "",
    "decided_at": THEN,
}
OPERATIONS = {
    (ApprovalView, "post"): Operation(
        "decide_approval",
        "Turns",
        "Approve or refuse a call of a tool",
        "The turn goes on by itself: an approved call runs exactly as it is stored, once, and the agent is not asked "
        "again; a refused one is a result that the agent reads, with your note. The first decision counts. The same "
        "one once more gets the same answer and changes nothing; another one, or one that comes too late, gets 409.",
        [Answer(200, "The decision.", ref("DecidedApproval"), _DECIDED, headers=[REPLAYED])],
        scope="chat",
        body=Body(
            DecisionInput,
            {
                "decision": choice(*Decision),
                "note": described(TEXT, "What the agent is told with a refusal.", maxLength=MAX_NOTE),
            },
            {"decision": "approve"},
        ),
        refusals={409: "It was decided otherwise, or nobody may decide it any more (`approval_decided`)."},
        idempotent=True,
    )
}
