"""What a user stores by way of an agent's tools."""

from __future__ import annotations

from uuid import UUID

from agents.models import AgentSession
from foundation.db_threads import start_in_db_thread
from ratelimits import guard_storage


def guard_session_storage(session_id: UUID, size_bytes: int) -> None:
    """Count bytes that the session's user stores; waits for a database thread. Raises `RateLimited`, `TooLarge`."""
    start_in_db_thread(_guard, session_id, size_bytes).result()


def _guard(session_id: UUID, size_bytes: int) -> None:
    user_id = AgentSession.objects.filter(pk=session_id).values_list("user_id", flat=True).first()
    if user_id is not None:
        guard_storage(user_id=user_id, size_bytes=size_bytes)
