"""What a process loads when it starts: each of them pays for it."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from tests.support.surroundings import ROOT, environment

PROGRAM = "import django, sys; django.setup(); print(*filter(sys.modules.get, sys.modules))"


@cache
def loaded(role: str, **settings: str) -> set[str]:
    """The modules of a process of this role once Django is set up."""
    told = environment(DJANGO_SETTINGS_MODULE="bandstand.settings", BANDSTAND_ROLE=role, **settings)
    command = [sys.executable, "-c", PROGRAM]
    return set(subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=True).stdout.split())


def test_a_runner_loads_neither_the_console_nor_what_reports_errors() -> None:
    assert {"agents.admin", "unfold.admin", "rest_framework.serializers", "sentry_sdk"} & loaded("runner") == set()


def test_nothing_is_loaded_that_only_the_tests_packages_need() -> None:
    assert {"pygments", "requests", "rich"} & loaded("web") == set()


def test_what_sends_notifications_is_loaded_when_there_is_one() -> None:
    modules = loaded("runner")
    assert "monitoring.notifications.notifier" in modules
    assert {"aiohttp", "cryptography.fernet", "monitoring.notifications.delivery", "smtplib"} & modules == set()
    assert {"aiohttp", "cryptography.fernet", "monitoring.notifications.delivery"} & loaded("web") == set()


def test_only_who_computes_vectors_or_values_of_metrics_loads_numpy() -> None:
    assert "numpy" not in loaded("runner") | loaded("web")


def test_a_web_process_has_the_console() -> None:
    assert {"agents.admin", "scheduling.admin"} <= loaded("web")


def test_only_who_runs_jobs_loads_what_they_need() -> None:
    assert {"accounts.tasks", "agents.tasks", "rest.tasks", "scheduling.tasks"} & loaded("web") == set()


def test_error_reports_take_along_no_library_that_is_only_installed() -> None:
    modules = loaded("runner", SENTRY_DSN="https://public@sentry.invalid/1")
    assert {"sentry_sdk.integrations.django", "sentry_sdk.integrations.aiohttp"} <= modules
    assert {"anthropic", "boto3", "google.genai", "httpx", "openai", "pydantic_ai"} & modules == set()
