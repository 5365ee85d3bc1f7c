"""Passes: for a while, calls of a tool run without anybody's approval. Owners grant and end them."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from accounts.permissions import user_actor
from agents.admin.inbox.inbox_filters import readable_agent_ids
from agents.admin.inbox.inbox_labels import operator_name
from agents.models import Agent, ApprovalPass
from agents.permissions.role_permissions import GRANT_APPROVAL
from agents.sessions.approvals import MAX_PASS_REASON, end_pass, grant_pass
from console.confirmation import confirmation_page, confirmed_data
from console.field_filters import FieldFilter, require_choice
from console.formatting import badge, format_moment, format_second
from console.keyset_changelist import KeysetAdmin
from console.list_head import ListTab
from console.views import row_url
from console.widgets import Select, TextInput, action
from foundation.clock import now
from foundation.errors import BandstandError

_DURATIONS: Final = [(900, "15 minutes"), (3_600, "1 hour"), (14_400, "4 hours"), (28_800, "8 hours")]


class PassForm(forms.Form):
    """Whose calls of which tool pass, for how long, and why."""

    agent = forms.ChoiceField(label="Agent", widget=Select)
    tool = forms.CharField(label="Tool", max_length=64, widget=TextInput, help_text="Its name, as the agent calls it.")
    username = forms.CharField(
        label="For the user", required=False, widget=TextInput, help_text="The name of one user; or name a session."
    )
    session = forms.UUIDField(
        label="For the session", required=False, widget=TextInput, help_text="Its id; or name a user."
    )
    seconds = forms.TypedChoiceField(label="For", choices=_DURATIONS, coerce=int, widget=Select, initial=3_600)
    reason = forms.CharField(label="Why", max_length=MAX_PASS_REASON, widget=TextInput, help_text="Others read it.")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["agent"]
        agents = Agent.objects.filter(pk__in=readable_agent_ids(user), archived_at=None).order_by("name")
        field.choices = [(str(pk), name) for pk, name in agents.values_list("pk", "name")[:500]]

    def clean_username(self) -> User | None:
        """The user."""
        name = self.cleaned_data["username"]
        if not name:
            return None
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            raise forms.ValidationError("There is no such user.")
        return user

    def clean(self) -> dict[str, Any]:
        """Either a user or a session."""
        data = super().clean() or {}
        if not self.errors and (data.get("username") is None) == (data.get("session") is None):
            raise forms.ValidationError("Name a user or a session, and not both.")
        return data


class PassStateFilter(FieldFilter):
    """By whether it lasts."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("active", "active"), ("over", "over")]

    def matching(self, value: str) -> Q:
        is_active = require_choice(value, ["active", "over"]) == "active"
        return Q(expires_at__gt=now()) if is_active else Q(expires_at__lte=now())


@admin.register(ApprovalPass)
class ApprovalPassAdmin(KeysetAdmin):
    """Passes, newest first."""

    query_budget = 12

    list_display = ("tool", "display_status", "whose", "agent", "reason", "granter", "granted")
    list_display_links = ("tool",)
    list_select_related = ("agent", "user", "agent_session__user", "granted_by")
    list_filter = (PassStateFilter,)
    list_tabs = (ListTab("All", {}), ListTab("Active", {"state": "active"}), ListTab("Over", {"state": "over"}))
    list_empty_words = "Nobody was given a pass: every call that needs an approval waits for one."
    search_ids = ("id", "agent_session_id")
    search_words = ("user__username", "tool")
    search_help_text = "The id of a session, the name of a user or of a tool."
    fields = ("tool", "agent", "whose", "display_status", "reason", "granter", "granted", "end", "id")
    actions_detail = ("end_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApprovalPass]:
        return super().get_queryset(request).filter(agent__in=readable_agent_ids(request.user))

    @admin.display(description="status")
    def display_status(self, row: ApprovalPass) -> SafeString:
        if row.expires_at > now():
            return badge(f"until {format_second(row.expires_at)[:16]} UTC", "warn")
        return badge("over")

    @admin.display(description="for")
    def whose(self, row: ApprovalPass) -> SafeString | str:
        if row.agent_session is None:
            return str(row.user)
        address = reverse("admin:agents_agentsession_change", args=[row.agent_session_id])
        return format_html('<a class="bs-link" href="{}">a session of {}</a>', address, row.agent_session.user)

    @admin.display(description="granted by")
    def granter(self, row: ApprovalPass) -> str:
        return operator_name(row.granted_by)

    @admin.display(description="granted (UTC)")
    def granted(self, row: ApprovalPass) -> SafeString | str:
        return format_moment(row.granted_at)

    @admin.display(description="end (UTC)")
    def end(self, row: ApprovalPass) -> str:
        return format_second(row.expires_at)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(GRANT_APPROVAL)

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(GRANT_APPROVAL)

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The form that grants one; `?session=`, `?username=`, `?agent=` and `?tool=` fill it in."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        initial = {name: request.GET.get(name, "") for name in ("agent", "tool", "session", "username")}
        form = PassForm(confirmed_data(request), user=request.user, initial=initial)
        back = reverse("admin:agents_approvalpass_changelist")

        def ask() -> HttpResponse | None:
            return confirmation_page(
                request,
                self,
                title="Let calls of a tool pass",
                message="Until it ends, calls of this tool that would wait for an approval run at once, whatever their "
                "values: also those that come from a web page. What the agent's release refuses stays refused. It is "
                "recorded, and it ends by itself.",
                yes="Grant the pass",
                back=back,
                form=form,
                danger=True,
            )

        if (page := ask()) is not None:
            return page
        data = form.cleaned_data
        try:
            row = grant_pass(
                user_actor(request.user),
                tool=data["tool"],
                agent_id=data["agent"],
                session_id=data["session"],
                user_id=data["username"].pk if data["username"] else None,
                seconds=data["seconds"],
                reason=data["reason"],
            )
        except BandstandError as error:
            form.add_error(None, error.detail)
            return ask() or HttpResponseRedirect(back)
        messages.success(request, f"Calls of {row.tool} pass until {format_second(row.expires_at)[:16]} UTC.")
        return HttpResponseRedirect(row_url(row))

    @action(description="End it now", url_path="end", permissions=["end"], icon="block")
    def end_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"End the pass for {row.tool}?",
            message="The next call that needs an approval waits for one again. What has run is not taken back.",
            yes="Yes, end it",
            back=row_url(row),
        )
        if confirmation is not None:
            return confirmation
        try:
            end_pass(user_actor(request.user), pass_id=row.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, "The pass has ended.")
        return HttpResponseRedirect(row_url(row))
