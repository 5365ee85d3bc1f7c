"""The ledger of budgets: what calls have reserved and used; and where it differs from the calls themselves."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from accounts.permissions import user_actor
from agents.admin.list_filters import UserFilter
from agents.budgets.reconciliation import review_difference
from agents.domain.budgets import OPEN_RESERVATIONS, BudgetUnit, DifferenceKind, ReservationStatus
from agents.models import BudgetDifference, BudgetReservation, BudgetWindow
from agents.permissions.role_permissions import CHANGE_BUDGET
from console.confirmation import confirmation_page
from console.date_filters import age_filter
from console.field_filters import ChoiceFilter, FieldFilter, require_choice
from console.formatting import NOTHING, badge, format_moment, format_money
from console.keyset_changelist import KeysetAdmin, parse_uuid
from console.list_head import ListTab
from console.views import row_url
from console.widgets import action
from foundation.errors import BandstandError

_LEVELS: Final = {
    ReservationStatus.WAITING.value: "warn",
    ReservationStatus.UNCONFIRMED.value: "warn",
    ReservationStatus.SETTLED.value: "good",
}
# What people read of each kind.
_KINDS: Final = {
    DifferenceKind.WINDOW_SPENT.value: "a budget's spent amount is not the sum of its calls",
    DifferenceKind.WINDOW_RESERVED.value: "a budget's reserved amount is not the sum of its open calls",
    DifferenceKind.CALL.value: "a call is booked at another amount than it has used",
    DifferenceKind.OPEN.value: "a reservation stays open past its time",
    DifferenceKind.UNRESERVED.value: "a call that nothing was reserved for",
}


class ReservationStatusFilter(FieldFilter):
    """By status, or by being open at all."""

    title, parameter_name = "status", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("open", "open"), *((status.value, status.value) for status in ReservationStatus)]

    def matching(self, value: str) -> Q:
        require_choice(value, [name for name, _ in self.lookup_choices])
        return Q(status__in=sorted(OPEN_RESERVATIONS) if value == "open" else [value])


class DrawsOnFilter(FieldFilter):
    """By a budget that is drawn on, for links."""

    title, parameter_name = "budget", "budget"

    def has_output(self) -> bool:
        return bool(self.selected())

    def matching(self, value: str) -> Q:
        key = parse_uuid(value)
        if key is None:
            raise IncorrectLookupParameters(value)
        newest = BudgetWindow.objects.filter(budget=key).order_by("-pk").values_list("pk", flat=True)[:1_000]
        return Q(windows__overlap=list(newest))


@admin.register(BudgetReservation)
class BudgetReservationAdmin(KeysetAdmin):
    """Calls that drew on budgets, read-only, newest first."""

    query_budget = 12

    list_display = ("id", "display_status", "user", "turn", "purpose", "route", "reserved", "settled", "created")
    list_display_links = ("id",)
    list_filter = (ReservationStatusFilter, UserFilter, DrawsOnFilter, age_filter("created_at"))
    list_tabs = (
        ListTab("All", {}),
        ListTab("Open", {"state": "open"}),
        ListTab("Waiting", {"state": "waiting"}),
        ListTab("Unconfirmed", {"state": "unconfirmed"}),
    )
    list_empty_words = "No call has drawn on a budget."
    search_ids = ("turn_id",)
    looks_back = 100_000
    search_help_text = "The id of a turn. Filters look at the newest 100,000 calls."
    fields = (
        "display_status", "user", "turn", "session", "step", "purpose", "route", "reserved", "settled",
        "input_tokens", "output_tokens", "utility_call_id", "agent_id", "api_key_id", "epoch", "created", "expires_at",
        "settled_at", "id",
    )  # fmt: skip

    def complete(self, request: HttpRequest, rows: Sequence[Any]) -> None:  # noqa: ARG002
        add_usernames(rows)

    @admin.display(description="status")
    def display_status(self, row: BudgetReservation) -> SafeString:
        return badge(row.status, _LEVELS.get(row.status, ""))

    @admin.display(description="user")
    def user(self, row: Any) -> SafeString | str:
        return _user_link(row)

    @admin.display(description="turn")
    def turn(self, row: BudgetReservation) -> SafeString | str:
        return _turn_link(row.turn_id)

    @admin.display(description="session")
    def session(self, row: BudgetReservation) -> SafeString | str:
        if row.agent_session_id is None:
            return NOTHING
        address = reverse("admin:agents_agentsession_change", args=[row.agent_session_id])
        return format_html('<a class="bs-link" href="{}">{}</a>', address, row.agent_session_id)

    @admin.display(description="reserved")
    def reserved(self, row: BudgetReservation) -> str:
        return _amounts(row.usd, row.tokens)

    @admin.display(description="used")
    def settled(self, row: BudgetReservation) -> str:
        if row.settled_usd is None or row.settled_tokens is None:
            return NOTHING
        return _amounts(row.settled_usd, row.settled_tokens)

    @admin.display(description="at (UTC)")
    def created(self, row: BudgetReservation) -> SafeString | str:
        return format_moment(row.created_at)


class DifferenceKindFilter(ChoiceFilter):
    """By what differs."""

    title, parameter_name, column = "what differs", "kind", "kind"
    values = tuple(kind.value for kind in DifferenceKind)


class ReviewedFilter(FieldFilter):
    """By whether somebody knows of it."""

    title, parameter_name = "reviewed", "reviewed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("no", "nobody has reviewed it"), ("yes", "reviewed")]

    def matching(self, value: str) -> Q:
        return Q(reviewed_at__isnull=require_choice(value, ["no", "yes"]) == "no")


@admin.register(BudgetDifference)
class BudgetDifferenceAdmin(KeysetAdmin):
    """Where the ledger differs from the calls that it is about, and a button for whoever knows of it."""

    query_budget = 11

    list_display = ("what", "expected_amount", "actual_amount", "subject", "user", "created", "reviewed")
    list_display_links = ("what",)
    list_select_related = ("reviewed_by",)
    list_filter = (DifferenceKindFilter, ReviewedFilter)
    list_tabs = (ListTab("To review", {"reviewed": "no"}), ListTab("All", {}))
    list_empty_words = "The ledger agrees with all calls."
    search_ids = ("turn_id",)
    search_help_text = "The id of a turn."
    fields = (
        "what", "unit", "expected_amount", "actual_amount", "subject", "user", "step", "utility_call_id", "window_id",
        "created", "checked_at", "reviewed", "id",
    )  # fmt: skip
    actions_detail = ("review",)

    def complete(self, request: HttpRequest, rows: Sequence[Any]) -> None:  # noqa: ARG002
        add_usernames(rows)

    @admin.display(description="what differs")
    def what(self, row: BudgetDifference) -> str:
        return _KINDS.get(row.kind, row.kind)

    @admin.display(description="by its rows")
    def expected_amount(self, row: BudgetDifference) -> str:
        return _amount(row.expected, row.unit)

    @admin.display(description="booked")
    def actual_amount(self, row: BudgetDifference) -> str:
        return _amount(row.actual, row.unit)

    @admin.display(description="where")
    def subject(self, row: BudgetDifference) -> SafeString | str:
        """The row that is to be looked at."""
        if row.reservation_id is not None:
            address = reverse("admin:agents_budgetreservation_change", args=[row.reservation_id])
            return format_html('<a class="bs-link" href="{}">reservation {}</a>', address, row.reservation_id)
        if row.turn_id is not None:
            return _turn_link(row.turn_id)
        if row.window_id is not None:
            window = BudgetWindow.objects.filter(pk=row.window_id).values_list("budget_id", flat=True).first()
            if window is None:
                return f"window {row.window_id}"
            address = f"{reverse('admin:agents_budgetreservation_changelist')}?budget={window}"
            return format_html('<a class="bs-link" href="{}">calls of window {}</a>', address, row.window_id)
        return f"call for side work {row.utility_call_id}"

    @admin.display(description="user")
    def user(self, row: Any) -> SafeString | str:
        return _user_link(row) if row.user_id is not None else NOTHING

    @admin.display(description="since (UTC)")
    def created(self, row: BudgetDifference) -> SafeString | str:
        return format_moment(row.created_at)

    @admin.display(description="reviewed")
    def reviewed(self, row: BudgetDifference) -> SafeString | str:
        if row.reviewed_at is None:
            return badge("no", "bad")
        return format_html("{} by {}", format_moment(row.reviewed_at), row.reviewed_by or "somebody")

    def has_review_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_BUDGET)

    @action(description="I know of it", url_path="review", permissions=["review"], icon="check_circle")
    def review(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title="Do you know why it differs?",
            message="Nobody is alarmed of this difference any more, unless it changes. Nothing is booked anew.",
            yes="Yes, I know of it",
            back=row_url(row),
        )
        if confirmation is not None:
            return confirmation
        try:
            review_difference(user_actor(request.user), row.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, "The difference is reviewed.")
        return HttpResponseRedirect(row_url(row))


def add_usernames(rows: Sequence[Any]) -> None:
    """Give each row the `username` of its `user_id`, with one query; "" for a user who is gone."""
    names = dict(User.objects.filter(pk__in={row.user_id for row in rows}).values_list("pk", "username"))
    for row in rows:
        row.username = names.get(row.user_id, "")


def _user_link(row: Any) -> SafeString | str:
    if not hasattr(row, "username"):
        add_usernames([row])
    if not row.username:
        return NOTHING
    address = f"{reverse('admin:agents_turn_changelist')}?user={row.username}"
    return format_html('<a class="bs-link" href="{}">{}</a>', address, row.username)


def _turn_link(turn_id: UUID | None) -> SafeString | str:
    if turn_id is None:
        return NOTHING
    address = reverse("admin:agents_turn_change", args=[turn_id])
    return format_html('<a class="bs-link" href="{}">{}</a>', address, str(turn_id)[-8:])


def _amounts(usd: Decimal, tokens: int) -> str:
    return f"{format_money(usd)}, {tokens:,} tokens"


def _amount(amount: Decimal, unit: str) -> str:
    return f"{amount:,.0f} tokens" if unit == BudgetUnit.TOKENS else format_money(amount)
