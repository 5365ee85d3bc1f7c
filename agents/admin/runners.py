"""The processes that run turns."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from agents.models import Runner
from console.admin import ReadOnlyAdmin
from console.formatting import badge
from foundation.clock import now


@admin.register(Runner)
class RunnerAdmin(ReadOnlyAdmin):
    """Runner processes, read-only, with their load and heartbeat."""

    query_budget = 7

    list_display = ("id", "host", "pid", "display_status", "running", "capacity", "started_at", "heartbeat_at")
    list_filter = ("status",)
    ordering = ("-heartbeat_at",)
    search_words = ("host",)
    search_help_text = "The id of a runner, or its host."
    fields = ("host", "pid", "display_status", "capacity", "running", "started_at", "heartbeat_at")

    @admin.display(description="status")
    def display_status(self, runner: Runner) -> SafeString:
        """Its own last report, or "silent" when its heartbeat is overdue."""
        if runner.is_silent(now()):
            return badge("silent", "bad")
        return badge(runner.status, "good" if runner.status == Runner.Status.RUNNING else "")
