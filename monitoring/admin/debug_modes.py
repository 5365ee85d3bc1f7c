"""Debug mode in the console: the list, and the pages that begin it for a session or an agent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.models import Agent, AgentSession
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.formatting import badge, format_moment, format_second
from console.views import row_url
from console.widgets import Select, TextInput, action
from foundation.errors import BandstandError
from monitoring.debugging import DEFAULT_SECONDS, MAX_REASON, active_modes, begin_debug_mode, end_debug_mode, is_active
from monitoring.models import DebugMode
from monitoring.role_permissions import CHANGE_DEBUG_MODE

_DURATIONS = [(600, "10 minutes"), (3_600, "1 hour"), (28_800, "8 hours"), (86_400, "1 day"), (604_800, "1 week")]
_MESSAGE = (
    "While it lasts, all spans of the turns are recorded, whatever share the agent's settings say: admission, context, "
    "recall and delivery then stand on every trace. It ends by itself, and is noted in the audit trail."
)


class DebugForm(forms.Form):
    """For how long, and why."""

    seconds = forms.TypedChoiceField(
        label="For", choices=_DURATIONS, coerce=int, widget=Select, initial=DEFAULT_SECONDS
    )
    reason = forms.CharField(label="Why", max_length=MAX_REASON, widget=TextInput)


@admin.register(DebugMode)
class DebugModeAdmin(ReadOnlyAdmin):
    """Debug modes, read-only, newest first, with a button that ends one before its time."""

    query_budget = 7

    list_empty_words = "Nothing was in debug mode yet. It is begun on the page of a session or of an agent."
    list_display = ("begun", "target", "display_status", "reason", "begun_by")
    list_display_links = ("begun",)
    list_select_related = ("agent",)
    search_ids = ("session",)
    search_words = ("reason", "begun_by")
    search_help_text = "The id of a debug mode or a session, words of the reason, or who began it."
    fields = ("target", "display_status", "reason", "begun_by", "begun_at", "until", "ended_at", "ended_by")
    actions_detail = ("end",)

    @admin.display(description="begun (UTC)")
    def begun(self, mode: DebugMode) -> str:
        return format_moment(mode.begun_at)

    @admin.display(description="of")
    def target(self, mode: DebugMode) -> SafeString:
        return format_html('{} <a class="bs-link" href="{}">{}</a>', *_target_link(mode))

    @admin.display(description="status")
    def display_status(self, mode: DebugMode) -> SafeString:
        if is_active(mode):
            return badge(f"until {format_second(mode.until)} UTC", "warn")
        return badge("ended")

    def has_end_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_DEBUG_MODE)

    @action(description="End it now", url_path="end", permissions=["end"])
    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        mode = self.get_object(request, object_id)
        if mode is None:
            raise Http404
        message = "From now on spans are recorded as the agent's settings say. What was recorded stays."
        confirmation = confirmation_page(
            request, self, title=f"End {mode}?", message=message, yes="Yes, end it", back=row_url(mode)
        )
        if confirmation is not None:
            return confirmation
        try:
            end_debug_mode(user_actor(request.user), mode.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, "Debug mode has ended.")
        return HttpResponseRedirect(row_url(mode))


def debug_session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Confirm, then put a session into debug mode."""
    session = AgentSession.objects.filter(pk=session_id).first()
    if session is None or not request.user.has_perm("agents.view_agentsession"):
        raise Http404
    return _begin(request, session, active_modes().filter(session=session_id), session_id=session_id)


def debug_agent(request: HttpRequest, agent_id: UUID) -> HttpResponse:
    """Confirm, then put an agent into debug mode."""
    agent = Agent.objects.filter(pk=agent_id).first()
    if agent is None or not request.user.has_perm("agents.view_agent"):
        raise Http404
    return _begin(request, agent, active_modes().filter(agent=agent_id), agent_id=agent_id)


def _begin(request: HttpRequest, target: Agent | AgentSession, present: QuerySet[DebugMode], **of: Any) -> HttpResponse:
    if not request.user.has_perm(CHANGE_DEBUG_MODE):
        raise PermissionDenied
    model_admin, back = admin.site.get_model_admin(type(target)), row_url(target)
    form = DebugForm(confirmed_data(request))
    lasts = [
        f"It is in debug mode already, until {format_second(mode.until)} UTC; this sets a new end." for mode in present
    ]
    confirmation = confirmation_page(
        request,
        model_admin,
        title=f"Debug mode of {'agent' if isinstance(target, Agent) else ''} {target}".replace("  ", " "),
        message="\n".join([_MESSAGE, *lasts]),
        yes="Begin debug mode",
        back=back,
        form=form,
    )
    if confirmation is not None:
        return confirmation
    try:
        mode = begin_debug_mode(
            user_actor(request.user), seconds=form.cleaned_data["seconds"], reason=form.cleaned_data["reason"], **of
        )
    except BandstandError as error:
        messages.error(request, error.detail)
        return HttpResponseRedirect(back)
    messages.success(request, f"In debug mode until {format_second(mode.until)} UTC.")
    return HttpResponseRedirect(row_url(mode))


def _target_link(mode: DebugMode) -> tuple[str, str, str]:
    """What the mode is of, the address of its page, and its name."""
    if mode.agent is not None:
        return "agent", row_url(mode.agent), str(mode.agent)
    session = AgentSession(pk=mode.session)
    return "session", row_url(session), str(mode.session)
