"""The processes that run turns."""

from __future__ import annotations

from django.contrib import admin

from agents.admin.readonly import ReadOnlyAdmin
from agents.models import Runner


@admin.register(Runner)
class RunnerAdmin(ReadOnlyAdmin):
    query_budget = 7

    list_display = ("id", "host", "pid", "status", "running", "capacity", "started_at", "heartbeat_at")
    list_filter = ("status",)
    ordering = ("-heartbeat_at",)
    search_words = ("host",)
    search_help_text = "The id of a runner, or its host."
