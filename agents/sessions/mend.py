"""Give a session whose stored state was found faulty an empty one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record
from agents.domain.events import EventType, SessionData
from agents.domain.serialization import session_shape
from agents.journal.locked_writes import append_locked, lock_session
from agents.models import AgentSession
from agents.permissions.role_permissions import MEND_SESSION
from agents.sessions.access import operate_session
from agents.sessions.operator_actions import DoesNotApply


@transaction.atomic
def mend_session(actor: Actor, *, session_id: UUID) -> AgentSession:
    """Empty the state that `state_fault` complains about; messages, turns and events stay.

    Raises `Forbidden`, `NotFound`, `DoesNotApply` when nothing is wrong with the state.
    """
    operate_session(actor=actor, session_id=session_id, permission=MEND_SESSION)
    session = lock_session(session_id)
    if not session.state_fault:
        raise DoesNotApply("Nothing is wrong with the state of this session.")
    fault, session.state_fault, session.state = session.state_fault, "", {}
    session.version += 1
    session.save(update_fields=["state", "state_fault", "version"])
    append_locked(session, [(EventType.SESSION_UPDATED, SessionData(session=session_shape(session)))])
    record(actor, "session.mended", target=session, detail={"fault": fault[:1000]})
    return session
