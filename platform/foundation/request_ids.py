"""The id of the current request, as a context variable."""

from __future__ import annotations

from contextvars import ContextVar, Token
from uuid import UUID

_current: ContextVar[UUID | None] = ContextVar("request_id", default=None)


def current_request_id() -> UUID | None:
    """The id of the current request (`X-Request-Id` of its response), or None outside of a request."""
    return _current.get()


def bind_request_id(request_id: UUID) -> Token[UUID | None]:
    """Set the id of the request of this context; return the token for :func:`unbind_request_id`."""
    return _current.set(request_id)


def unbind_request_id(token: Token[UUID | None]) -> None:
    """Undo :func:`bind_request_id`."""
    _current.reset(token)
