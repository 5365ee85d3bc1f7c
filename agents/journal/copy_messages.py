"""Copy messages into a new session, inside the database: copying 5,000 with the ORM took ten seconds."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from agents.journal.json_sql import message_json
from agents.journal.queries import fetch
from agents.models import AgentSession, Message
from foundation.ids import new_id

_COPIED = message_json(
    id="m.id",
    ordinal="m.ordinal",
    author="m.author",
    parts="m.parts",
    turn="NULL",
    parent="m.parent_id",
    partial="m.partial",
    created_at="m.created_at",
)

# What somebody else than the user of the new session has written says so: nobody else's words count as the user's.
_PARTS = f"""
    CASE WHEN %(by)s::text = '' OR m.author <> '{Message.Author.USER}' THEN m.parts ELSE (
        SELECT jsonb_agg(CASE WHEN p.part ->> 'type' = 'text' THEN jsonb_build_object('by', %(by)s::text) || p.part
                              ELSE p.part END ORDER BY p.n)
        FROM jsonb_array_elements(m.parts) WITH ORDINALITY AS p(part, n)) END
"""  # noqa: S608 - put together from a constant; values are parameters

# Each copy has the one before as its parent, and no turn: turns and their steps are not copied. A `message.created`
# event for each makes the log of the new session complete.
COPY = f"""
WITH copies AS (
    SELECT w.source, w.id, w.n, lag(w.id) OVER (ORDER BY w.n) AS parent
    FROM unnest(%(sources)s::uuid[], %(copies)s::uuid[]) WITH ORDINALITY AS w(source, id, n)
), m AS (
    INSERT INTO agents_message (id, agent_session_id, ordinal, author, parts, provider_extras, turn_id, parent_id,
                                partial, supplied_by_client, created_at)
    SELECT w.id, %(session)s, w.n, m.author, {_PARTS}, m.provider_extras, NULL, w.parent, m.partial,
           m.supplied_by_client, now()
    FROM copies w JOIN agents_message m ON m.id = w.source
    RETURNING id, ordinal, author, parts, parent_id, partial, created_at
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT %(session)s, m.ordinal, NULL, 0, 'message.created', jsonb_build_object('message', {_COPIED}) FROM m
)
SELECT count(*) FROM m
"""  # noqa: S608 - put together from a constant; values are parameters


MEASURE = """
SELECT coalesce(sum(octet_length(m.parts::text) + coalesce(octet_length(m.provider_extras::text), 0)), 0)::bigint
FROM agents_message m WHERE m.id = ANY(%(sources)s::uuid[])
"""


def measure_messages(sources: Sequence[UUID]) -> int:
    """The bytes of the contents of these messages, as JSON."""
    [(size,)] = fetch(MEASURE, {"sources": list(sources)})
    return int(size)


def copy_messages(session: AgentSession, sources: Sequence[UUID], *, by: str = "") -> None:
    """Fill `session`, created in this transaction and still empty, with copies of the messages `sources`, in this
    order. `by` is the name of the user who wrote them, if that is not the user of `session`.

    Raises `ValueError` when one of them no longer exists.
    """
    if not sources:
        return
    copies = [new_id() for _ in sources]
    [(count,)] = fetch(COPY, {"session": session.pk, "sources": list(sources), "copies": copies, "by": by})
    if count != len(sources):
        raise ValueError("a message to copy is gone")
    session.next_seq = session.next_ordinal = count + 1
    session.head_message_id = copies[-1]
    session.save(update_fields=["next_seq", "next_ordinal", "head_message_id"])
