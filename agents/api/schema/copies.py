"""Fork and export of a session."""

from __future__ import annotations

from agents.api.export import FORMATS, MARKDOWN, ExportView
from agents.api.fork import ForkView, NewFork
from agents.api.schema.messages import ANSWER, QUESTION
from agents.api.schema.sessions import EXAMPLE
from agents.api.schema.turns import COMPLETED, TURN_FIELDS
from rest.schema.json_schema import (
    COUNT,
    ID,
    MOMENT,
    TEXT,
    THEN,
    TURN_ID,
    array,
    choice,
    described,
    or_null,
    record,
    ref,
)
from rest.schema.operation import ETAG, LOCATION, REPLAYED, Answer, Body, Header, Operation, Parameter

_DISPOSITION = Header("Content-Disposition", "Under which name to keep it.", 'attachment; filename="Sums.json"')
_EXPORTED_TURN = {name: value for name, value in COMPLETED.items() if name not in {"answer", "position", "approvals"}}
COMPONENTS = {
    "EventRange": record({"first": or_null(COUNT), "last": or_null(COUNT)}, description="The seqs of its events."),
    "ExportedTurn": record(
        {
            **TURN_FIELDS,
            "events": ref("EventRange"),
        }
    ),
    "Export": record(
        {
            "session": ref("Session"),
            "exported_at": MOMENT,
            "events": ref("EventRange"),
            "turns": array(ref("ExportedTurn")),
            "messages": array(ref("Message"), description="All branches, in the order in which it was said."),
        }
    ),
}
OPERATIONS = {
    (ForkView, "post"): Operation(
        "fork_session",
        "Sessions",
        "Go on from a point in another session",
        "A new session of yours on the same release, with a copy of the conversation that people see. It ends with the "
        "answer of `after_turn`; without it, before the first turn that is still open. Other branches, turns and "
        "ratings stay behind.",
        [
            Answer(
                201,
                "The new session.",
                ref("Session"),
                {**EXAMPLE, "version": 1},
                headers=[ETAG, LOCATION, REPLAYED],
            )
        ],
        scope="chat",
        body=Body(
            NewFork,
            {"after_turn": described(or_null(ID), "The last turn to keep; null for all that were answered.")},
            {"after_turn": TURN_ID},
            may_be_empty=True,
        ),
        refusals={409: "That turn is still open."},
        idempotent=True,
    ),
    (ExportView, "get"): Operation(
        "export_session",
        "Sessions",
        "A whole conversation to keep",
        "As JSON with all branches, turns and your ratings, or as a text with the conversation that people see.",
        [
            Answer(
                200,
                "The conversation.",
                ref("Export"),
                {
                    "session": EXAMPLE,
                    "exported_at": THEN,
                    "events": {"first": 1, "last": 6},
                    "turns": [{**_EXPORTED_TURN, "events": {"first": 1, "last": 6}}],
                    "messages": [QUESTION, ANSWER],
                },
                headers=[_DISPOSITION],
            ),
            Answer(200, "", TEXT, f"# Sums\n\nWith Demo, begun {THEN}.\n", media_type=MARKDOWN),
        ],
        parameters=[Parameter("format", choice(*FORMATS), "`json` unless another is asked for.", example="markdown")],
    ),
}
