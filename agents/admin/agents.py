"""Agents: their names and groups, and the buttons to their draft and releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.admin.candidate_talk import talk_page
from agents.admin.draft_page import draft_page
from agents.admin.publishing import publish_page
from agents.admin.ratings import rating_summary
from agents.admin.release_diff import compare_page
from agents.admin.stored_configurations import ReleaseComparison, compare_stored
from agents.models import Agent, AgentDraft, Release
from agents.permissions.role_permissions import CHANGE_AGENT, PUBLISH_AGENT, VIEW_RATINGS
from agents.releases import archive_agent, change_agent, create_agent, restore_agent
from agents.sessions.rating_counts import RatingCounts, count_ratings
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page
from console.views import row_url
from console.widgets import CheckboxSelectMultiple, Textarea, TextInput, action

# The page shows the newest of an agent's releases; their list holds the rest.
RELEASES = 10


class CommaSeparatedField(forms.CharField):
    """A list of short texts, separated by commas."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(item) for item in value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        items = [item.strip() for item in super().clean(value).split(",")]
        if any(len(item) > 100 for item in items):
            raise forms.ValidationError("A word has at most 100 characters.")
        return [item for item in items if item]


class AgentForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    """The form of an agent's name, groups and behaviour; its configuration is in the draft."""

    capabilities = CommaSeparatedField(
        required=False,
        max_length=2_000,
        widget=TextInput,
        help_text="Words that say what it can do, separated by commas.",
    )

    class Meta:
        model = Agent
        fields = ("name", "slug", "description", "capabilities", "groups", "when_busy", "moves_sessions")
        widgets = {"description": Textarea({"rows": 3})}
        labels = {
            "slug": "Short name",
            "groups": "Who may talk to it",
            "when_busy": "A second message",
            "moves_sessions": "Conversations follow the live release",
        }
        help_texts = {
            "name": "What people read above the chat.",
            "slug": "What programs call it: letters, digits and hyphens. When it changes, they no longer find it. "
            "Names that begin with sample- are those of the demo.",
            "groups": "Nothing ticked: everybody who may chat.",
            "when_busy": "What happens to it while the first one is being answered.",
            "moves_sessions": "With its next message a conversation goes to the release that is live then. Otherwise "
            "it stays on the one that it began with. While a deployment is open every conversation stays.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "groups" not in self.fields:  # it is only read
            return
        # Roles say what people may do in the console; who talks to an agent is a matter of the other groups.
        groups: Any = self.fields["groups"]
        groups.queryset = Group.objects.exclude(name__in=list(Role)).order_by("name")
        if not groups.queryset.exists():
            groups.help_text = "Everybody who may chat. To narrow it down, make a group under Roles and groups."
        when_busy: Any = self.fields["when_busy"]
        labels = {"enqueue": "waits its turn", "reject": "is refused", "interrupt": "stops the first answer"}
        when_busy.choices = list(labels.items())
        self.remember(None if self._is_new else self.instance)

    @property
    def _is_new(self) -> bool:
        return bool(self.instance._state.adding)

    def stored_row(self) -> Agent | None:
        return None if self._is_new else Agent.objects.select_for_update(no_key=True).get(pk=self.instance.pk)

    def form_values(self, row: Agent) -> dict[str, Any]:
        values = {name: getattr(row, name) for name in AgentForm.Meta.fields if name != "groups"}
        return values | {"groups": list(row.groups.order_by("name"))}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


@admin.register(Agent)
class AgentAdmin(ConsoleAdmin):
    """Agents, with buttons for draft, publishing, comparing and archiving."""

    query_budget = 7
    # The page of one agent.
    page_query_budget = 16

    form = AgentForm
    change_form_template = "console/agent.html"
    list_display = ("name", "slug", "live_release_number", "created_at", "archived_at")
    list_select_related = ("live_release",)
    list_filter = ("when_busy", ("archived_at", admin.EmptyFieldListFilter))
    ordering = ("name",)
    search_fields = ("slug", "name")
    fields = AgentForm.Meta.fields
    actions_detail = ("edit_draft", "publish_draft", "compare", "archive")

    @admin.display(description="live release")
    def live_release_number(self, agent: Agent) -> str:
        return f"#{agent.live_release.number}" if agent.live_release else "none yet"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Agents are archived: their sessions stay readable."""
        return False

    def has_publish_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(PUBLISH_AGENT)

    def has_archive_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_AGENT)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            # Without the buttons that would make a group in a window of its own.
            return db_field.formfield(**{**kwargs, "widget": CheckboxSelectMultiple})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        talk = path(
            "candidates/<uuid:object_id>/talk/", self.admin_site.admin_view(self.talk), name="agents_deployment_talk"
        )
        return [talk, *super().get_urls()]

    def talk(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Confirm, then open the chat with the candidate of a deployment."""
        return talk_page(request, self, object_id)

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        actor, details = user_actor(request.user), form.cleaned_data
        shared = {"details": details, "groups": details["groups"]}
        if change:
            change_agent(actor, agent_id=obj.pk, expected_version=details["version"], **shared)
            return
        chain = [route if ":" in route else f"{route}:" for route in settings.BANDSTAND.model]
        obj.pk = create_agent(actor, model_chain=chain, **shared).pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: `create_agent` and `change_agent` have saved the groups."""

    def response_add(self, request: HttpRequest, obj: Agent, post_url_continue: str | None = None) -> HttpResponse:  # noqa: ARG002
        messages.success(request, f"{obj} is made. Write its draft now; publish it when it is ready.")
        return HttpResponseRedirect(row_url(obj, "edit_draft"))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        if (agent := kwargs.get("obj")) is not None:
            context |= _related_rows(agent)
            if request.user.has_perm(VIEW_RATINGS):
                context |= _ratings(agent, context["releases"])
        return super().render_change_form(request, context, *args, **kwargs)

    @action(description="Draft", permissions=["view"], url_path="draft", icon="edit_note")
    def edit_draft(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._draft_page(request, object_id, draft_page)

    @action(description="Publish", permissions=["publish"], url_path="publish", icon="publish")
    def publish_draft(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._draft_page(request, object_id, publish_page)

    @action(description="Compare", permissions=["view"], url_path="compare", icon="difference")
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._draft_page(request, object_id, compare_page)

    @action(description="Archive or restore", permissions=["archive"], url_path="archive", icon="archive")
    def archive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._draft_page(request, object_id, _archive_page)

    def _draft_page(self, request: HttpRequest, object_id: str, page: Any) -> HttpResponse:
        agent = self.get_object(request, object_id)
        draft = AgentDraft.objects.select_related("agent__live_release").filter(agent=agent).first() if agent else None
        if draft is None:
            return self.redirect_missing(request, object_id)
        response: HttpResponse = page(request, self, draft)
        return response


def _archive_page(request: HttpRequest, model_admin: Any, draft: AgentDraft) -> HttpResponse:
    agent = draft.agent
    archived = agent.archived_at is not None
    confirmation = confirmation_page(
        request,
        model_admin,
        title=f"{'Restore' if archived else 'Archive'} {agent}",
        message=f"People who may talk to {agent} will find it again."
        if archived
        else f"Nobody will be able to begin a conversation with {agent}. What was said stays readable.",
        yes="Restore" if archived else "Archive",
        back=row_url(agent),
        danger=not archived,
    )
    if confirmation is not None:
        return confirmation
    (restore_agent if archived else archive_agent)(user_actor(request.user), agent_id=agent.pk)
    messages.success(request, f"{agent} is {'back' if archived else 'archived'}.")
    return HttpResponseRedirect(row_url(agent))


def _related_rows(agent: Agent) -> dict[str, Any]:
    """The template context for the part under the form: the draft, whether it differs from live, what of the two cannot
    be read, the releases."""
    draft = AgentDraft.objects.filter(agent=agent).first()
    comparison = compare_stored(agent.live_release, draft) if draft else ReleaseComparison(None)
    releases = Release.objects.filter(agent=agent).select_related("published_by").order_by("-number")
    return {
        "agent": agent,
        "draft": draft,
        "draft_differs": bool(comparison.differences),
        "unreadable": comparison.unreadable,
        "releases": list(releases[:RELEASES]),
    }


def _ratings(agent: Agent, releases: Sequence[Release]) -> dict[str, Any]:
    """The template context with the ratings of all releases, and of each of `releases`."""
    counts = count_ratings(agent_id=agent.pk)
    for release in releases:
        row: Any = release
        row.ratings = rating_summary(counts.get(release.pk, RatingCounts()), release=release.pk)
    return {"ratings": rating_summary(sum(counts.values(), RatingCounts()), agent=agent.pk)}
