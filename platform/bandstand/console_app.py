"""Replaces `django.contrib.admin` in INSTALLED_APPS. In a module of its own, because apps load before models."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.contrib.admin.apps import SimpleAdminConfig

# No discovery: the stock admin of django-q2 would let anybody with `add_schedule` run any function.
_ADMIN_MODULES = ("accounts.admin", "scheduling.admin", "agents.admin", "monitoring.admin")


class ConsoleConfig(SimpleAdminConfig):
    default_site = "bandstand.console_site.ConsoleSite"

    def ready(self) -> None:
        super().ready()
        if settings.BANDSTAND.role == "runner":
            return  # it serves no pages, and the console's modules take a fifth of its start
        for module in _ADMIN_MODULES:
            import_module(module)
