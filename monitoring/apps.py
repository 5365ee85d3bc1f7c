from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from console.navigation import Entry, register_entries
        from health_checks.registry import registry
        from monitoring import health_checks

        registry.register(*health_checks.CHECKS)
        register_entries(Entry("Operations", 0, "Patterns", "agents.turn", "insights", view="admin:patterns"))
