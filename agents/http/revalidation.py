"""Whether whoever gets a long answer may still have it."""

from __future__ import annotations

from time import monotonic
from uuid import UUID

from django.http import HttpRequest

from accounts.actor import Actor
from agents.sessions import access_session
from foundation.db_threads import in_db_thread
from foundation.errors import Unauthenticated
from rest.authentication import credentials_still_valid

# A login that ended, a key that was revoked or a session that was deleted ends its answers within this time.
RECHECK_SECONDS = 3.0


class StreamAuthorization:
    """Looks every few seconds. What waits must not wait longer than until the next look, `seconds_left` from now: what
    was silent would be looked at a whole period too late."""

    def __init__(self, request: HttpRequest, actor: Actor, session_id: UUID) -> None:
        self._request = request
        self._actor = actor
        self._session_id = session_id
        self._next_check_at = monotonic() + RECHECK_SECONDS

    @property
    def seconds_left(self) -> float:
        return max(0.01, self._next_check_at - monotonic())

    async def check(self) -> None:
        """Raises `Unauthenticated` and `NotFound` when it is time to look, and there is no welcome any more."""
        if monotonic() >= self._next_check_at:
            self._next_check_at = monotonic() + RECHECK_SECONDS
            await in_db_thread(self._revalidate)

    def _revalidate(self) -> None:
        # Nothing is ever logged for a session that was deleted: raises `NotFound`, lest one listen for ever.
        access_session(actor=self._actor, session_id=self._session_id)
        if not credentials_still_valid(self._request, self._actor):
            raise Unauthenticated(rule="revoked")
