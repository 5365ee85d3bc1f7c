"""The messages of a session, each with the rating by the session's user."""

from __future__ import annotations

from django.db.models import F, FilteredRelation, Q, QuerySet

from agents.models import AgentSession, Message


def session_messages(session: AgentSession) -> QuerySet[Message]:
    """A session's messages, annotated with `rated` and `comment` from the feedback of its user, in one query.

    `agents.domain.serialization` serializes them.
    """
    own_feedback = FilteredRelation("feedback", condition=Q(feedback__user_id=session.user_id))
    rows = Message.objects.filter(agent_session=session).annotate(own_feedback=own_feedback)
    return rows.annotate(rated=F("own_feedback__value"), comment=F("own_feedback__comment"))
