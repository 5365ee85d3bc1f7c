from django.apps import AppConfig


class BandstandConfig(AppConfig):
    name = "bandstand"
    verbose_name = "Bandstand"

    def ready(self) -> None:
        from django.conf import settings

        from bandstand import checks, sentry  # noqa: F401  # the checks register themselves
        from foundation.stop_iteration import guard_sync_to_async

        guard_sync_to_async()
        sentry.start(settings.BANDSTAND)
