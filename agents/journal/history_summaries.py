"""The rows of summaries of conversations."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import psycopg
from django.db import IntegrityError, transaction

from agents.domain.marked_blocks import Summary
from agents.journal import sql
from agents.journal.queries import fetch
from agents.models import HistorySummary


def read_summary(
    session_id: UUID, message_ids: Collection[UUID], *, on: psycopg.Connection | None = None
) -> Summary | None:
    """The summary of the conversation that ends with the newest of these messages, which are of one branch."""
    rows = fetch(sql.SUMMARY, {"session": session_id, "messages": list(message_ids)}, on=on)
    return Summary(str(rows[0][0]), *rows[0][1:]) if rows else None


def add_summary(
    session_id: UUID, *, text: str, route: str, through: UUID, through_ordinal: int, previous: Summary | None
) -> Summary | None:
    """Store a summary that was made of `previous` and the messages behind it; None if another one was first, or if the
    session has been deleted."""
    try:
        with transaction.atomic():
            row = HistorySummary.objects.create(
                agent_session_id=session_id,
                through_id=through,
                through_ordinal=through_ordinal,
                previous_id=UUID(previous.id) if previous is not None else None,
                text=text,
                route=route,
            )
    except IntegrityError:
        return None
    return Summary(str(row.pk), text, through, through_ordinal)
