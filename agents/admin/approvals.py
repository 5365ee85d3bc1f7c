"""Calls of tools that wait, or waited, for a person: the list, and the page with the stored call."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.admin.inbox.descriptions import approval_badge, argument_rows, operator_name
from agents.admin.inbox.inbox_filters import (
    ApprovalAgentFilter,
    ApprovalStateFilter,
    DeciderFilter,
    SessionUserFilter,
    inbox_tabs,
    readable_agent_ids,
)
from agents.admin.transcript.steps import shorten
from agents.domain.approvals import ApprovalState, Decider
from agents.models import Approval
from console.formatting import NOTHING, format_moment, time_elapsed, time_until
from console.keyset_changelist import KeysetAdmin
from foundation.graphemes import cut_text

LIST_CHARACTERS = 120


@admin.register(Approval)
class ApprovalAdmin(KeysetAdmin):
    """Approvals of the agents whose transcripts one may read: the arguments are what was said."""

    query_budget = 12

    list_display = ("call", "display_status", "waits", "end", "decider_name", "user", "agent", "display_reasons")
    list_display_links = ("call",)
    list_select_related = ("agent_session__user", "agent", "decided_by")
    list_filter = (ApprovalStateFilter, ApprovalAgentFilter, SessionUserFilter, DeciderFilter)
    list_tabs = inbox_tabs(of_approvals=True)
    list_empty_words = "No call of a tool waits for anybody."
    list_before_template = "console/inbox_head.html"
    search_ids = ("id", "agent_session_id", "turn_id")
    search_words = ("agent_session__user__username", "tool")
    search_help_text = "The id of a session or a turn, the name of a user or of a tool."
    fields = (
        "tool", "stored_call", "display_status", "display_reasons", "decider_name", "user", "agent", "where",
        "requested", "end", "decided", "note", "used", "id",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        return super().get_queryset(request).filter(agent__in=readable_agent_ids(request.user))

    @admin.display(description="call")
    def call(self, approval: Approval) -> SafeString:
        values = ", ".join(f"{name}: {value}" if name else value for name, value in argument_rows(approval.arguments))
        return format_html(
            '<code>{}</code> <bdi class="bs-words">{}</bdi>', approval.tool, cut_text(values, LIST_CHARACTERS)
        )

    @admin.display(description="the stored call")
    def stored_call(self, approval: Approval) -> SafeString:
        rows = [(name, shorten(value)) for name, value in argument_rows(approval.arguments)]
        return format_html(
            '<dl class="bs-call">{}</dl>',
            format_html_join("", '<dt>{}</dt><dd dir="auto">{}</dd>', rows or [("", "(no arguments)")]),
        )

    @admin.display(description="status")
    def display_status(self, approval: Approval) -> SafeString:
        return approval_badge(approval)

    @admin.display(description="waits for")
    def waits(self, approval: Approval) -> SafeString | str:
        return time_elapsed(approval.requested_at) if approval.state == ApprovalState.PENDING else NOTHING

    @admin.display(description="ends")
    def end(self, approval: Approval) -> SafeString | str:
        return time_until(approval.expires_at) if approval.state == ApprovalState.PENDING else NOTHING

    @admin.display(description="decided by")
    def decider_name(self, approval: Approval) -> str:
        if approval.decided_by is not None:
            return operator_name(approval.decided_by)
        return "an operator" if approval.decider == Decider.OPERATOR else "the user"

    @admin.display(description="user")
    def user(self, approval: Approval) -> str:
        return str(approval.agent_session.user)

    @admin.display(description="why it is asked")
    def display_reasons(self, approval: Approval) -> SafeString:
        return format_html_join("", '<bdi class="bs-words">{}</bdi> ', ((str(one),) for one in approval.reasons))

    @admin.display(description="where")
    def where(self, approval: Approval) -> SafeString:
        session = reverse("admin:agents_agentsession_change", args=[approval.agent_session_id])
        return format_html('<a class="bs-link" href="{}?turn={}">the conversation</a>', session, approval.turn_id)

    @admin.display(description="asked (UTC)")
    def requested(self, approval: Approval) -> SafeString | str:
        return format_moment(approval.requested_at)

    @admin.display(description="decided (UTC)")
    def decided(self, approval: Approval) -> SafeString | str:
        return format_moment(approval.decided_at)

    @admin.display(description="its call was made (UTC)")
    def used(self, approval: Approval) -> SafeString | str:
        return format_moment(approval.used_at)
