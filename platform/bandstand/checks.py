"""Additional Django system checks; part of `manage.py check`."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def check_scheduler(app_configs: Sequence[AppConfig] | None, **_kwargs: Any) -> list[CheckMessage]:  # noqa: ARG001
    """Check the settings that keep a maintenance task from being started twice."""
    cluster = settings.Q_CLUSTER
    rules = {
        "retry: at least timeout + 60": cluster["retry"] >= cluster["timeout"] + 60,
        "max_attempts: 1": cluster["max_attempts"] == 1,
        "ack_failures: True": cluster["ack_failures"] is True,
        "catch_up: False": cluster["catch_up"] is False,
        "orm: default": cluster["orm"] == "default",
    }
    return [Error(f"Q_CLUSTER {rule}", id="bandstand.E001") for rule, satisfied in rules.items() if not satisfied]
