"""Write a recorded history into a new session, by one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from agents.journal.json_sql import message_json
from agents.journal.queries import fetch
from agents.models import AgentSession
from foundation.ids import new_id

_WRITTEN = message_json(
    id="m.id",
    ordinal="m.ordinal",
    author="m.author",
    parts="m.parts",
    turn="NULL",
    parent="m.parent_id",
    partial="m.partial",
    created_at="m.created_at",
)

# Each message follows the one before, and has no turn. Their events make the log of the session complete.
_WRITE = f"""
WITH w AS (
    SELECT i.id, h.message, h.n, lag(i.id) OVER (ORDER BY h.n) AS parent
    FROM jsonb_array_elements(%(messages)s::jsonb) WITH ORDINALITY AS h(message, n)
    JOIN unnest(%(ids)s::uuid[]) WITH ORDINALITY AS i(id, n) ON i.n = h.n
), m AS (
    INSERT INTO agents_message (id, agent_session_id, ordinal, author, parts, provider_extras, turn_id, parent_id,
                                partial, supplied_by_client, created_at)
    SELECT w.id, %(session)s, %(first)s + w.n - 1, w.message ->> 'author', w.message -> 'parts', w.message -> 'extras',
           NULL, w.parent, false, false, now()
    FROM w
    RETURNING id, ordinal, author, parts, parent_id, partial, created_at
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT %(session)s, m.ordinal - %(first)s + 1, NULL, 0, 'message.created',
           jsonb_build_object('message', {_WRITTEN})
    FROM m
)
SELECT count(*) FROM m
"""  # noqa: S608 - put together from a constant; values are parameters


def write_history(session: AgentSession, messages: Sequence[Mapping[str, Any]], *, first_ordinal: int = 1) -> None:
    """Fill `session`, created in this transaction and still empty, with `{"author", "parts", "extras"}`, oldest first,
    and save its head. `first_ordinal` above 1: something was before."""
    ids = [new_id() for _ in messages]
    if messages:
        params = {
            "session": session.pk,
            "messages": orjson.dumps(list(messages)).decode(),
            "ids": ids,
            "first": first_ordinal,
        }
        fetch(_WRITE, params)
        session.head_message_id = ids[-1]
    session.next_seq = len(messages) + 1
    session.next_ordinal = first_ordinal + len(messages)
    session.save(update_fields=["next_seq", "next_ordinal", "head_message_id"])
