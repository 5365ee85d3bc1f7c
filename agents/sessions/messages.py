"""The messages of a session: each with the rating by the session's user, and their tree without content."""

from __future__ import annotations

from django.db.models import F, FilteredRelation, Q, QuerySet

from agents.domain.message_tree import Node, Tree
from agents.models import AgentSession, Message


def session_messages(session: AgentSession) -> QuerySet[Message]:
    """A session's messages, annotated with `rated` and `comment` from the feedback of its user, in one query.

    `agents.domain.serialization` serializes them.
    """
    own_feedback = FilteredRelation("feedback", condition=Q(feedback__user_id=session.user_id))
    rows = Message.objects.filter(agent_session=session).annotate(own_feedback=own_feedback)
    return rows.annotate(rated=F("own_feedback__value"), comment=F("own_feedback__comment"))


def load_message_tree(session: AgentSession) -> Tree:
    """All branches of a session; 5,000 messages cost one query of some 20 ms."""
    rows = Message.objects.filter(agent_session=session).order_by()
    return Tree(
        Node(pk, ordinal, turn, parent, answers=author == Message.Author.AGENT, size=size)
        for pk, ordinal, author, turn, parent, size in rows.values_list(
            "id", "ordinal", "author", "turn_id", "parent_id", "size_bytes"
        )
    )
