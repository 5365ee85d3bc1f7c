"""Purge: erase everything that came from one source, and let hold again what it had superseded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.batches import work_in_batches
from foundation.errors import InvalidInput
from memory.enums import MemorySource, Trust
from memory.models import MemoryBody, MemoryOwner
from memory.role_permissions import REVIEW_MEMORY
from memory.writing.erasure import erase, lock_owners
from memory.writing.review import distrust_locked

PURGE_BATCH = 200
# Of one call; the rest is for the next one.
PURGE_SECONDS = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeFilter:
    """What to purge: memories to which all of this applies. A source, an origin, or one of the rows that a memory comes
    from must be named."""

    origin: str = ""
    source: MemorySource | None = None
    session: UUID | None = None
    turn: UUID | None = None
    agent: UUID | None = None
    user_id: int | None = None
    owner_id: int | None = None

    def conditions(self) -> dict[str, Any]:
        """As keyword arguments of a filter of `MemoryBody`. Raises `InvalidInput` when nothing is named."""
        columns = {
            "origin": self.origin or None,
            "source": self.source.value if self.source else None,
            "session": self.session,
            "turn": self.turn,
            "agent": self.agent,
            "owner__user_id": self.user_id,
            "owner_id": self.owner_id,
        }
        conditions = {name: value for name, value in columns.items() if value is not None}
        if not conditions.keys() & {"origin", "source", "session", "turn"}:
            raise InvalidInput("Name an origin, a source, a session or a turn.", pointer="/filter")
        return conditions


def purge_memories(actor: Actor, which: PurgeFilter, *, seconds: float = PURGE_SECONDS) -> int:
    """Erase memories by where they come from, with what was made of them, for `seconds` at most; return how many went.
    Call it again until it returns 0.

    Each batch is a transaction of its own. Raises `Forbidden` and `InvalidInput`.
    """
    require_permission(actor, REVIEW_MEMORY)
    conditions = which.conditions()
    # The trail names a row: the owner of the first of them.
    owner = MemoryOwner.objects.filter(pk__in=MemoryBody.objects.filter(**conditions).values("owner")[:1]).first()
    gone = work_in_batches(lambda _: _purge_batch(conditions), seconds=seconds)
    if gone and owner is not None:
        detail = {name: str(value) for name, value in asdict(which).items() if value}
        record_audit(actor, "memory.purged", target=owner, detail={**detail, "memories": gone})
    return gone


@transaction.atomic
def _purge_batch(conditions: dict[str, Any]) -> int:
    ids = list(MemoryBody.objects.filter(**conditions).order_by("pk").values_list("pk", flat=True)[:PURGE_BATCH])
    if not ids:
        return 0
    lock_owners(ids)
    distrust_locked(ids, Trust.REJECTED)
    return erase(ids)
