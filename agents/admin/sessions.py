"""Sessions: the list, and the transcript page of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, Count, F, Func, Q, QuerySet, Sum, Value
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.list_exports import ExportableAdmin
from accounts.models import User
from accounts.permissions import user_actor
from accounts.users import find_users
from agents.admin.action_details import describe_session
from agents.admin.actions import run_action
from agents.admin.badges import purpose_badge
from agents.admin.export_columns import SESSION_COLUMNS, add_session_values
from agents.admin.inbox.handoff_actions import CLAIM
from agents.admin.list_filters import (
    AgentFilter,
    CostFilter,
    DurationFilter,
    ErrorFilter,
    PurposeFilter,
    RatingFilter,
    ReleaseFilter,
    SessionStatusFilter,
    UserFilter,
)
from agents.admin.transcript.page import live_update, session_page
from agents.admin.turn_actions import CANCEL_OPEN, FORK_WORDS
from agents.domain.session_purposes import SessionPurpose
from agents.models import COST_UNKNOWN, AgentSession, Turn
from agents.permissions.role_permissions import ANSWER_HANDOFF, CANCEL_TURN, FORK_SESSION, VIEW_TRANSCRIPT
from agents.permissions.transcripts import can_read_transcript, readable_agents
from agents.permissions.trials import sees_trials
from agents.sessions.crud import MAX_TITLE
from agents.sessions.fork import fork_any_session
from agents.sessions.handoff_control import claim_handoff
from console.confirmation import confirmation_page
from console.date_filters import SinceFilter, UntilFilter
from console.formatting import badge, format_moment, format_money
from console.keyset_changelist import KeysetAdmin, parse_uuid
from console.list_head import ListTab
from console.views import row_url
from foundation.errors import BandstandError


def _title_contains(term: str) -> Func:
    """The condition that the title contains `term`. Not `icontains`: it uppercases every title, seven times slower."""
    pattern = "%" + re.sub(r"([\\%_])", r"\\\1", term) + "%"
    return Func(
        F("title"), Value(pattern), template="%(expressions)s", arg_joiner=" ILIKE ", output_field=BooleanField()
    )


@admin.register(AgentSession)
class AgentSessionAdmin(ExportableAdmin, KeysetAdmin):
    """Sessions, with their transcript, the cancelling of open turns and forks."""

    query_budget = 15
    # The page of one session.
    page_query_budget = 24

    list_display = (
        "created",
        "display_title",
        "display_status",
        "user",
        "display_agent",
        "display_turns",
        "cost",
        "updated",
    )
    list_display_links = ("created", "display_title")
    list_select_related = ("user", "agent", "release")
    list_filter = (
        AgentFilter, ReleaseFilter, UserFilter, SessionStatusFilter, ErrorFilter, SinceFilter, UntilFilter, CostFilter,
        DurationFilter, RatingFilter, PurposeFilter,
    )  # fmt: skip
    list_tabs = (
        ListTab("All", {}),
        ListTab("Failed", {"error": "any"}),
        ListTab("Running", {"state": "running"}),
        ListTab("Waiting", {"state": "waiting"}),
        ListTab("For a person", {"state": "handoff"}),
    )
    search_help_text = "The id of a session, a turn or an error, the name of a user, or words of a title."
    export_columns = SESSION_COLUMNS
    export_contents_permission = VIEW_TRANSCRIPT

    actions = ("cancel_open",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentSession]:
        rows: QuerySet[AgentSession] = super().get_queryset(request)
        return rows if sees_trials(request.user) else rows.filter(purpose=SessionPurpose.PRODUCTION)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(CANCEL_TURN)

    @admin.action(description="Cancel all open turns", permissions=["cancel"])
    def cancel_open(self, request: HttpRequest, queryset: QuerySet[AgentSession]) -> HttpResponse:
        return run_action(request, self, queryset, CANCEL_OPEN)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AgentSession], search_term: str
    ) -> tuple[QuerySet[AgentSession], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (searched_id := parse_uuid(term)) is not None:
            turns = Turn.objects.filter(Q(pk=searched_id) | Q(error_id=searched_id)).values_list(
                "agent_session_id", flat=True
            )
            return queryset.filter(pk__in=[searched_id, *turns[:2]]), False
        if "\x00" in term or len(term) > MAX_TITLE:
            return queryset.none(), False
        # A title comes from the first message, so only titles of readable transcripts are searched.
        by_title = Q(_title_contains(term), agent__in=list(readable_agents(request.user).values_list("pk", flat=True)))
        return queryset.filter(Q(user_id__in=find_users(term)) | by_title), False

    def export_rows(self, keys: Sequence[Any], user: User, *, with_contents: bool) -> list[AgentSession]:
        rows: list[AgentSession] = super().export_rows(keys, user, with_contents=with_contents)
        add_session_values(rows, user, with_contents=with_contents)
        return rows

    def complete(self, request: HttpRequest, rows: Sequence[AgentSession]) -> None:
        readable = set(readable_agents(request.user).values_list("pk", flat=True))
        turns = Turn.objects.filter(agent_session__in=[session.pk for session in rows]).order_by()
        totals = {
            total["agent_session_id"]: total
            for total in turns.values("agent_session_id").annotate(
                turns=Count("pk"), cost=Sum("cost_usd"), no_cost=Count("pk", filter=COST_UNKNOWN)
            )
        }
        for session in rows:
            row: Any = session
            row.readable = session.agent_id in readable
            row.totals = totals.get(session.pk, {"turns": 0, "cost": None, "no_cost": 0})

    @admin.display(description="started (UTC)")
    def created(self, session: AgentSession) -> str:
        return format_moment(session.created_at)

    @admin.display(description="last message (UTC)")
    def updated(self, session: AgentSession) -> str:
        return format_moment(session.updated_at)

    @admin.display(description="title")
    def display_title(self, session: Any) -> str:
        title = (session.title or "(no title)") if session.readable else "(hidden)"
        return format_html("<bdi>{}</bdi>", title)

    @admin.display(description="status")
    def display_status(self, session: AgentSession) -> SafeString:
        return format_html("{} {}", self._status(session), purpose_badge(session.purpose))

    def _status(self, session: AgentSession) -> SafeString:
        if session.controller == AgentSession.Controller.HUMAN:
            return badge("a person answers", "warn")
        if session.active_turn_id is not None:
            return badge("answering", "good")
        return badge("waiting", "warn") if session.open_turns else badge("idle")

    @admin.display(description="agent")
    def display_agent(self, session: AgentSession) -> str:
        return f"{session.agent} #{session.release.number}"

    @admin.display(description="turns")
    def display_turns(self, session: Any) -> str:
        turns = f"{session.totals['turns']:,}"
        return f"{turns}, {session.open_turns} open" if session.open_turns else turns

    @admin.display(description="cost")
    def cost(self, session: Any) -> str:
        return format_money(session.totals["cost"], at_least=bool(session.totals["no_cost"]))

    def get_urls(self) -> list[URLPattern]:
        live = path("<uuid:object_id>/live/", self.admin_site.admin_view(self.live), name="agents_agentsession_live")
        fork = path("<uuid:object_id>/fork/", self.admin_site.admin_view(self.fork), name="agents_agentsession_fork")
        take_over = path(
            "<uuid:object_id>/take-over/",
            self.admin_site.admin_view(self.take_over),
            name="agents_agentsession_take_over",
        )
        return [live, fork, take_over, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self.get_object(request, object_id)
        if request.method == "POST" or session is None or not self.has_view_permission(request, session):
            return super().change_view(request, object_id, form_url, extra_context)
        return session_page(request, self, session)

    def live(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        """What has changed since `?after`, for the open page, which asks each second."""
        session = self.get_object(request, str(object_id))
        if session is None or not self.has_view_permission(request, session):
            raise Http404
        return live_update(request, session)

    def take_over(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Confirm, then answer the user in place of the agent, on the page of the inbox."""
        session = self.get_object(request, str(object_id))
        if session is None or not self.has_view_permission(request, session):
            raise Http404
        if not (request.user.has_perm(ANSWER_HANDOFF) and can_read_transcript(request.user, session.agent)):
            raise PermissionDenied
        back = row_url(session)
        page = confirmation_page(
            request,
            self,
            title="Take over?",
            message=CLAIM.description,
            yes="Take over",
            back=back,
            rows=[describe_session(request.user, session)],
        )
        if page is not None:
            return page
        try:
            status = claim_handoff(user_actor(request.user), session_id=session.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(back)
        messages.success(request, CLAIM.done)
        return HttpResponseRedirect(reverse("admin:agents_handoff_change", args=[status.id]))

    def fork(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Confirm, then copy the conversation, up to the answer of `?turn`, into a session of the operator."""
        session = self.get_object(request, str(object_id))
        term = request.GET.get("turn", "")
        after_turn = parse_uuid(term)
        # An invalid `turn` must not fork the whole conversation.
        if session is None or not self.has_view_permission(request, session) or (term and after_turn is None):
            raise Http404
        if not (request.user.has_perm(FORK_SESSION) and can_read_transcript(request.user, session.agent)):
            raise PermissionDenied
        back = row_url(session)
        confirmation = confirmation_page(
            request,
            self,
            title="Fork?",
            message=FORK_WORDS,
            yes="Yes, fork",
            back=back,
            rows=[describe_session(request.user, session)],
        )
        if confirmation is not None:
            return confirmation
        try:
            fork = fork_any_session(user_actor(request.user), session_id=session.pk, after_turn=after_turn)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(back)
        messages.success(request, f"Forked. This is the copy, {fork}; it belongs to you.")
        return HttpResponseRedirect(row_url(fork))
