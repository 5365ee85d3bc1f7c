"""The app `memory`: its scheduled jobs, and what it registers with the platform."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """Registers roles and audit targets when Django is ready."""

    name = "memory"
    verbose_name = "Memory"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from memory import role_permissions

        role_permissions.declare()
        register_audit_targets(AuditTarget("memory", "memory"), AuditTarget("memoryowner", "memories"))
