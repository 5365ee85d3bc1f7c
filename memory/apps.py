"""The app `memory`: what it registers with the platform."""

from django.apps import AppConfig

from foundation.job_registry import Job, register

JOBS = (
    Job(
        "embed memories",
        "memory.lifecycle.embed_pending.embed_pending",
        "Makes the vectors that memories do not have yet, or have of another model than BANDSTAND_EMBEDDINGS says.",
        "vectors made",
        every_minutes=1,
    ),
)


class MemoryConfig(AppConfig):
    name = "memory"
    verbose_name = "Memory"

    def ready(self) -> None:
        from health_checks.registry import registry
        from memory.embeddings import health_checks

        registry.register(*health_checks.CHECKS)
        for job in JOBS:
            register(job)
