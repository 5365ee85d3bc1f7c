"""Pools: memories that several agents share."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from foundation.names import clean_name
from memory.models import MemoryOwner, MemoryPool
from memory.role_permissions import ADD_POOL, CHANGE_POOL, DELETE_POOL
from memory.writing.erasure import erase_owners

MAX_NAME = 80
MAX_AGENTS = 100


@transaction.atomic
def create_pool(actor: Actor, *, name: str, agents: Sequence[UUID], personal: bool) -> MemoryPool:
    """A new pool. Raises `Forbidden`, `InvalidInput`, and `Conflict` for a name in use."""
    require_permission(actor, ADD_POOL)
    pool = MemoryPool(name=_check_name(name), agents=_check_agents(agents), personal=personal)
    _refuse_used(pool)
    pool.save()
    record_audit(actor, "memory_pool.created", target=pool, detail=_detail(pool))
    return pool


@transaction.atomic
def change_pool(
    actor: Actor, pool_id: UUID, *, name: str, agents: Sequence[UUID], expected_version: int | None
) -> MemoryPool:
    """Rename a pool, or give it to other agents. Whether it is personal stays: its memories were written on that
    promise.

    Raises `Forbidden`, `NotFound`, `InvalidInput`, `Conflict` for a name in use, and `PreconditionFailed`.
    """
    require_permission(actor, CHANGE_POOL)
    pool = MemoryPool.objects.select_for_update(no_key=True).filter(pk=pool_id).first()
    if pool is None:
        raise NotFound("There is no such pool.")
    if expected_version is not None and pool.version != expected_version:
        raise PreconditionFailed
    pool.name, pool.agents = _check_name(name), _check_agents(agents)
    pool.version += 1
    _refuse_used(pool)
    pool.save()
    record_audit(actor, "memory_pool.changed", target=pool, detail=_detail(pool))
    return pool


@transaction.atomic
def delete_pool(actor: Actor, pool_id: UUID) -> int:
    """Delete a pool with all its memories; return how many. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, DELETE_POOL)
    pool = MemoryPool.objects.select_for_update().filter(pk=pool_id).first()
    if pool is None:
        raise NotFound("There is no such pool.")
    gone = erase_owners(MemoryOwner.objects.filter(pool=pool).values_list("pk", flat=True))
    record_audit(actor, "memory_pool.deleted", target=pool, detail={"memories": gone})
    pool.delete()
    return gone


def _check_name(name: str) -> str:
    cleaned = clean_name(name)
    if not cleaned or len(cleaned) > MAX_NAME:
        raise InvalidInput(f"From 1 to {MAX_NAME} characters are expected.", pointer="/name")
    return cleaned


def _check_agents(agents: Sequence[UUID]) -> list[UUID]:
    if len(set(agents)) > MAX_AGENTS:
        raise InvalidInput(f"At most {MAX_AGENTS} agents are expected.", pointer="/agents")
    return sorted(set(agents))


def _refuse_used(pool: MemoryPool) -> None:
    if MemoryPool.objects.filter(name=pool.name).exclude(pk=pool.pk).exists():
        raise Conflict("Another pool has this name.")


def _detail(pool: MemoryPool) -> dict[str, object]:
    return {"agents": [str(agent) for agent in pool.agents], "personal": pool.personal}
