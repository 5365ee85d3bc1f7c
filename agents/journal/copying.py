"""Copy messages into a new session, inside the database: 5,000 of them took ten seconds by way of the ORM."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from agents.journal import sql
from agents.journal.connection import fetch
from agents.models import AgentSession
from foundation.ids import new_id


def copy_messages(session: AgentSession, sources: Sequence[UUID]) -> None:
    """Fill `session`, made in this transaction and still empty, with copies of these messages, in this order."""
    if not sources:
        return
    copies = [new_id() for _ in sources]
    [(made,)] = fetch(sql.COPY, {"session": session.pk, "sources": list(sources), "copies": copies})
    if made != len(sources):
        raise ValueError("a message to copy is gone")
    session.next_seq = session.next_ordinal = made + 1
    session.head_message_id = copies[-1]
    session.save(update_fields=["next_seq", "next_ordinal", "head_message_id"])
