"""Turns and their steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import orjson
from django.contrib import admin
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin.list_exports import ExportableAdmin
from accounts.models import User
from accounts.users import find_users
from agents.admin.actions import run_action
from agents.admin.badges import purpose_badge, rating_badge, retry_badge, status_badge
from agents.admin.export_columns import TURN_COLUMNS, add_turn_values, read_turns
from agents.admin.list_filters import (
    FINISHED,
    OPEN,
    AgentFilter,
    CostFilter,
    DurationFilter,
    EndedSinceFilter,
    EndedUntilFilter,
    ErrorFilter,
    FallbackFilter,
    PurposeFilter,
    RatingFilter,
    ReleaseFilter,
    TurnStatusFilter,
    UserFilter,
    WordsFilter,
)
from agents.admin.test_sets import add_turns_page
from agents.admin.transcript.page import turn_page
from agents.admin.transcript.provider_words import LAST_ERROR, shorten_error
from agents.admin.turn_actions import CANCEL, FAIL, REQUEUE, RETRY
from agents.admin.turn_numbers import TURN_NUMBER
from agents.domain.failures import ErrorClass
from agents.domain.response_fallbacks import Fallback
from agents.domain.states import TurnStatus
from agents.domain.tool_rights import hide_reasons
from agents.models import Feedback, Step, Turn
from agents.permissions.role_permissions import (
    CANCEL_TURN,
    CHANGE_TEST_SET,
    FAIL_TURN,
    REQUEUE_TURN,
    RETRY_TURN,
    VIEW_TRANSCRIPT,
)
from agents.permissions.trials import can_read_session
from console.date_filters import SinceFilter, UntilFilter, age_filter
from console.formatting import NOTHING, badge, format_count, format_duration, format_moment, format_money, nowrap
from console.keyset_changelist import KeysetAdmin, parse_uuid
from console.list_head import ListTab


@admin.register(Turn)
class TurnAdmin(ExportableAdmin, KeysetAdmin):
    """Turns, with their transcript and the operator actions."""

    query_budget = 13

    list_display = (
        "queued",
        "display_status",
        "agent",
        "user",
        "error",
        "display_duration",
        "tokens",
        "cost",
        "session",
    )
    list_display_links = ("queued",)
    list_select_related = ("user", "release__agent")
    list_filter = (
        AgentFilter, ReleaseFilter, UserFilter, TurnStatusFilter, ErrorFilter, FallbackFilter, SinceFilter, UntilFilter,
        CostFilter, DurationFilter, RatingFilter, WordsFilter, EndedSinceFilter, EndedUntilFilter,
        PurposeFilter,
    )  # fmt: skip
    list_tabs = (
        ListTab("All", {}),
        ListTab("Failed", {"state": "any_failed"}),
        ListTab("Running", {"state": "any_running"}),
        ListTab("Waiting", {"state": "any_waiting"}),
        ListTab("Queued", {"state": TurnStatus.QUEUED}),
    )
    search_help_text = "The id of a turn, a session or an error, or the name of a user."
    export_columns = TURN_COLUMNS
    export_contents_permission = VIEW_TRANSCRIPT

    actions = ("cancel", "retry", "requeue", "fail_turn", "add_to_test_set")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(CANCEL_TURN)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(RETRY_TURN)

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(REQUEUE_TURN)

    def has_fail_turn_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(FAIL_TURN)

    def has_test_set_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(CHANGE_TEST_SET) and request.user.has_perm(VIEW_TRANSCRIPT)

    @admin.action(description="Add to test set", permissions=["test_set"])
    def add_to_test_set(self, request: HttpRequest, queryset: QuerySet[Turn]) -> HttpResponse | None:
        return add_turns_page(request, self, queryset)

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Turn]) -> HttpResponse:
        return run_action(request, self, queryset, CANCEL)

    @admin.action(description="Retry", permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Turn]) -> HttpResponse:
        return run_action(request, self, queryset, RETRY)

    @admin.action(description="Requeue", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Turn]) -> HttpResponse:
        return run_action(request, self, queryset, REQUEUE)

    @admin.action(description="Fail turn", permissions=["fail_turn"])
    def fail_turn(self, request: HttpRequest, queryset: QuerySet[Turn]) -> HttpResponse:
        return run_action(request, self, queryset, FAIL)

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Turn],
        search_term: str,
    ) -> tuple[QuerySet[Turn], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if (searched_id := parse_uuid(term)) is not None:
            return queryset.filter(Q(pk=searched_id) | Q(agent_session_id=searched_id) | Q(error_id=searched_id)), False
        return queryset.filter(user_id__in=find_users(term)), False

    def search_arms(self, term: str) -> Sequence[Q]:
        if not (term := term.strip()) or parse_uuid(term) is not None:
            return ()
        people = find_users(term)
        return [*(FINISHED & Q(user_id=user) for user in people), OPEN & Q(user_id__in=people)]

    def filter_arms(self, specs: Sequence[Any]) -> Sequence[Q]:
        return next((arms for spec in specs if (arms := spec.arms())), ())

    def filter_parts(self, specs: Sequence[Any]) -> Sequence[Q]:
        return next((spec.parts() for spec in specs if isinstance(spec, WordsFilter)), ())

    def export_rows(self, keys: Sequence[Any], user: User, *, with_contents: bool) -> list[Turn]:
        rows = read_turns(keys)
        add_turn_values(rows, user, with_contents=with_contents)
        return rows

    @admin.display(description="queued (UTC)")
    def queued(self, turn: Turn) -> str:
        return format_moment(turn.queued_at)

    @admin.display(description="status")
    def display_status(self, turn: Any) -> SafeString:
        badges = [status_badge(turn.status)]
        if turn.fallback and turn.fallback != Fallback.ERROR_RESPONSE:
            badges.append(badge(turn.get_fallback_display(), "warn"))
        if (retry := retry_badge(turn)) is not None:
            badges.append(retry)
        if turn.rating is not None:
            badges.append(rating_badge(turn.rating))
        if turn.purpose:
            badges.append(purpose_badge(turn.purpose))
        return format_html_join(" ", "{}", ((each,) for each in badges))

    @admin.display(description="agent")
    def agent(self, turn: Turn) -> str:
        return f"{turn.release.agent} #{turn.release.number}"

    def annotate(self, rows: QuerySet[Turn]) -> QuerySet[Any]:
        rating = Feedback.objects.filter(turn=OuterRef("pk")).values("value")[:1]
        return rows.annotate(
            provider_error=LAST_ERROR,
            number=TURN_NUMBER,
            rating=Subquery(rating),
            purpose=F("agent_session__purpose"),
        )

    @admin.display(description="error")
    def error(self, turn: Any) -> SafeString | str:
        words = shorten_error(turn.provider_error)
        return (
            format_html('{} <small class="bs-words">{}</small>', turn.error_class, words) if words else turn.error_class
        )

    @admin.display(description="duration")
    def display_duration(self, turn: Turn) -> str:
        return nowrap(format_duration(turn.started_at, turn.finished_at))

    @admin.display(description="tokens")
    def tokens(self, turn: Turn) -> str:
        into, out = format_count(turn.input_tokens), format_count(turn.output_tokens)
        return nowrap(NOTHING if into == out == NOTHING else f"{into} / {out}")

    @admin.display(description="cost")
    def cost(self, turn: Turn) -> str:
        return format_money(turn.cost_usd)

    @admin.display(description="session")
    def session(self, turn: Any) -> SafeString:
        """A link to its place in the transcript, where it has this number."""
        address = reverse("admin:agents_agentsession_change", args=[turn.agent_session_id])
        trace = reverse("admin:agents_turn_trace", args=[turn.pk])
        return format_html(
            '<a class="bs-link bs-nowrap" href="{}?turn={}#turn-{}">turn {}</a> <a class="bs-link" href="{}">trace</a>',
            address,
            turn.pk,
            turn.pk,
            turn.number,
            trace,
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        turn = self.get_object(request, object_id)
        if request.method == "POST" or turn is None or not self.has_view_permission(request, turn):
            return super().change_view(request, object_id, form_url, extra_context)
        return turn_page(request, self, turn)


@admin.register(Step)
class StepAdmin(KeysetAdmin):
    """Steps of turns, read-only."""

    query_budget = 11

    list_display = ("id", "turn_id", "number", "kind", "name", "status", "error_class", "started_at", "finished_at")
    list_filter = ("kind", "status", age_filter("started_at"))
    looks_back: ClassVar[int] = 200_000
    search_ids = ("turn_id",)
    search_help_text = "The id of a turn. Filters look at the newest 200,000 steps."

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Without `request` and `result` for users who may not read the transcript, nor the words of a refusal, nor
        the hashes of what was said, by which a guess could be proved."""
        fields = [field.name for field in Step._meta.fields]
        if obj is not None and can_read_session(request.user, obj.turn.agent_session):
            return fields
        is_refusal = obj is not None and obj.error_class == ErrorClass.CONTENT_FILTER
        shown = {"request": None, "result": None, "details": None if is_refusal else "display_details"}
        return [name for field in fields if (name := shown.get(field, field))]

    @admin.display(description="details")
    def display_details(self, step: Step) -> str:
        """The details without what was sent, and without names that a model may have chosen."""
        details = {name: value for name, value in step.details.items() if name != "request"}
        if "right" in details:
            details["right"] = hide_reasons(details["right"])
        return orjson.dumps(details).decode()
