"""Budgets in the console: the list, the page of one with its windows, and the buttons that override and delete it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.admin.budget_forms import BudgetForm, BudgetOverrideForm
from agents.admin.budget_labels import (
    amount_now,
    format_amount,
    format_minute,
    format_number,
    format_per_period,
    is_overridden,
    present_window,
    state_badges,
    usage_bar,
    with_present_window,
    worst_badge,
)
from agents.budgets.budget_changes import clear_override, delete_budget, override_budget, set_budget
from agents.budgets.budget_spend import COUNTED_CALLS, WindowTotals, top_users, window_totals
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Budget
from agents.permissions.role_permissions import ADD_BUDGET, CHANGE_BUDGET, DELETE_BUDGET, OVERRIDE_BUDGET
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.field_filters import ChoiceFilter
from console.formatting import NOTHING, time_until
from console.views import NamedRow, console_page, row_url
from console.widgets import action
from foundation.clock import now
from foundation.errors import BandstandError, InvalidInput

_RECENT_WINDOWS: Final = 12
_TOP_USERS: Final = 10


class SubjectFilter(ChoiceFilter):
    title, parameter_name, column = "for", "subject", "subject"
    values = tuple(subject.value for subject in BudgetSubject)


class UnitFilter(ChoiceFilter):
    title, parameter_name, column = "unit", "unit", "unit"
    values = tuple(unit.value for unit in BudgetUnit)


class PeriodFilter(ChoiceFilter):
    title, parameter_name, column = "period", "period", "period"
    values = tuple(period.value for period in BudgetPeriod)


@admin.register(Budget)
class BudgetAdmin(ConsoleAdmin):
    """Budgets with what is spent of them now; the page of one is its form."""

    query_budget = 7

    list_display = ("display_subject", "display_amount", "spent", "reserved", "left", "resets", "display_status")
    list_display_links = ("display_subject",)
    list_filter = (SubjectFilter, UnitFilter, PeriodFilter)
    list_filter_submit = True
    list_select_related = ("user", "group", "agent", "api_key")
    list_empty_words = "There is no budget: nothing limits what models may cost."
    ordering = ("subject", "unit", "period", "id")
    sortable_by = ()
    search_fields = ("user__username", "group__name", "agent__slug", "agent__name", "api_key__prefix", "api_key__name")
    search_help_text = "A user, a group, an agent, or the name or prefix of an API key."
    actions = ()
    actions_detail = ("override", "end_override", "remove")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_present_window(super().get_queryset(request))

    @admin.display(description="for")
    def display_subject(self, budget: Budget) -> str:
        return budget.describe_subject()

    @admin.display(description="amount")
    def display_amount(self, budget: Budget) -> str:
        return format_per_period(amount_now(budget), budget)

    @admin.display(description="spent")
    def spent(self, budget: Any) -> SafeString:
        return usage_bar(budget)

    @admin.display(description="reserved")
    def reserved(self, budget: Any) -> str:
        amount = present_window(budget).reserved
        return format_number(amount, budget.unit) if amount else NOTHING

    @admin.display(description="left")
    def left(self, budget: Any) -> str:
        return format_number(present_window(budget).left, budget.unit)

    @admin.display(description="begins anew")
    def resets(self, budget: Any) -> SafeString:
        return time_until(budget.now_ends_at)

    @admin.display(description="status")
    def display_status(self, budget: Any) -> SafeString:
        return worst_badge(budget)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: a budget is deleted by its button, which calls the verb."""
        return False

    def has_override_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(OVERRIDE_BUDGET)

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may end the override of this budget, and there is one."""
        if not request.user.has_perm(OVERRIDE_BUDGET):
            return False
        budget = self.get_object(request, str(object_id)) if object_id is not None else None
        return budget is None or is_overridden(budget)

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(DELETE_BUDGET)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The page of a budget, or of a new one."""
        if object_id is None:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return self._page(request, None)
        budget = self.get_object(request, object_id)
        if budget is None:
            return self.redirect_missing(request, object_id)
        if not self.has_view_permission(request, budget):
            raise PermissionDenied
        return self._page(request, budget)

    def _page(self, request: HttpRequest, budget: Any) -> HttpResponse:
        may_edit = request.user.has_perm(ADD_BUDGET if budget is None else CHANGE_BUDGET)
        if request.method == "POST" and not may_edit:
            raise PermissionDenied
        form = BudgetForm(request.POST if request.method == "POST" else None, budget=budget) if may_edit else None
        if form is not None and form.is_bound and (saved := _save(request, form)) is not None:
            messages.success(request, f"The budget for {saved.describe_subject()} is saved. It holds within a second.")
            return HttpResponseRedirect(row_url(saved))
        return console_page(
            request,
            self,
            "console/budget.html",
            title=f"Budget for {budget.describe_subject()}" if budget else "Add budget",
            opts=self.opts if budget else None,
            original=NamedRow(budget, budget.describe_subject()) if budget else None,
            budget=budget,
            form=form,
            **(_budget_context(request, budget) if budget else {}),
        )

    @action(description="Override", permissions=["override"], url_path="override", icon="more_time")
    def override(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is None:
            return self.redirect_missing(request, object_id)
        form = BudgetOverrideForm(confirmed_data(request), budget=budget)

        def ask() -> HttpResponse | None:
            return confirmation_page(
                request,
                self,
                title=f"Override the budget for {budget.describe_subject()}",
                message="The other amount holds within a second, for the window that runs and those that begin before "
                "its end; it ends by itself. Turns that wait for money go on. What is spent stays spent.",
                yes="Override it",
                back=row_url(budget),
                form=form,
            )

        if (page := ask()) is not None:
            return page
        data = form.cleaned_data
        until = now() + timedelta(seconds=data["seconds"])
        try:
            override_budget(
                user_actor(request.user), budget.pk, amount=data["amount"], until=until, reason=data["reason"]
            )
        except BandstandError as error:
            form.add_error(None, error.detail)
            return ask() or HttpResponseRedirect(row_url(budget))
        messages.success(request, f"The override holds until {format_minute(until)} UTC.")
        return HttpResponseRedirect(row_url(budget))

    @action(description="End the override", permissions=["end"], url_path="end-override", icon="undo")
    def end_override(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"End the override of the budget for {budget.describe_subject()}?",
            message=f"Its own amount, {format_per_period(budget.amount, budget)}, holds again within a second.",
            yes="Yes, end it",
            back=row_url(budget),
        )
        if confirmation is not None:
            return confirmation
        try:
            clear_override(user_actor(request.user), budget.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, "The override has ended.")
        return HttpResponseRedirect(row_url(budget))

    @action(description="Delete", permissions=["remove"], url_path="remove", icon="delete")
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Delete the budget for {budget.describe_subject()}",
            message="Nothing limits these calls any more, unless another budget does. What was counted in its windows "
            "is deleted with it; the ledger stays.",
            yes="Delete",
            back=row_url(budget),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            delete_budget(user_actor(request.user), budget.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(budget))
        messages.success(request, "The budget is deleted.")
        return HttpResponseRedirect(reverse("admin:agents_budget_changelist"))


@transaction.atomic
def _save(request: HttpRequest, form: BudgetForm) -> Budget | None:
    """The saved budget; None, with the error at its field, where it is refused."""
    if not form.is_valid():
        return None
    data, row = form.cleaned_data, form.budget
    try:
        return set_budget(
            user_actor(request.user),
            form.target,
            unit=BudgetUnit(row.unit if row else data["unit"]),
            period=BudgetPeriod(row.period if row else data["period"]),
            amount=data["amount"],
            warn_percent=data["warn_percent"],
            version=data["version"] if row else 0,
        )
    except InvalidInput as error:
        name = (error.pointer or "").removeprefix("/")
        form.add_error(name if name in form.fields else None, error.detail)
    except BandstandError as error:
        detail = "There is such a budget already: change that one." if row is None else error.detail
        form.add_error(None, detail)
    return None


def _budget_context(request: HttpRequest, budget: Any) -> dict[str, Any]:
    window = present_window(budget)
    facts: list[tuple[str, SafeString | str]] = [("Amount", format_per_period(budget.amount, budget))]
    if is_overridden(budget):
        until = f"{format_amount(window.amount, budget.unit)} until {format_minute(budget.override_until)} UTC"
        facts.append(("Override", f"{until}: {budget.override_reason}"))
    facts += [
        ("Spent", usage_bar(budget)),
        ("Reserved by calls under way", format_amount(window.reserved, budget.unit)),
        ("Left", format_amount(window.left, budget.unit)),
        ("Begins anew (UTC)", format_minute(budget.now_ends_at)),
    ]
    if window.overdraft:
        facts.append(("Billed beyond what was reserved", format_amount(window.overdraft, budget.unit)))
    return {
        "state": state_badges(budget),
        "facts": facts,
        "windows": [_window_cells(budget, totals) for totals in window_totals(budget, limit=_RECENT_WINDOWS)],
        "counted_calls": None if budget.subject == BudgetSubject.EACH_USER else f"{COUNTED_CALLS:,}",
        "users": [
            (name, key, format_amount(spent, budget.unit)) for name, key, spent in top_users(budget, limit=_TOP_USERS)
        ],
        "may_override": request.user.has_perm(OVERRIDE_BUDGET),
        "may_end": request.user.has_perm(OVERRIDE_BUDGET) and is_overridden(budget),
        "may_remove": request.user.has_perm(DELETE_BUDGET),
        "may_see_users": request.user.has_perm("accounts.view_user"),
    }


def _window_cells(budget: Budget, totals: WindowTotals) -> list[str]:
    amounts = {"spent": totals.spent, "reserved": totals.reserved, "overdraft": totals.overdraft}
    cells = [f"{name} {format_amount(one, budget.unit)}" for name, one in amounts.items() if one or name == "spent"]
    if budget.subject == BudgetSubject.EACH_USER:
        cells.insert(0, "1 user" if totals.users == 1 else f"{totals.users:,} users")
    return [format_minute(totals.starts_at), ", ".join(cells)]
