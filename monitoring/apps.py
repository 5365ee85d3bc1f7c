from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from accounts.audit import AuditTarget, register_audit_targets
        from console.navigation import Entry, register_entries
        from health_checks.registry import registry
        from monitoring import health_checks, role_permissions

        role_permissions.declare()
        register_audit_targets(AuditTarget("debugmode", "debug mode", "admin:monitoring_debugmode_change"))
        register_entries(Entry("Operations", 6, "Debug mode", "monitoring.debugmode", "manage_search"))
        registry.register(*health_checks.CHECKS)
