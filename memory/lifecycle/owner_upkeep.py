"""Keeps owners in order: counts their memories, and evicts what is beyond their limits."""

from __future__ import annotations

import time

from django.db import connection, transaction

from foundation.batches import work_in_batches
from memory.enums import Tier
from memory.models import MemoryOwner
from memory.writing.eviction import evict, tier_limit
from memory.writing.facts import lock_owner

UPKEEP_SECONDS = 40
COUNT_BATCH = 500

# Writers count, too, but what ends by itself or is erased in a crash is only seen here.
_COUNT = """
WITH counted AS (
    SELECT o.id, (SELECT count(*) FROM memory_memory m WHERE m.owner_id = o.id)::int AS memories
    FROM memory_memoryowner o WHERE o.id > %(after)s ORDER BY o.id LIMIT %(limit)s
), updated AS (
    UPDATE memory_memoryowner o SET memories = c.memories FROM counted c
    WHERE o.id = c.id AND o.memories <> c.memories
)
SELECT max(id), count(*) FROM counted
"""


def count_memories() -> int:
    """Count the memories of every owner anew, for 40 seconds at most; return how many owners were counted."""
    after = 0

    def count_batch(_left: float) -> int:
        nonlocal after
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_COUNT, {"after": after, "limit": COUNT_BATCH})
            last, count = cursor.fetchone()
        after = last or after
        return int(count)

    return work_in_batches(count_batch, seconds=UPKEEP_SECONDS, full=COUNT_BATCH)


def evict_excess() -> int:
    """Evict what owners have beyond their limits, for 40 seconds at most; return how many memories went."""
    tiers = (Tier.EPISODIC, Tier.LONG_TERM)
    smallest = min(tier_limit(tier) for tier in tiers)
    owners = MemoryOwner.objects.filter(memories__gt=smallest).order_by("-memories")
    ends_at = time.monotonic() + UPKEEP_SECONDS
    evicted = 0
    for owner_id in list(owners.values_list("pk", flat=True)[:10_000]):
        for tier in tiers:
            evicted += work_in_batches(
                lambda _, owner_id=owner_id, tier=tier: _evict_batch(owner_id, tier),  # type: ignore[misc]
                seconds=ends_at - time.monotonic(),
            )
    return evicted


@transaction.atomic
def _evict_batch(owner_id: int, tier: Tier) -> int:
    lock_owner(owner_id)
    return evict(owner_id, tier)
