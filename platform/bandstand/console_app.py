"""The app that stands for `django.contrib.admin` in INSTALLED_APPS. Apart from its site: apps load before models."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings
from django.contrib.admin.apps import SimpleAdminConfig

# No discovery: the stock admin of django-q2 would let anybody with `add_schedule` run any function.
_ROOMS = ("accounts.admin", "scheduling.admin", "agents.admin")


class ConsoleConfig(SimpleAdminConfig):
    default_site = "bandstand.console_site.ConsoleSite"

    def ready(self) -> None:
        super().ready()
        if settings.BANDSTAND.role == "runner":
            return  # nobody opens a page there; the console, its look and the REST framework are a fifth of a start
        for room in _ROOMS:
            import_module(room)
