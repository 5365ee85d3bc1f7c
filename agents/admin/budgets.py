"""Budgets in the console: the list, the page of one with its windows, and the buttons that override and delete it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import DecimalField, F, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.models import ApiKey, User
from accounts.permissions import user_actor
from agents.budgets.budget_changes import (
    MAX_REASON,
    BudgetTarget,
    clear_override,
    delete_budget,
    override_budget,
    set_budget,
)
from agents.domain.budgets import WARN_PERCENT, BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Agent, Budget, BudgetWindow
from agents.permissions.role_permissions import ADD_BUDGET, CHANGE_BUDGET, DELETE_BUDGET, OVERRIDE_BUDGET
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.field_filters import ChoiceFilter
from console.formatting import NOTHING, badge, format_moment, format_second
from console.views import console_page, row_url
from console.widgets import Select, TextInput, action
from foundation.clock import now
from foundation.errors import BandstandError, InvalidInput

_SUBJECT_LABELS: Final = {
    BudgetSubject.EVERYBODY: "everybody together",
    BudgetSubject.EACH_USER: "each user, who has no budget of their own",
    BudgetSubject.USER: "one user",
    BudgetSubject.GROUP: "a group: its members together",
    BudgetSubject.AGENT: "an agent: all who use it together",
    BudgetSubject.KEY: "an API key",
}
_DURATIONS: Final = [
    (3_600, "1 hour"),
    (28_800, "8 hours"),
    (86_400, "1 day"),
    (604_800, "1 week"),
    (2_592_000, "30 days"),
]
_RECENT_WINDOWS: Final = 12
_TOP_USERS: Final = 10
_AMOUNT: Final = DecimalField(max_digits=20, decimal_places=8)


class BudgetForm(AuditedFormMixin, forms.Form):
    """A budget. Whom it is for, its unit and its period are chosen once."""

    subject = forms.ChoiceField(label="For", choices=list(_SUBJECT_LABELS.items()), widget=Select)
    name = forms.CharField(
        label="Which one",
        required=False,
        max_length=200,
        widget=TextInput,
        help_text="The name of the user or the group, the slug of the agent, or the prefix of the API key. Empty for "
        "everybody and for each user.",
    )
    unit = forms.ChoiceField(
        label="Counts", choices=[("usd", "US dollars"), ("tokens", "tokens, read and written")], widget=Select
    )
    period = forms.ChoiceField(
        label="Begins anew each",
        choices=[(period.value, period.value) for period in BudgetPeriod],
        initial=BudgetPeriod.DAY.value,
        widget=Select,
        help_text="By the calendar in UTC; weeks begin on Monday.",
    )
    amount = forms.DecimalField(label="Amount", widget=TextInput({"inputmode": "decimal"}))
    warn_percent = forms.IntegerField(
        label="Warn at, percent",
        min_value=0,
        max_value=100,
        initial=WARN_PERCENT,
        widget=TextInput({"inputmode": "numeric"}),
        help_text="The people whose calls draw on it are told once when so much is used; 0: never.",
    )

    def __init__(self, data: Any = None, *, budget: Budget | None = None) -> None:
        super().__init__(data, initial=None if budget is None else _values(budget))
        self.budget = budget
        if budget is not None:
            for name in ("subject", "name", "unit", "period"):
                del self.fields[name]
            self.fields["amount"].help_text = "US dollars." if budget.unit == BudgetUnit.USD else "Tokens."
        self.remember(budget)

    def stored_row(self) -> Budget | None:
        if self.budget is None:
            return None
        return Budget.objects.select_for_update(no_key=True).get(pk=self.budget.pk)

    def form_values(self, row: Budget) -> dict[str, Any]:
        return _values(row)

    def clean(self) -> dict[str, Any]:
        self.refuse_stale()
        return self.cleaned_data

    def target(self) -> BudgetTarget:
        """Whom it is for. Raises `InvalidInput` with a pointer to the name."""
        if self.budget is not None:
            row = self.budget
            return BudgetTarget(BudgetSubject(row.subject), row.user_id, row.group_id, row.agent_id, row.api_key_id)
        subject, name = BudgetSubject(self.cleaned_data["subject"]), self.cleaned_data["name"].strip()
        if subject in (BudgetSubject.EVERYBODY, BudgetSubject.EACH_USER):
            if name:
                raise InvalidInput("Leave this empty for everybody and for each user.", pointer="/name")
            return BudgetTarget(subject)
        column, rows = _rows_named(subject, name)
        key = rows.values_list("pk", flat=True).first()
        if key is None:
            raise InvalidInput(f"There is no {subject.label} called {name!r}.", pointer="/name")
        return BudgetTarget(subject, **{column: key})


def _rows_named(subject: BudgetSubject, name: str) -> tuple[str, QuerySet[Any]]:
    match subject:
        case BudgetSubject.USER:
            return "user_id", User.objects.filter(username=name)
        case BudgetSubject.GROUP:
            return "group_id", Group.objects.filter(name=name)
        case BudgetSubject.AGENT:
            return "agent_id", Agent.objects.filter(slug=name)
        case _:
            return "api_key_id", ApiKey.objects.filter(prefix=name)


def _values(budget: Budget) -> dict[str, Any]:
    return {"amount": budget.amount.normalize(), "warn_percent": budget.warn_percent}


class OverrideForm(forms.Form):
    """Another amount for a time."""

    amount = forms.DecimalField(label="Amount until then", widget=TextInput({"inputmode": "decimal"}))
    seconds = forms.TypedChoiceField(label="For", choices=_DURATIONS, coerce=int, widget=Select, initial=86_400)
    reason = forms.CharField(label="Why", max_length=MAX_REASON, widget=TextInput, help_text="It is recorded.")


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

    list_display = ("whom", "display_amount", "period", "used", "reserved", "left", "begins_anew", "display_status")
    list_display_links = ("whom",)
    list_filter = (SubjectFilter, UnitFilter, PeriodFilter)
    list_filter_submit = True
    list_select_related = ("user", "group", "agent", "api_key")
    list_empty_words = "There is no budget: nothing limits what models may cost."
    ordering = ("subject", "unit", "period", "id")
    sortable_by = ()
    search_fields = ("user__username", "group__name", "agent__slug", "api_key__prefix")
    search_help_text = "A user, a group, an agent or the prefix of an API key."
    actions = ()
    actions_detail = ("override", "end_override", "remove")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        present = BudgetWindow.objects.filter(budget=OuterRef("pk"), starts_at__lte=Now(), ends_at__gt=Now()).order_by(
            -(F("spent") + F("reserved"))
        )
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(
            **{
                f"now_{name}": Coalesce(Subquery(present.values(name)[:1]), Value(Decimal(0)), output_field=_AMOUNT)
                for name in ("spent", "reserved", "overdraft")
            },
            now_ends_at=Subquery(present.values("ends_at")[:1]),
        )
        return annotated

    @admin.display(description="for")
    def whom(self, budget: Budget) -> str:
        return whom(budget)

    @admin.display(description="amount")
    def display_amount(self, budget: Budget) -> str:
        return format_amount(_amount_now(budget), budget.unit)

    @admin.display(description="spent")
    def used(self, budget: Any) -> SafeString:
        amount = _amount_now(budget)
        percent = min(100, int(budget.now_spent * 100 / amount)) if amount else 100
        return format_html(
            '<span class="bs-budget">{} <progress class="bs-budget__bar" max="100" value="{}" aria-label="{}">'
            "</progress></span>",
            format_amount(budget.now_spent, budget.unit),
            percent,
            f"{percent} percent used",
        )

    @admin.display(description="reserved")
    def reserved(self, budget: Any) -> str:
        return format_amount(budget.now_reserved, budget.unit) if budget.now_reserved else NOTHING

    @admin.display(description="left")
    def left(self, budget: Any) -> str:
        rest = max(Decimal(0), _amount_now(budget) - budget.now_spent - budget.now_reserved)
        return format_amount(rest, budget.unit)

    @admin.display(description="begins anew (UTC)")
    def begins_anew(self, budget: Any) -> str:
        return format_second(budget.now_ends_at)[:16] if budget.now_ends_at else NOTHING

    @admin.display(description="status")
    def display_status(self, budget: Any) -> SafeString:
        return budget_state(budget)

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
        return budget is None or budget.override_until is not None

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
            messages.success(request, f"The budget for {whom(saved)} is saved. It holds within a second.")
            return HttpResponseRedirect(row_url(saved))
        return console_page(
            request,
            self,
            "console/budget.html",
            title=f"Budget for {whom(budget)}" if budget else "Add budget",
            opts=self.opts if budget else None,
            original=budget,
            budget=budget,
            form=form,
            **(_budget_context(request, self, budget) if budget else {}),
        )

    @action(description="Override", permissions=["override"], url_path="override", icon="more_time")
    def override(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is None:
            return self.redirect_missing(request, object_id)
        form = OverrideForm(confirmed_data(request), initial={"amount": (budget.amount * 2).normalize()})

        def ask() -> HttpResponse | None:
            return confirmation_page(
                request,
                self,
                title=f"Override the budget for {whom(budget)}",
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
        messages.success(request, f"The override holds until {format_second(until)[:16]} UTC.")
        return HttpResponseRedirect(row_url(budget))

    @action(description="End the override", permissions=["end"], url_path="end-override", icon="undo")
    def end_override(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.get_object(request, object_id)
        if budget is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"End the override of the budget for {whom(budget)}?",
            message=f"Its own amount, {format_amount(budget.amount, budget.unit)}, holds again within a second.",
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
            title=f"Delete the budget for {whom(budget)}",
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
            form.target(),
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


def whom(budget: Budget) -> str:
    """Whom a budget is for, in words."""
    subject = BudgetSubject(budget.subject)
    match subject:
        case BudgetSubject.USER:
            return f"user {budget.user}"
        case BudgetSubject.GROUP:
            return f"group {budget.group}"
        case BudgetSubject.AGENT:
            return f"agent {budget.agent}"
        case BudgetSubject.KEY:
            assert budget.api_key is not None, "a constraint of the row"
            return f"API key {budget.api_key.prefix}"
    return subject.label


def format_amount(amount: Decimal, unit: str) -> str:
    """Dollars with cents, and as many more places as small amounts have; or whole tokens."""
    if unit == BudgetUnit.TOKENS:
        return f"{amount:,.0f} tokens"
    places = 2 if amount == 0 or amount >= 1 else 4
    return f"${amount:,.{places}f}"


def budget_state(budget: Any) -> SafeString:
    """Whether it is used up, nearly, overridden or overdrawn, as a badge."""
    amount = _amount_now(budget)
    if budget.now_overdraft:
        return badge("overdrawn", "bad")
    if budget.now_spent >= amount:
        return badge("used up", "bad")
    if budget.override_until is not None and budget.override_until > now():
        return badge(f"overridden until {format_second(budget.override_until)[:16]} UTC", "warn")
    if budget.warn_percent and budget.now_spent * 100 >= amount * budget.warn_percent:
        return badge("nearly used up", "warn")
    return badge("in bounds", "good")


def _amount_now(budget: Budget) -> Decimal:
    if budget.override_until is not None and budget.override_until > now() and budget.override_amount is not None:
        return budget.override_amount
    return budget.amount


def _budget_context(request: HttpRequest, model_admin: BudgetAdmin, budget: Any) -> dict[str, Any]:
    facts = [
        ("Amount", f"{format_amount(budget.amount, budget.unit)} per {budget.period}"),
        ("Spent", model_admin.used(budget)),
        ("Reserved by calls under way", model_admin.reserved(budget)),
        ("Left", model_admin.left(budget)),
        ("Begins anew (UTC)", model_admin.begins_anew(budget)),
    ]
    if budget.override_until is not None and budget.override_until > now():
        override = f"{format_amount(budget.override_amount, budget.unit)} until "
        facts.insert(
            1, ("Override", f"{override}{format_second(budget.override_until)[:16]} UTC: {budget.override_reason}")
        )
    if budget.now_overdraft:
        facts.append(("Billed beyond what was reserved", format_amount(budget.now_overdraft, budget.unit)))
    return {
        "state": budget_state(budget),
        "facts": facts,
        "windows": [_window_cells(window) for window in _windows(budget)],
        "users": [(user, format_amount(spent, budget.unit)) for user, spent in _top_users(budget)],
        "may_override": request.user.has_perm(OVERRIDE_BUDGET),
        "may_end": request.user.has_perm(OVERRIDE_BUDGET) and budget.override_until is not None,
        "may_remove": request.user.has_perm(DELETE_BUDGET),
    }


def _windows(budget: Budget) -> QuerySet[BudgetWindow]:
    """The newest windows; of a budget for each user those of the user who used most come first in each."""
    return budget.windows.order_by("-starts_at", "-spent", "pk")[:_RECENT_WINDOWS]


def _window_cells(window: BudgetWindow) -> tuple[SafeString | str, ...]:
    amounts = (window.spent, window.reserved, window.overdraft)
    return (format_moment(window.starts_at), *(format_amount(amount, window.unit) for amount in amounts))


def _top_users(budget: Budget) -> list[tuple[str, Decimal]]:
    """The users who have used most in the present window of a budget for each user."""
    if budget.subject != BudgetSubject.EACH_USER:
        return []
    rows = budget.windows.filter(starts_at__lte=Now(), ends_at__gt=Now()).order_by("-spent")[:_TOP_USERS]
    spent = {window.counted_user: window.spent for window in rows}
    names = dict(User.objects.filter(pk__in=spent).values_list("pk", "username"))
    return [(names.get(user, "deleted"), amount) for user, amount in spent.items()]
