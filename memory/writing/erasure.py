"""Erasure: a memory goes with its text, its keys, its older values and all that was made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor, Scope
from accounts.audit import record_audit
from foundation.batches import work_in_batches
from foundation.errors import PreconditionFailed, Unauthenticated
from memory.models import MemoryBody, MemoryOwner, WorkingItem
from memory.writing.access import access_memory, is_own
from memory.writing.statements import CLOSURE, DERIVED, ERASE, LOCK_OWNERS, run

# Of one statement; a long conversation takes several.
ERASE_BATCH = 1_000
# Of one request that erases all that is remembered of a user.
FORGET_SECONDS = 4.0


@transaction.atomic
def forget_memory(actor: Actor, memory_id: UUID, *, expected_version: int | None = None) -> int:
    """Erase a memory, its older values and what was made of them; return how many memories went. `expected_version`
    None skips the check. Raises `NotFound`, and `PreconditionFailed` when the version is another one."""
    lock_owners([memory_id])
    memory = access_memory(actor, memory_id, lock=True)
    if expected_version is not None and memory.version != expected_version:
        raise PreconditionFailed
    if not is_own(actor, memory.owner):
        record_audit(actor, "memory.forgotten", target=memory)
    return erase([memory_id], versions=True)


def forget_own_memories(actor: Actor, *, seconds: float = FORGET_SECONDS) -> tuple[int, bool]:
    """Erase everything that is remembered of the actor's user, for `seconds` at most; return how many memories went,
    and whether some remain. Each batch is a transaction of its own. Raises `Unauthenticated`, `Forbidden`."""
    actor.require_scope(Scope.CHAT)
    if actor.user_id is None:
        raise Unauthenticated
    rows = MemoryBody.objects.filter(owner__user=actor.user_id).order_by("pk").values_list("pk", flat=True)

    def erase_batch(_left: float) -> int:
        with transaction.atomic():
            return erase(list(rows[:ERASE_BATCH]))

    gone = work_in_batches(erase_batch, seconds=seconds)
    if more := rows.exists():
        return gone, more
    WorkingItem.objects.filter(owner__user=actor.user_id).delete()
    return gone, False


def lock_owners(memory_ids: Sequence[UUID]) -> None:
    """Lock the owners of these memories, as all do that write for them."""
    run(LOCK_OWNERS, {"ids": list(memory_ids)})


def erase(memory_ids: Sequence[UUID], *, versions: bool = False) -> int:
    """Erase memories and what was made of them, with `versions` also what they superseded; return how many went. For
    callers in a transaction."""
    return erase_rows([row[0] for row in run(CLOSURE, {"ids": list(memory_ids), "versions": versions})])


def erase_derived(memory_ids: Sequence[UUID]) -> int:
    """Erase what was made of these memories, directly or not, but for themselves; return how many went."""
    return erase_rows([row[0] for row in run(DERIVED, {"ids": list(memory_ids)}) if row[0] not in memory_ids])


def erase_rows(memory_ids: Sequence[UUID]) -> int:
    """Erase exactly these memories, which the caller has not locked without their owners; return how many there
    were."""
    lock_owners(memory_ids)
    batches = (memory_ids[start : start + ERASE_BATCH] for start in range(0, len(memory_ids), ERASE_BATCH))
    return sum(len(run(ERASE, {"ids": list(batch)})) for batch in batches)


@transaction.atomic
def forget_agent(agent_id: UUID) -> int:
    """Erase everything that an agent remembers, of every user; return how many memories went. For whoever deletes an
    agent, in its transaction."""
    return erase_owners(MemoryOwner.objects.filter(agent=agent_id).values_list("pk", flat=True))


@transaction.atomic
def forget_users(user_ids: Sequence[int]) -> int:
    """Erase everything that is remembered of users; return how many memories went. For whoever deletes them, in its
    transaction."""
    return erase_owners(MemoryOwner.objects.filter(user__in=user_ids).values_list("pk", flat=True))


def erase_owners(owners: Iterable[int]) -> int:
    """Erase owners with all their memories; return how many memories went. For callers in a transaction."""
    owner_ids = list(owners)
    if not owner_ids:
        return 0
    gone = 0
    rows = MemoryBody.objects.filter(owner__in=owner_ids).order_by("pk")
    while ids := list(rows.values_list("pk", flat=True)[:ERASE_BATCH]):
        gone += erase(ids)
    WorkingItem.objects.filter(owner__in=owner_ids).delete()
    MemoryOwner.objects.filter(pk__in=owner_ids).delete()
    return gone
