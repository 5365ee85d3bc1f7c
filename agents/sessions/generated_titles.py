"""The title of a conversation that a model has made, in place of the beginning of its first message."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from agents.domain.events import EventType, SessionData
from agents.domain.serialization import session_shape
from agents.domain.session_purposes import SessionPurpose
from agents.journal.locked_writes import append_locked, lock_session
from agents.models import AgentSession
from foundation.db_retry import retry_after_deadlock
from foundation.errors import NotFound


def has_first_title(session_id: UUID, first: str) -> bool:
    """Whether a session of production is listed and still has the title that its first message gave it, `first`."""
    rows = AgentSession.objects.filter(pk=session_id, listed=True, title=first, purpose=SessionPurpose.PRODUCTION)
    return first != "" and rows.exists()


@retry_after_deadlock
def replace_first_title(session_id: UUID, *, first: str, title: str) -> bool:
    """Name a session that still has the title that its first message gave it; False if it has another one or is gone.

    Its version stays, as when the first message names it: whoever renames it at the same moment is right.
    """
    with transaction.atomic():
        try:
            session = lock_session(session_id)
        except NotFound:
            return False
        if not first or session.title != first or not session.listed:
            return False
        session.title = title
        session.save(update_fields=["title"])
        append_locked(session, [(EventType.SESSION_UPDATED, SessionData(session=session_shape(session)))])
    return True
