"""The actor: the user or system task on whose behalf a service function runs. Every such function requires one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from foundation.errors import Forbidden


class Scope(StrEnum):
    CHAT = "chat"
    READ = "read"
    MANAGE = "manage"


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Actor:
    """A user behind a browser login or an API key, or the system itself (`user_id` None)."""

    name: str
    user_id: int | None
    scopes: frozenset[Scope]
    key_id: UUID | None = None

    @classmethod
    def system(cls, name: str) -> Actor:
        """An actor for work that no user started: the reaper, a migration, a scheduled task. It has every scope."""
        return cls(name=f"system:{name}", user_id=None, scopes=ALL_SCOPES)

    @classmethod
    def user(
        cls, *, user_id: int, name: str, scopes: frozenset[Scope] = ALL_SCOPES, key_id: UUID | None = None
    ) -> Actor:
        """An actor for the user `user_id`; `key_id` names the API key that the request came with, if any."""
        return cls(name=name, user_id=user_id, scopes=scopes, key_id=key_id)

    @property
    def principal(self) -> str:
        """The namespace of this actor's idempotency keys and rate limits: `user:<id>`, or the name of a system task."""
        return f"user:{self.user_id}" if self.user_id is not None else self.name

    def require_scope(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the actor has `scope`."""
        if scope not in self.scopes:
            raise Forbidden(f"This key lacks the scope {scope.value!r}.")
