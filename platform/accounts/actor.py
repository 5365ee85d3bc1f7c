"""Who acts. Every verb takes an actor; a missing one cannot be built."""

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
        """Work that nobody asked for: the reaper, a migration, a scheduled task."""
        return cls(name=f"system:{name}", user_id=None, scopes=ALL_SCOPES)

    @classmethod
    def user(
        cls, *, user_id: int, name: str, scopes: frozenset[Scope] = ALL_SCOPES, key_id: UUID | None = None
    ) -> Actor:
        return cls(name=name, user_id=user_id, scopes=scopes, key_id=key_id)

    @property
    def principal(self) -> str:
        """The namespace of this actor's idempotency keys and limits."""
        return f"user:{self.user_id}" if self.user_id is not None else self.name

    def require_scope(self, scope: Scope) -> None:
        """Raise `Forbidden` unless the actor has `scope`."""
        if scope not in self.scopes:
            raise Forbidden(f"This key lacks the scope {scope.value!r}.")
