"""Eviction: an owner keeps so many memories of a tier; beyond that the least valuable go. Decay counts here only, never
in a search."""

from __future__ import annotations

from django.conf import settings

from memory.enums import Tier
from memory.writing.erasure import erase_rows
from memory.writing.statements import run

# How often a write looks, and how many an owner may have too many until then.
EVICTION_INTERVAL = 64
EVICTION_BATCH = 1_000

_COUNT = "SELECT count(*) FROM memory_memory WHERE owner_id = %(owner)s AND tier = %(tier)s"
# First what nobody finds any more; then by importance, by how often it was recalled, and by its age since it was last
# of use, which counts half after ten weeks. What somebody confirmed goes last.
_LEAST_VALUABLE = """
SELECT id FROM memory_memory
WHERE owner_id = %(owner)s AND tier = %(tier)s
ORDER BY superseded_by_id IS NULL AND (valid_until IS NULL OR valid_until > now())
         AND (expires_at IS NULL OR expires_at > now()) AND trust > 0,
         trust = 3,
         importance + 0.1 * ln(1 + hits)
             + 0.5 * exp(-extract(epoch FROM now() - greatest(occurred_at, last_hit_at)) / 8640000.0),
         id
LIMIT %(count)s
"""


def tier_limit(tier: Tier) -> int:
    """How many memories of a tier an owner may have."""
    config = settings.BANDSTAND
    return int(config.memory_episodes_per_owner if tier is Tier.EPISODIC else config.memory_facts_per_owner)


def evict_if_due(owner_id: int, tier: Tier, memories: int, *, added: int = 1) -> int:
    """Evict if the owner's count of memories says that a limit may be exceeded; return how many went.

    Called with each write: only one in 64 counts exactly. The caller holds the owner's lock.
    """
    if memories <= tier_limit(tier) or memories % EVICTION_INTERVAL >= added:
        return 0
    return evict(owner_id, tier)


def evict(owner_id: int, tier: Tier, *, batch: int = EVICTION_BATCH) -> int:
    """Evict up to `batch` memories of an owner that are beyond its limit; return how many. What was made of them
    stays."""
    [(count,)] = run(_COUNT, {"owner": owner_id, "tier": tier.value})
    excess = min(int(count) - tier_limit(tier), batch)
    if excess <= 0:
        return 0
    rows = run(_LEAST_VALUABLE, {"owner": owner_id, "tier": tier.value, "count": excess})
    return erase_rows([row[0] for row in rows])
