"""Calls of tools that wait, or waited, for a person: the list, and the page with the stored call."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.admin.inbox.inbox_filters import (
    ApprovalAgentFilter,
    ApprovalStateFilter,
    DeciderFilter,
    SessionUserFilter,
    inbox_search,
    inbox_tabs,
    readable_agent_ids,
)
from agents.admin.inbox.inbox_labels import approval_badge, argument_rows, call_reasons, operator_name
from agents.domain.approvals import ApprovalState, Decider, Decision
from agents.models import Approval
from agents.permissions.role_permissions import DECIDE_APPROVAL
from agents.sessions.approvals import MAX_NOTE, decide_approval
from console.formatting import NOTHING, format_moment, time_elapsed, time_until
from console.keyset_changelist import KeysetAdmin
from console.views import console_page, row_url
from console.widgets import TextInput, action
from foundation.errors import BandstandError
from foundation.graphemes import cut_text

LIST_CHARACTERS = 120


class DecisionForm(forms.Form):
    """What an operator decides, and a word to the agent."""

    decision = forms.ChoiceField(choices=[(decision.value, decision.value) for decision in Decision])
    note = forms.CharField(
        label="A word to the agent",
        required=False,
        max_length=MAX_NOTE,
        widget=TextInput,
        help_text="May be empty. The user reads it, too.",
    )


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
    search_help_text = "The id of a session or a turn, the name of a user, or else of a tool."
    fields = (
        "tool", "stored_call", "display_status", "display_reasons", "decider_name", "user", "agent", "display_session",
        "requested", "end", "decided", "note", "used", "id",
    )  # fmt: skip
    actions_detail = ("decide",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        return super().get_queryset(request).filter(agent__in=readable_agent_ids(request.user))

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Approval],
        search_term: str,
    ) -> tuple[QuerySet[Approval], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        return queryset.filter(inbox_search(term, ids=self.search_ids, otherwise=Q(tool=term))), False

    @admin.display(description="call")
    def call(self, approval: Approval) -> SafeString:
        values = ", ".join(f"{name}: {value}" if name else value for name, value in argument_rows(approval.arguments))
        return format_html(
            '<code>{}</code> <bdi class="bs-words">{}</bdi>', approval.tool, cut_text(values, LIST_CHARACTERS)
        )

    @admin.display(description="the stored call")
    def stored_call(self, approval: Approval) -> SafeString:
        rows = argument_rows(approval.arguments) or [("", "(no arguments)")]
        return format_html(
            '<dl class="bs-call">{}</dl>', format_html_join("", '<dt>{}</dt><dd dir="auto">{}</dd>', rows)
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
        return format_html_join("", '<bdi class="bs-words">{}</bdi> ', ((one,) for one in call_reasons(approval)))

    @admin.display(description="where")
    def display_session(self, approval: Approval) -> SafeString:
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

    def has_decide_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(DECIDE_APPROVAL)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Nothing to decide on the page of a call that is decided, or that is left to its user."""
        approval = self.get_object(request, object_id)
        is_open = (
            approval is not None and approval.state == ApprovalState.PENDING and approval.decider == Decider.OPERATOR
        )
        actions: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        return actions if is_open else []

    @action(description="Decide", url_path="decide", permissions=["decide"], icon="gavel")
    def decide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the stored call and ask; then approve or refuse it."""
        approval = self.get_object(request, object_id)
        if approval is None:
            return self.redirect_missing(request, object_id)
        back = _local_address(request) or row_url(approval)
        form = DecisionForm(request.POST if request.method == "POST" else None, initial={"back": back})
        if form.is_bound and form.is_valid():
            decision = Decision(form.cleaned_data["decision"])
            try:
                decide_approval(
                    user_actor(request.user),
                    approval_id=approval.pk,
                    decision=decision,
                    note=form.cleaned_data["note"],
                    as_operator=True,
                )
            except BandstandError as error:
                messages.error(request, error.detail)
            else:
                approved = f"Approved: {approval.tool} runs with exactly these values."
                refused = f"Refused: the agent is told so, and {approval.tool} does not run."
                messages.success(request, approved if decision is Decision.APPROVE else refused)
            return HttpResponseRedirect(back)
        return console_page(
            request,
            self,
            "console/approval_decision.html",
            title=f"Let the agent call {approval.tool}?",
            approval=approval,
            arguments=argument_rows(approval.arguments),
            reasons=call_reasons(approval),
            is_pending=approval.state == ApprovalState.PENDING,
            for_operators=approval.decider == Decider.OPERATOR,
            form=form,
            back=back,
        )


def _local_address(request: HttpRequest) -> str:
    target = request.POST.get("back", "")
    is_local = url_has_allowed_host_and_scheme(target, allowed_hosts=None, require_https=request.is_secure())
    return target if is_local and target.startswith("/") else ""
