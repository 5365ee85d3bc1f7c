"""Agents, the draft that builders edit, and the button that publishes it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from agents.access.permissions import actor_of
from agents.access.roles import PUBLISH_AGENT
from agents.admin.look import StackedInline
from agents.admin.readonly import ConsoleAdmin
from agents.admin.versions import VersionedForm
from agents.models import Agent, AgentDraft
from agents.releases import publish
from agents.releases.known import tool_names
from agents.rules.limits import validate_configuration
from foundation.errors import BandstandError, InvalidInput

_CONFIGURATION = ("model_chain", "instructions", "tools", "limits", "context_policy")


class DraftForm(VersionedForm):
    class Meta:
        model = AgentDraft
        fields = (*_CONFIGURATION, "version")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if all(field in cleaned for field in _CONFIGURATION):
            values = {field: cleaned[field] for field in _CONFIGURATION}
            try:
                validate_configuration(**values, known_tools=tool_names())
            except InvalidInput as error:
                field = (error.pointer or "").split("/")[1:2]
                raise forms.ValidationError({field[0]: error.detail} if field else error.detail) from None
        return cleaned


class DraftInline(StackedInline):  # type: ignore[type-arg]
    model = AgentDraft
    form = DraftForm
    can_delete = False
    min_num = max_num = 1
    verbose_name_plural = "draft"


class AgentForm(VersionedForm):
    class Meta:
        model = Agent
        fields = ("slug", "name", "description", "capabilities", "groups", "when_busy", "archived_at", "version")

    def clean_capabilities(self) -> list[str]:
        words: Any = self.cleaned_data["capabilities"] or []
        if not isinstance(words, list) or not all(isinstance(word, str) and len(word) <= 100 for word in words):
            raise forms.ValidationError("A list of words is expected.")
        return words


@admin.register(Agent)
class AgentAdmin(ConsoleAdmin):
    query_budget = 7

    form = AgentForm
    inlines = (DraftInline,)
    list_display = ("slug", "name", "live_release_number", "when_busy", "created_at", "archived_at")
    list_select_related = ("live_release",)
    list_filter = ("when_busy", ("archived_at", admin.EmptyFieldListFilter))
    ordering = ("slug",)
    search_fields = ("slug", "name")
    readonly_fields = ("live_release_number", "created_at")
    fields = (
        "slug",
        "name",
        "description",
        "capabilities",
        "groups",
        "when_busy",
        "archived_at",
        "live_release_number",
        "created_at",
        "version",
    )
    filter_horizontal = ("groups",)
    actions = ("publish_drafts",)

    @admin.display(description="live release")
    def live_release_number(self, agent: Agent) -> int | None:
        return agent.live_release.number if agent.live_release else None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Agents are archived: their sessions stay readable."""
        return False

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PUBLISH_AGENT)

    @admin.action(description="Publish the drafts of selected agents", permissions=["publish"])
    def publish_drafts(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        actor = actor_of(request.user)
        for agent in queryset.select_related("draft"):
            draft = getattr(agent, "draft", None)
            try:
                release = publish(actor, agent_id=agent.pk, expected_version=draft.version if draft else 0)
            except BandstandError as error:
                where = f" ({error.pointer})" if error.pointer else ""
                messages.error(request, f"{agent}: {error.detail}{where}")
            else:
                messages.success(request, f"{release} is live for new sessions.")
