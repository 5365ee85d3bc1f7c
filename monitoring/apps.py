from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
    verbose_name = "Monitoring"

    def ready(self) -> None:
        from checks.registry import registry
        from monitoring import checks

        registry.register(*checks.CHECKS)
