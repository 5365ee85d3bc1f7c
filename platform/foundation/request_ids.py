"""The id of the request that is being answered, wherever in its call it is asked for."""

from __future__ import annotations

from contextvars import ContextVar, Token
from uuid import UUID

_current: ContextVar[UUID | None] = ContextVar("request_id", default=None)


def current_request_id() -> UUID | None:
    """The request's id (it is answered in `X-Request-Id`), or None outside of a request."""
    return _current.get()


def bind_request_id(request_id: UUID) -> Token[UUID | None]:
    """For the outermost layer: name the request of this context. Give the token to :func:`unbind_request_id`."""
    return _current.set(request_id)


def unbind_request_id(token: Token[UUID | None]) -> None:
    """End what :func:`bind_request_id` began."""
    _current.reset(token)
