"""The app `memory`: its scheduled jobs, and what it registers with the platform."""

from django.apps import AppConfig
from django.urls import reverse

from foundation.job_registry import Job, register


def _memories_address(_owner_id: str) -> str:
    return reverse("admin:memory_memory_changelist")


JOBS = (
    Job(
        "embed memories",
        "memory.lifecycle.embed_pending.embed_pending",
        "Makes the vectors that memories do not have yet, or have of another model than BANDSTAND_EMBEDDINGS says.",
        "vectors made",
        every_minutes=1,
    ),
    Job(
        "count memory words",
        "memory.recall.large_owners.count_due_lexemes",
        "Counts how rare each word is among the memories of those who have over 2,000: searches weigh words by it.",
        "owners counted",
        every_minutes=10,
    ),
    Job(
        "index memory vectors",
        "memory.recall.large_owners.sync_vector_indexes",
        "Builds an index of their own for the vectors of the 50 who have most memories, above 20,000, and drops it "
        "when they have fewer. Searches and writes go on meanwhile.",
        "indexes built and dropped",
        every_minutes=30,
    ),
    Job(
        "erase expired memories",
        "memory.lifecycle.expiry.sweep_expired",
        "Frees the space of memories that have expired. They are not recalled from that moment on in any case.",
        "memories erased",
        every_minutes=10,
    ),
    Job(
        "evict memories over limits",
        "memory.lifecycle.owner_upkeep.evict_excess",
        "Erases the least valuable memories of users who have more than BANDSTAND_MEMORY_…_PER_OWNER allow.",
        "memories erased",
        every_minutes=30,
    ),
    Job(
        "find duplicate memories",
        "memory.lifecycle.consolidation.consolidate",
        "Merges facts that say the same, and notes similar ones for review.",
        "facts merged or noted",
        every_minutes=15,
    ),
    Job(
        "count memories",
        "memory.lifecycle.owner_upkeep.count_memories",
        "Counts the memories of every owner, on which limits and the way of searching depend.",
        "owners counted",
        cron="40 3 * * *",
    ),
)


class MemoryConfig(AppConfig):
    """Registers roles, checks, audit targets and jobs when Django is ready."""

    name = "memory"
    verbose_name = "Memory"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from health_checks.registry import registry
        from memory import role_permissions
        from memory.embeddings import health_checks

        role_permissions.declare()
        registry.register(*health_checks.CHECKS)
        register_audit_targets(
            AuditTarget("memory", "memory", "admin:memory_memory_change"),
            AuditTarget("memoryowner", "memories", address=_memories_address),
            AuditTarget("memorypool", "memory pool", "admin:memory_memorypool_change"),
        )
        for job in JOBS:
            register(job)
