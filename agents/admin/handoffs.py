"""The operators' inbox: the people who wait for a person, and the page on which an operator answers one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.admin.badges import purpose_badge
from agents.admin.inbox.handoff_actions import HANDOFF_ACTIONS, DutyForm, HandoffAction, operators_on_duty
from agents.admin.inbox.handoff_page import handoff_page, live_handoff
from agents.admin.inbox.inbox_filters import (
    NEWEST_FIRST,
    HandoffAgentFilter,
    HandoffSourceFilter,
    PriorityFilter,
    SessionUserFilter,
    ShowFilter,
    count_waiting,
    inbox_search,
    inbox_tabs,
    readable_agent_ids,
)
from agents.admin.inbox.inbox_labels import (
    describe_reason,
    first_reply,
    handoff_badge,
    operator_name,
    priority_badge,
    waiting_time,
)
from agents.admin.inbox.run_handoff_action import run_handoff_action
from agents.models import Handoff
from agents.permissions.role_permissions import ANSWER_HANDOFF
from agents.permissions.trials import visible_purposes
from agents.sessions.operator_duty import go_off_duty, go_on_duty
from console.confirmation import confirmation_page, confirmed_data
from console.formatting import NOTHING, format_moment, format_second
from console.keyset_changelist import KeysetAdmin
from console.ordered_changelist import OrderedKeysetChangeList
from foundation.errors import BandstandError

# People on duty that the list names.
MOST_ON_DUTY: Final = 30
ON_DUTY: Final = (
    "While somebody is on duty, people who ask for a person are told that one is there. It ends by itself; what you "
    "have claimed stays yours."
)
GONE: Final = "Not sent: this conversation was deleted, or you may not read it any more."
OFF_DUTY: Final = (
    "When nobody is on duty, people who ask for a person are told so at once and choose what to do. What you have "
    "claimed stays yours."
)


class InboxChangeList(OrderedKeysetChangeList):
    """What waits: by priority, then by age. What is over: the newest first."""

    @property
    def is_newest_first(self) -> bool:
        view = str(self.params.get("show", ""))
        return view in NEWEST_FIRST or (bool(self.query) and not view)

    @property
    def order_words(self) -> str:  # type: ignore[override]
        return "newest first" if self.is_newest_first else "most urgent and oldest first"


@admin.register(Handoff)
class HandoffAdmin(KeysetAdmin):
    """The inbox. Only those who may read an agent's transcripts see who waits for a person in its place."""

    query_budget = 13

    list_display = (
        "display_user",
        "waits",
        "display_status",
        "reply",
        "display_priority",
        "display_reason",
        "display_agent",
        "requested",
    )
    list_display_links = ("display_user",)
    list_select_related = ("agent_session__user", "agent_session__agent", "assignee")
    list_filter = (ShowFilter, HandoffAgentFilter, SessionUserFilter, PriorityFilter, HandoffSourceFilter)
    list_tabs = inbox_tabs(of_approvals=False)
    list_empty_words = "Nobody waits for a person."
    list_before_template = "console/inbox_head.html"
    search_ids = ("id", "agent_session_id")
    search_help_text = "The id of a session or of a request, or the name of a user."

    def get_changelist(self, request: HttpRequest, **_kwargs: Any) -> type[Any]:  # noqa: ARG002
        return InboxChangeList

    def keyset_order(self, changelist: InboxChangeList) -> tuple[str, ...]:
        """The order of the rows of `changelist`."""
        return ("-requested_at", "-id") if changelist.is_newest_first else ("priority", "requested_at", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Handoff]:
        rows = super().get_queryset(request).filter(visible_purposes(request.user))
        return rows.filter(agent_session__agent__in=readable_agent_ids(request.user))

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Handoff],
        search_term: str,
    ) -> tuple[QuerySet[Handoff], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        return queryset.filter(inbox_search(term, ids=self.search_ids)), False

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        row = "<uuid:object_id>"
        return [
            path("counts/", view(self.counts), name="agents_handoff_counts"),
            path("duty/", view(self.duty), name="agents_handoff_duty"),
            path(f"{row}/live/", view(self.live), name="agents_handoff_live"),
            *(
                path(f"{row}/{action.name}/", view(self._view_of(action)), name=f"agents_handoff_{action.name}")
                for action in HANDOFF_ACTIONS
            ),
            *super().get_urls(),
        ]

    def _view_of(self, action: HandoffAction) -> Callable[[HttpRequest, UUID], HttpResponse]:
        def view(request: HttpRequest, object_id: UUID) -> HttpResponse:
            return self.act(request, object_id, action)

        return view

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With who is on duty."""
        everybody = operators_on_duty()
        duty = list(everybody[:MOST_ON_DUTY])
        is_on_duty = any(one.user_id == request.user.pk for one in duty)
        if not is_on_duty and len(duty) == MOST_ON_DUTY:
            is_on_duty = everybody.filter(user=request.user.pk).exists()
        context = {"duty": duty, "is_on_duty": is_on_duty, "duty_form": DutyForm(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        handoff = self.get_object(request, object_id)
        if request.method == "POST" or handoff is None or not self.has_view_permission(request, handoff):
            return super().change_view(request, object_id, form_url, extra_context)
        return handoff_page(request, self, handoff)

    def live(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """What has changed on the open page, which asks each second."""
        handoff = self.get_object(request, str(object_id))
        if handoff is None or not self.has_view_permission(request, handoff):
            raise Http404
        return live_handoff(request, handoff)

    def act(self, request: HttpRequest, object_id: UUID, action: HandoffAction) -> HttpResponse:
        """Do what a button of the page says, or first show what it does."""
        if not (self.has_view_permission(request) and request.user.has_perm(ANSWER_HANDOFF)):
            raise PermissionDenied
        handoff = self.get_object(request, str(object_id))
        if handoff is None:
            if not request.accepts("text/html"):
                return JsonResponse({"detail": GONE}, status=404)
            return self.redirect_missing(request, str(object_id))
        return run_handoff_action(request, self, handoff, action)

    def duty(self, request: HttpRequest) -> HttpResponse:
        """Say for how long one is there, or with `?off` that one is not."""
        if not (self.has_view_permission(request) and request.user.has_perm(ANSWER_HANDOFF)):
            raise PermissionDenied
        is_off = "off" in request.GET
        form = None if is_off else DutyForm(confirmed_data(request))
        back = reverse("admin:agents_handoff_changelist")
        page = confirmation_page(
            request,
            self,
            title="Go off duty" if is_off else "Go on duty",
            message=OFF_DUTY if is_off else ON_DUTY,
            yes="Go off duty" if is_off else "I am there",
            back=back,
            form=form,
        )
        if page is not None:
            return page
        actor = user_actor(request.user)
        try:
            if form is None:
                go_off_duty(actor)
                messages.success(request, "You are off duty.")
            else:
                duty = go_on_duty(actor, hours=form.cleaned_data["hours"])
                messages.success(request, f"You are on duty until {format_second(duty.until)[:16]} UTC.")
        except BandstandError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(back)

    def counts(self, request: HttpRequest) -> HttpResponse:
        """What waits, for the number beside the entry of the sidebar."""
        people, calls = count_waiting(request.user)
        return JsonResponse({"count": people + calls, "title": _describe_counts(people, calls)})

    @admin.display(description="who")
    def display_user(self, handoff: Handoff) -> str:
        return str(handoff.agent_session.user)

    @admin.display(description="waits for")
    def waits(self, handoff: Handoff) -> SafeString | str:
        return waiting_time(handoff)

    @admin.display(description="status")
    def display_status(self, handoff: Handoff) -> SafeString:
        session = handoff.agent_session
        return format_html("{} {}", handoff_badge(handoff, session), purpose_badge(session.purpose))

    @admin.display(description="priority")
    def display_priority(self, handoff: Handoff) -> SafeString:
        return priority_badge(handoff.priority)

    @admin.display(description="first reply")
    def reply(self, handoff: Handoff) -> SafeString | str:
        return first_reply(handoff)

    @admin.display(description="why")
    def display_reason(self, handoff: Handoff) -> SafeString:
        return format_html('<bdi class="bs-words">{}</bdi>', describe_reason(handoff.requested_by, handoff.reason))

    @admin.display(description="agent")
    def display_agent(self, handoff: Handoff) -> str:
        return str(handoff.agent_session.agent)

    @admin.display(description="assignee")
    def display_assignee(self, handoff: Handoff) -> str:
        return operator_name(handoff.assignee) or NOTHING

    @admin.display(description="asked (UTC)")
    def requested(self, handoff: Handoff) -> SafeString | str:
        return format_moment(handoff.requested_at)


def _describe_counts(people: int, calls: int) -> str:
    people_text = f"{people:,} {'person waits' if people == 1 else 'people wait'}"
    return f"{people_text}, {calls:,} {'approval is' if calls == 1 else 'approvals are'} open"
