from django.apps import AppConfig


class ConsoleKitConfig(AppConfig):
    name = "console"
    verbose_name = "Console"
