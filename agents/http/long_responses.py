"""Responses that last: event streams, and requests that wait for an answer. Each has a slot, and its reader's rights
are watched."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import UUID

from django.http import HttpRequest

from accounts.actor import Actor
from agents.http.connection_slots import get_slots
from agents.http.credentials import request_credential
from agents.http.revocation import Revocation, get_revocation_watch
from foundation.errors import BandstandError, NotFound, Unauthenticated
from rest.request_turns import leave_turn


class LongResponse:
    """One long response to a request. `end` frees its slot, on every way out; also at the end of a `with` block.

    First `acquire_slot`, in a database thread and before anything is written; then `watch`.
    """

    def __init__(self, request: HttpRequest, actor: Actor) -> None:
        """Raises `Unauthenticated`."""
        self._request = request
        self.credential = request_credential(request, actor)
        self._slot = get_slots().lease(actor)
        self._session_id: UUID | None = None
        self._on_revoked: Callable[[], None] | None = None
        self._error: BandstandError | None = None

    @property
    def session_id(self) -> UUID:
        """The session that is read. Set by `watch`."""
        assert self._session_id is not None
        return self._session_id

    def acquire_slot(self) -> None:
        """Acquire a slot, in a database thread. Raises `TooManyConnections`."""
        self._slot.acquire()
        leave_turn(self._request)

    def watch(self, session_id: UUID, on_revoked: Callable[[], None]) -> None:
        """Have the reader's rights checked until the end. `on_revoked` is called on the event loop when they are lost;
        `check` raises from then on."""
        self._session_id, self._on_revoked = session_id, on_revoked
        get_revocation_watch().add(self)

    def revoke(self, reason: Revocation) -> None:
        self._error = NotFound() if reason is Revocation.SESSION else Unauthenticated(rule="revoked")
        if self._on_revoked is not None:
            self._on_revoked()

    def check(self) -> None:
        """Raise `Unauthenticated` if the credentials are no longer valid, and `NotFound` for a session out of reach."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Stop watching and free the slot. Returns at once; safe to call twice. Call it on the event loop."""
        self._on_revoked = None
        if self._session_id is not None:
            get_revocation_watch().discard(self)
        self._slot.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()
