"""Sessions."""

from __future__ import annotations

from agents.api.sessions import NewSession, SessionChange, SessionsView, SessionView
from agents.domain.session_purposes import SessionPurpose
from agents.models import AgentSession
from agents.sessions.crud import MAX_TITLE
from rest.schema.json_schema import (
    ANSWER_ID,
    ANYTHING,
    COUNT,
    ID,
    MOMENT,
    SESSION_ID,
    SLUG,
    TEXT,
    THEN,
    WHOLE,
    choice,
    described,
    or_null,
    page_schema,
    record,
    ref,
)
from rest.schema.operation import CURSOR, ETAG, LIMIT, LOCATION, REPLAYED, Answer, Body, Operation, Parameter

EXAMPLE = {
    "id": SESSION_ID,
    "agent": "demo",
    "release": 1,
    "title": "Sums",
    "metadata": {"order": 1749},
    "controller": "agent",
    "version": 1,
    "head": ANSWER_ID,
    "created_at": THEN,
}
_TITLE = described(TEXT, "What people see in their list. Without one the first message gives it.", maxLength=MAX_TITLE)
_METADATA = described(ANYTHING, "Anything of yours, up to 16 KiB of JSON. Agents do not see it.")
_SESSION = {
    "id": ID,
    "agent": described(SLUG, "The agent's slug."),
    "release": described(WHOLE, "The release that its next turn runs on."),
    "title": _TITLE,
    "metadata": _METADATA,
    "controller": choice(
        *AgentSession.Controller.values,
        description="Who answers: `human` while a person has taken over.",
    ),
    "head": described(or_null(ID), "The end of the conversation that people see; the next message follows it."),
    "version": described(COUNT, "Grows with every change; also in the ETag."),
    "created_at": MOMENT,
}
COMPONENTS = {
    "Session": record(_SESSION),
    "ListedSession": record(
        {**_SESSION, "updated_at": described(MOMENT, "When its last message was accepted; the list is ordered by it.")}
    ),
    "SessionPage": page_schema(ref("ListedSession")),
}
OPERATIONS = {
    (SessionsView, "get"): Operation(
        "list_sessions",
        "Sessions",
        "Your sessions",
        "The one that was spoken in last comes first.",
        [
            Answer(
                200,
                "A page of sessions.",
                ref("SessionPage"),
                {"results": [{**EXAMPLE, "updated_at": THEN}], "next": None, "previous": None},
            )
        ],
        parameters=[
            Parameter("agent", SLUG, "Only sessions with this agent, by its slug."),
            Parameter(
                "search",
                described(TEXT, "", minLength=1, maxLength=200),
                "Only sessions in whose title or messages each of these words occurs, in any case.",
            ),
            LIMIT,
            CURSOR,
        ],
    ),
    (SessionsView, "post"): Operation(
        "create_session",
        "Sessions",
        "Begin a session",
        "A session is a conversation with one agent. It stays on the release that the agent had at its beginning, "
        "unless that one is withdrawn or the agent's sessions follow the live release: then the event "
        "`session.updated` says so.",
        [Answer(201, "The session.", ref("Session"), EXAMPLE, headers=[ETAG, LOCATION, REPLAYED])],
        scope="chat",
        body=Body(
            NewSession,
            {
                "agent": described(SLUG, "The slug of an agent that you may talk to."),
                "title": _TITLE,
                "metadata": _METADATA,
                "purpose": choice(
                    SessionPurpose.STAGING.value,
                    description="For those who edit drafts: talk to the candidate of the agent's open deployment, in a "
                    "session that is not listed and that no figure counts.",
                ),
            },
            {"agent": "demo", "title": "Sums"},
        ),
        refusals={
            409: "For staging: no deployment of the agent is open; or the key of this request is in use for another.",
        },
        idempotent=True,
    ),
    (SessionView, "get"): Operation(
        "get_session",
        "Sessions",
        "One session",
        "With its version in the ETag.",
        [Answer(200, "The session.", ref("Session"), EXAMPLE, headers=[ETAG])],
    ),
    (SessionView, "patch"): Operation(
        "update_session",
        "Sessions",
        "Change a session",
        "What is not given stays as it is. All who listen to the session get the event `session.updated`.",
        [Answer(200, "The session as it is now.", ref("Session"), {**EXAMPLE, "version": 2}, headers=[ETAG])],
        scope="chat",
        body=Body(
            SessionChange,
            {
                "title": _TITLE,
                "metadata": _METADATA,
                "head": described(ID, "A message of the session: people see the branch that ends with it."),
            },
            {"title": "Harder sums"},
            at_least_one=True,
        ),
        versioned=True,
    ),
    (SessionView, "delete"): Operation(
        "delete_session",
        "Sessions",
        "Delete a session",
        "With all that was said in it. It cannot be undone.",
        [Answer(204, "It is gone.")],
        scope="chat",
        versioned=True,
        refusals={409: "A turn of the session is still open: cancel it first."},
    ),
}
