"""What all actions of operators on a turn have in common: the permission and the locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from agents.journal.locked_writes import lock_session, lock_turn
from agents.models import AgentSession, Turn
from agents.sessions.access import operate_turn
from foundation.errors import Conflict


class DoesNotApply(Conflict):
    """The state of the turn does not allow this."""

    code = "does_not_apply"


@contextmanager
def operator_transaction(actor: Actor, *, turn_id: UUID, permission: str) -> Iterator[tuple[AgentSession, Turn]]:
    """A transaction that holds the locks of the turn and its session. Raises `Forbidden`, `NotFound`."""
    turn = operate_turn(actor=actor, turn_id=turn_id, permission=permission)
    with transaction.atomic():
        session = lock_session(turn.agent_session_id)
        yield session, lock_turn(session, turn_id)
