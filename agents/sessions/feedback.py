"""Ratings of answers: thumbs up and down."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.actor import Actor, Scope
from agents.domain.events import EventType, MessageRated
from agents.domain.serialization import feedback_shape
from agents.journal.handoff_rules import apply_rating_rule_locked
from agents.journal.locked_writes import append_locked, lock_session
from agents.models import AgentSession, Feedback, Message, Turn
from agents.sessions.access import access_message
from foundation import strict_json
from foundation.db_retry import retry_after_deadlock
from foundation.errors import InvalidInput

MAX_COMMENT = 2000


@retry_after_deadlock
def give_feedback(actor: Actor, *, message_id: UUID, value: int, comment: str = "") -> Feedback:
    """Rate an answer with 1 or -1, in place of an earlier rating by the actor, and return the rating.

    Raises `NotFound`, `Forbidden`, and `InvalidInput` for a message that is not of an agent or a human operator.
    """
    actor.require_scope(Scope.CHAT)
    comment = _clean_comment(comment)
    with transaction.atomic():
        session, message = _lock_message(actor, message_id)
        if message.author not in {Message.Author.AGENT, Message.Author.HUMAN}:
            raise InvalidInput("Only answers can be rated.", pointer="")
        feedback = Feedback.objects.filter(message=message, user_id=session.user_id).first()
        if feedback is None:
            feedback = Feedback(agent_session=session, message=message, user_id=session.user_id)
            if message.turn_id is not None:
                release = Turn.objects.filter(pk=message.turn_id).values_list("release_id", flat=True)
                feedback.turn_id, feedback.release_id = message.turn_id, release.get()
        elif (feedback.value, feedback.comment) == (value, comment):
            return feedback
        else:
            feedback.updated_at = Now()
        feedback.value, feedback.comment = value, comment
        feedback.save()
        _log_rating_locked(session, message, feedback)
        if value < 0 and message.author == Message.Author.AGENT:
            apply_rating_rule_locked(session)
    return feedback


@retry_after_deadlock
def withdraw_feedback(actor: Actor, *, message_id: UUID) -> None:
    """Delete the actor's rating of a message, if there is one. Raises `NotFound`, `Forbidden`."""
    actor.require_scope(Scope.CHAT)
    with transaction.atomic():
        session, message = _lock_message(actor, message_id)
        if Feedback.objects.filter(message=message, user_id=session.user_id).delete()[0]:
            _log_rating_locked(session, message, None)


def _lock_message(actor: Actor, message_id: UUID) -> tuple[AgentSession, Message]:
    message = access_message(actor=actor, message_id=message_id)
    return lock_session(message.agent_session_id), message


def _log_rating_locked(session: AgentSession, message: Message, feedback: Feedback | None) -> None:
    shape = feedback_shape(feedback.value, feedback.comment) if feedback else None
    append_locked(session, [(EventType.MESSAGE_RATED, MessageRated(message=str(message.pk), feedback=shape))])


def _clean_comment(comment: str) -> str:
    strict_json.check_storable(comment, "/comment")
    if len(comment) > MAX_COMMENT:
        raise InvalidInput(f"A comment has at most {MAX_COMMENT} characters.", pointer="/comment")
    return comment.strip()
