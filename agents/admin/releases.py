"""Releases: the published configurations, read-only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from agents.admin.publishing import roll_back_page
from agents.admin.ratings import rating_summary
from agents.admin.stored_configurations import UnreadableConfiguration, read_configuration
from agents.domain.configuration import SETTINGS, AgentConfiguration, Setting
from agents.models import Release
from agents.permissions.role_permissions import PUBLISH_AGENT, VIEW_RATINGS
from agents.sessions.rating_counts import RatingCounts, count_ratings
from console.admin import ReadOnlyAdmin
from console.widgets import action


def _display(name: str, setting: Setting) -> Callable[[Release], str]:
    """A display function for one setting of a release."""

    @admin.display(description=setting.label)
    def display(release: Release) -> str:
        return setting.text(getattr(AgentConfiguration.parse(release.configuration), name))

    display.__name__ = name
    return display


_SETTINGS: Final = tuple(_display(name, setting) for name, setting in SETTINGS.items())


@admin.display(description="Configuration")
def _stored(release: Release) -> str:
    """The note in place of the settings of a release that cannot be read."""
    return render_to_string("console/unreadable.html", {"unreadable": [read_configuration(release)]})


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    """Releases, read-only, with a button to roll back."""

    query_budget = 8

    list_display = ("__str__", "is_live", "note", "published_by", "published_at")
    list_select_related = ("agent__live_release", "published_by")
    list_filter = ("agent",)
    search_help_text = "The id of a release."
    actions_detail = ("roll_back",)

    def get_fields(self, request: HttpRequest, obj: Release | None = None) -> Any:
        unreadable = obj is not None and isinstance(read_configuration(obj), UnreadableConfiguration)
        settings = (_stored,) if unreadable else _SETTINGS
        fields = ("agent", "number", "is_live", "note", "published_by", "published_at")
        return (*fields, *(("ratings",) if request.user.has_perm(VIEW_RATINGS) else ()), *settings, "id")

    @admin.display(description="ratings")
    def ratings(self, release: Release) -> str:
        return rating_summary(count_ratings([release.pk]).get(release.pk, RatingCounts()), release=release.pk)

    @admin.display(description="live", boolean=True)
    def is_live(self, release: Release) -> bool:
        return release.agent.live_release_id == release.pk

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(PUBLISH_AGENT)

    @action(description="Roll back to this", permissions=["publish"], url_path="roll-back", icon="undo")
    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        release = self.get_object(request, object_id)
        if release is None:
            return self.redirect_missing(request, object_id)
        return roll_back_page(request, self, release)
