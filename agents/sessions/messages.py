"""The messages of a session, each with what its reader thinks of it."""

from __future__ import annotations

from django.db.models import F, FilteredRelation, Q, QuerySet

from agents.models import AgentSession, Message


def session_messages(session: AgentSession) -> QuerySet[Message]:
    """A session's messages, `rated` and with a `comment` by the session's user: one query.

    `agents.domain.serialization` makes their shape.
    """
    mine = FilteredRelation("feedback", condition=Q(feedback__user_id=session.user_id))
    rows = Message.objects.filter(agent_session=session).annotate(mine=mine)
    return rows.annotate(rated=F("mine__value"), comment=F("mine__comment"))
