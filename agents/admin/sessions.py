"""Sessions: the list, and one page with all that happened in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import BooleanField, Count, F, Func, Q, QuerySet, Sum, Value
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from accounts.permissions import actor_of
from accounts.users import meant_people
from agents.admin.actions import carry_out
from agents.admin.list_filters import (
    AgentSieve,
    CostSieve,
    ErrorSieve,
    ReleaseSieve,
    SessionStateSieve,
    SinceSieve,
    UntilSieve,
    UserSieve,
)
from agents.admin.transcript.page import live, session_page
from agents.admin.turn_actions import CANCEL_OPEN, FORK_WORDS
from agents.models import AgentSession, Turn
from agents.permissions.role_permissions import CANCEL_TURN, FORK_SESSION
from agents.permissions.transcripts import may_read, readable_agents
from agents.sessions.crud import MAX_TITLE
from agents.sessions.fork import fork_any_session
from console.confirmation import ask
from console.formatting import moment, money, tag
from console.keyset_changelist import LongListAdmin, uuid_of
from console.views import address_of
from foundation.errors import BandstandError


def _titled(term: str) -> Func:
    """That the title holds `term`. Not `icontains`, which turns every title to capitals first: seven times slower."""
    pattern = "%" + re.sub(r"([\\%_])", r"\\\1", term) + "%"
    return Func(
        F("title"), Value(pattern), template="%(expressions)s", arg_joiner=" ILIKE ", output_field=BooleanField()
    )


@admin.register(AgentSession)
class AgentSessionAdmin(LongListAdmin):
    query_budget = 15
    # The page of one session.
    page_query_budget = 24

    list_display = ("created", "told_title", "stands", "user", "told_agent", "turns_told", "cost", "updated")
    list_display_links = ("created", "told_title")
    list_select_related = ("user", "agent", "release")
    list_filter = (
        AgentSieve, ReleaseSieve, UserSieve, SessionStateSieve, ErrorSieve, SinceSieve, UntilSieve, CostSieve,
    )  # fmt: skip
    search_help_text = "The id of a session, a turn or an error, the name of a user, or words of a title."

    actions = ("cancel_open",)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(CANCEL_TURN)

    @admin.action(description="Cancel all open turns", permissions=["cancel"])
    def cancel_open(self, request: HttpRequest, queryset: QuerySet[AgentSession]) -> HttpResponse:
        return carry_out(request, self, queryset, CANCEL_OPEN)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AgentSession], search_term: str
    ) -> tuple[QuerySet[AgentSession], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (wanted := uuid_of(term)) is not None:
            turns = Turn.objects.filter(Q(pk=wanted) | Q(error_id=wanted)).values_list("agent_session_id", flat=True)
            return queryset.filter(pk__in=[wanted, *turns[:2]]), False
        if "\x00" in term or len(term) > MAX_TITLE:
            return queryset.none(), False
        # Titles are made of what was said first.
        titled = Q(_titled(term), agent__in=list(readable_agents(request.user).values_list("pk", flat=True)))
        return queryset.filter(Q(user_id__in=meant_people(term)) | titled), False

    def complete(self, request: HttpRequest, rows: Sequence[AgentSession]) -> None:
        readable = set(readable_agents(request.user).values_list("pk", flat=True))
        turns = Turn.objects.filter(agent_session__in=[session.pk for session in rows]).order_by()
        totals = {
            total["agent_session_id"]: total
            for total in turns.values("agent_session_id").annotate(turns=Count("pk"), cost=Sum("cost_usd"))
        }
        for session in rows:
            told: Any = session
            told.readable = session.agent_id in readable
            told.totals = totals.get(session.pk, {"turns": 0, "cost": None})

    @admin.display(description="begun (UTC)")
    def created(self, session: AgentSession) -> str:
        return moment(session.created_at)

    @admin.display(description="last message (UTC)")
    def updated(self, session: AgentSession) -> str:
        return moment(session.updated_at)

    @admin.display(description="title")
    def told_title(self, session: Any) -> str:
        return (session.title or "(no title)") if session.readable else "(hidden)"

    @admin.display(description="state")
    def stands(self, session: AgentSession) -> SafeString:
        if session.controller == AgentSession.Controller.HUMAN:
            return tag("a person answers", "warn")
        if session.active_turn_id is not None:
            return tag("answering", "good")
        return tag("waiting", "warn") if session.open_turns else tag("idle")

    @admin.display(description="agent")
    def told_agent(self, session: AgentSession) -> str:
        return f"{session.agent} #{session.release.number}"

    @admin.display(description="turns")
    def turns_told(self, session: Any) -> str:
        turns = f"{session.totals['turns']:,}"
        return f"{turns}, {session.open_turns} open" if session.open_turns else turns

    @admin.display(description="cost")
    def cost(self, session: Any) -> str:
        return money(session.totals["cost"])

    def get_urls(self) -> list[URLPattern]:
        follow = path("<uuid:object_id>/live/", self.admin_site.admin_view(self.live), name="agents_agentsession_live")
        fork = path("<uuid:object_id>/fork/", self.admin_site.admin_view(self.fork), name="agents_agentsession_fork")
        return [follow, fork, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self.get_object(request, object_id)
        if request.method != "GET" or session is None or not self.has_view_permission(request, session):
            return super().change_view(request, object_id, form_url, extra_context)
        return session_page(request, self, session)

    def live(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        """The fragment that the open page asks for each second."""
        session = self.get_object(request, str(object_id))
        if session is None or not self.has_view_permission(request, session):
            raise Http404
        return live(request, session)

    def fork(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """A copy of the conversation, up to the answer of `?turn`, that belongs to the operator."""
        session = self.get_object(request, str(object_id))
        term = request.GET.get("turn", "")
        after_turn = uuid_of(term)
        # A turn that cannot be read is no wish for the whole conversation.
        if session is None or not self.has_view_permission(request, session) or (term and after_turn is None):
            raise Http404
        if not (request.user.has_perm(FORK_SESSION) and may_read(request.user, session.agent)):
            raise PermissionDenied
        back = address_of(session)
        shown = ask(request, self, title="Fork?", words=FORK_WORDS, yes="Yes, fork", back=back, rows=[str(session)])
        if shown is not None:
            return shown
        try:
            made = fork_any_session(actor_of(request.user), session_id=session.pk, after_turn=after_turn)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(back)
        messages.success(request, f"Forked. This is the copy, {made}; it belongs to you.")
        return HttpResponseRedirect(address_of(made))
