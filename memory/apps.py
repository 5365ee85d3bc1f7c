"""The app `memory`: what it registers with the platform."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    name = "memory"
    verbose_name = "Memory"

    def ready(self) -> None:
        from health_checks.registry import registry
        from memory.embeddings import health_checks

        registry.register(*health_checks.CHECKS)
