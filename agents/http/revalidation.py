"""Repeated authorization of long responses."""

from __future__ import annotations

from time import monotonic
from uuid import UUID

from django.http import HttpRequest

from accounts.actor import Actor
from agents.sessions import access_session
from foundation.db_threads import in_db_thread
from foundation.errors import Unauthenticated
from rest.authentication import credentials_still_valid

# The end of a login, a revoked key or a deleted session ends the responses within this time.
RECHECK_SECONDS = 3.0


class StreamAuthorization:
    """Checks every `RECHECK_SECONDS` whether the reader may still read the session.

    The caller must not wait longer than `seconds_left` before it calls `check`, or a silent stream is checked late.
    """

    def __init__(self, request: HttpRequest, actor: Actor, session_id: UUID) -> None:
        self._request = request
        self._actor = actor
        self._session_id = session_id
        self._next_check_at = monotonic() + RECHECK_SECONDS

    @property
    def seconds_left(self) -> float:
        return max(0.01, self._next_check_at - monotonic())

    async def check(self) -> None:
        """When a check is due, raise `Unauthenticated` for invalid credentials and `NotFound` for a deleted session."""
        if monotonic() >= self._next_check_at:
            self._next_check_at = monotonic() + RECHECK_SECONDS
            await in_db_thread(self._revalidate)

    def _revalidate(self) -> None:
        # Raises `NotFound` for a deleted session, which gets no more events: its reader would wait for ever.
        access_session(actor=self._actor, session_id=self._session_id)
        if not credentials_still_valid(self._request, self._actor):
            raise Unauthenticated(rule="revoked")
