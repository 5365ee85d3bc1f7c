from django.apps import AppConfig


class BandstandConfig(AppConfig):
    name = "bandstand"
    verbose_name = "Bandstand"

    def ready(self) -> None:
        from django.conf import settings

        from bandstand import sentry, system_checks  # noqa: F401  # the checks register themselves

        sentry.start(settings.BANDSTAND)
