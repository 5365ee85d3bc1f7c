"""Releases: what was published, for ever."""

from __future__ import annotations

from django.contrib import admin

from agents.admin.readonly import ReadOnlyAdmin
from agents.models import Release


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_display = ("id", "agent", "number", "note", "published_by", "published_at")
    list_select_related = ("agent", "published_by")
    list_filter = ("agent",)
    search_help_text = "The id of a release."
