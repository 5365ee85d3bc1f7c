"""Releases: what was published, for ever."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from agents.admin.publishing import roll_back_page
from agents.domain.config_diff import bounds
from agents.models import Release
from agents.permissions.role_permissions import PUBLISH_AGENT
from console.admin import ReadOnlyAdmin
from console.widgets import action


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_display = ("__str__", "is_live", "note", "published_by", "published_at")
    list_select_related = ("agent__live_release", "published_by")
    list_filter = ("agent",)
    search_help_text = "The id of a release."
    fields = (
        "agent",
        "number",
        "is_live",
        "note",
        "published_by",
        "published_at",
        "routes",
        "words",
        "tool_names",
        "bounds_of_a_turn",
        "history",
        "id",
    )
    actions_detail = ("roll_back",)

    @admin.display(description="live", boolean=True)
    def is_live(self, release: Release) -> bool:
        return release.agent.live_release_id == release.pk

    @admin.display(description="models, in order")
    def routes(self, release: Release) -> str:
        return ", ".join(str(route) for route in release.model_chain)

    @admin.display(description="instructions")
    def words(self, release: Release) -> str:
        """With its lines; the field itself would be shown as one."""
        return release.instructions

    @admin.display(description="tools")
    def tool_names(self, release: Release) -> str:
        return ", ".join(str(name) for name in release.tools) or "none"

    @admin.display(description="limits of a turn")
    def bounds_of_a_turn(self, release: Release) -> str:
        return "\n".join(bounds("limits", release.limits))

    @admin.display(description="history that the model sees")
    def history(self, release: Release) -> str:
        return "\n".join(bounds("context_policy", release.context_policy))

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(PUBLISH_AGENT)

    @action(description="Roll back to this", permissions=["publish"], url_path="roll-back", icon="undo")
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        release = self.get_object(request, object_id)
        if release is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
            return missing
        return roll_back_page(request, self, release)
