"""The door to memories: whose they are, and who may change those of others."""

from __future__ import annotations

from uuid import UUID

from accounts.actor import Actor, Scope
from accounts.permissions import has_permission, require_permission
from foundation.errors import NotFound, Unauthenticated
from memory.models import Memory, MemoryOwner
from memory.ownership import OwnerKey
from memory.role_permissions import REVIEW_MEMORY


def access_memory(actor: Actor, memory_id: UUID, *, lock: bool = False) -> Memory:
    """A memory of the actor, or any for those who may review memories, with its owner and body.

    `lock` holds its row until the end of the transaction. Raises `NotFound`, also for those of others, and
    `Unauthenticated`.
    """
    rows = Memory.objects.select_related("owner", "body")
    if lock:
        rows = rows.select_for_update(of=("self",), no_key=True)
    memory = rows.filter(pk=memory_id).first()
    if memory is None or not (is_own(actor, memory.owner) or has_permission(actor, REVIEW_MEMORY)):
        raise NotFound("There is no such memory.")
    return memory


def is_own(actor: Actor, owner: MemoryOwner) -> bool:
    """Whether these are memories of the actor's user. Raises `Forbidden` when they are and the actor may not chat."""
    if actor.user_id is None or owner.user_id != actor.user_id:
        return False
    actor.require_scope(Scope.CHAT)
    return True


def require_owner_access(actor: Actor, key: OwnerKey) -> None:
    """Raise unless the actor may write memories for `key`: the system may, users for themselves, and those who may
    review memories for everybody. Raises `Unauthenticated`, `Forbidden`."""
    if actor.user_id is not None and key.user_id == actor.user_id:
        actor.require_scope(Scope.CHAT)
        return
    if actor.user_id is None and not actor.name.startswith("system:"):
        raise Unauthenticated
    require_permission(actor, REVIEW_MEMORY)
