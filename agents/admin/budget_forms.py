"""The forms of budgets: one for the budget, one for an override."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django import forms
from django.contrib.auth.models import Group
from django.db.models import QuerySet

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.models import ApiKey, User
from agents.budgets.budget_changes import MAX_REASON, BudgetTarget
from agents.domain.budgets import WARN_PERCENT, BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Agent, Budget
from console.widgets import Select, TextInput
from foundation.errors import InvalidInput

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
# Names that the browser offers, of each kind.
_SUGGESTIONS: Final = 100


class BudgetForm(AuditedFormMixin, forms.Form):
    """A budget. Whom it is for, its unit and its period are chosen once."""

    subject = forms.ChoiceField(label="For", choices=list(_SUBJECT_LABELS.items()), widget=Select)
    name = forms.CharField(
        label="Which one",
        required=False,
        max_length=200,
        widget=TextInput({"list": "budget-names"}),
        help_text="The name of the user, the group or the agent, or the prefix of the API key. Empty for everybody "
        "and for each user.",
    )
    amount = forms.DecimalField(label="Amount", min_value=0, widget=TextInput({"inputmode": "decimal"}))
    unit = forms.ChoiceField(
        label="Of", choices=[("usd", "US dollars"), ("tokens", "tokens, read and written")], widget=Select
    )
    period = forms.ChoiceField(
        label="Per",
        choices=[(period.value, period.value) for period in BudgetPeriod],
        initial=BudgetPeriod.DAY.value,
        widget=Select,
        help_text="By the calendar in UTC; weeks begin on Monday.",
    )
    warn_percent = forms.IntegerField(
        label="Warn at, percent",
        min_value=0,
        max_value=100,
        initial=WARN_PERCENT,
        widget=TextInput({"inputmode": "numeric"}),
        help_text="The people whose calls draw on it are warned once when so much is used; 0: never.",
    )

    def __init__(self, data: Any = None, *, budget: Budget | None = None) -> None:
        super().__init__(data, initial=None if budget is None else _values(budget))
        self.budget = budget
        self._target: BudgetTarget | None = None
        if budget is not None:
            for name in ("subject", "name", "unit", "period"):
                del self.fields[name]
            unit = "US dollars" if budget.unit == BudgetUnit.USD else "Tokens"
            self.fields["amount"].help_text = f"{unit} per {budget.period}."
        self.remember(budget)

    def stored_row(self) -> Budget | None:
        # Not locked: `set_budget` compares the version once more, under the lock that changes of budgets take first.
        return None if self.budget is None else Budget.objects.get(pk=self.budget.pk)

    def form_values(self, row: Budget) -> dict[str, Any]:
        return _values(row)

    def clean(self) -> dict[str, Any]:
        try:
            self._target = self._read_target()
        except InvalidInput as error:
            self.add_error("name", error.detail)
        self.refuse_stale()
        return self.cleaned_data

    @property
    def target(self) -> BudgetTarget:
        """Whom a valid form is for."""
        assert self._target is not None, "the form is invalid"
        return self._target

    @property
    def kind(self) -> list[forms.BoundField]:
        """The fields that stand beside each other."""
        return [self[name] for name in ("amount", "unit", "period") if name in self.fields]

    def _read_target(self) -> BudgetTarget | None:
        if self.budget is not None:
            row = self.budget
            return BudgetTarget(BudgetSubject(row.subject), row.user_id, row.group_id, row.agent_id, row.api_key_id)
        if not {"subject", "name"} <= self.cleaned_data.keys():
            return None
        subject, name = BudgetSubject(self.cleaned_data["subject"]), self.cleaned_data["name"].strip()
        if subject in (BudgetSubject.EVERYBODY, BudgetSubject.EACH_USER):
            if name:
                raise InvalidInput("Leave this empty for everybody and for each user.")
            return BudgetTarget(subject)
        column, rows = _rows_named(subject, name)
        keys = list(rows.values_list("pk", flat=True)[:2])
        if not keys:
            raise InvalidInput(f"There is no {subject.label} called {name!r}." if name else f"Which {subject.label}?")
        if len(keys) > 1:
            unique = "slug" if subject is BudgetSubject.AGENT else "prefix"
            raise InvalidInput(f"Several are called {name!r}: write the {unique}.")
        return BudgetTarget(subject, **{column: keys[0]})

    def suggestions(self) -> Iterator[tuple[str, str]]:
        """Names for *Which one*, each with what it is the name of. Four queries."""
        for name in Group.objects.order_by("name").values_list("name", flat=True)[:_SUGGESTIONS]:
            yield name, "group"
        agents = Agent.objects.filter(archived_at=None).order_by("name").values_list("slug", "name")
        for slug, name in agents[:_SUGGESTIONS]:
            yield slug, f"agent {name}"
        keys = ApiKey.objects.filter(revoked_at=None).order_by("name", "prefix")
        for prefix, name, user in keys.values_list("prefix", "name", "user__username")[:_SUGGESTIONS]:
            yield prefix, f"API key {name} of {user}"
        users = User.objects.filter(is_active=True).order_by("username")
        for name in users.values_list("username", flat=True)[:_SUGGESTIONS]:
            yield name, "user"


class BudgetOverrideForm(forms.Form):
    """Another amount for a time."""

    amount = forms.DecimalField(label="Amount until then", min_value=0, widget=TextInput({"inputmode": "decimal"}))
    seconds = forms.TypedChoiceField(label="For", choices=_DURATIONS, coerce=int, widget=Select, initial=86_400)
    reason = forms.CharField(label="Why", max_length=MAX_REASON, widget=TextInput, help_text="It is recorded.")

    def __init__(self, data: Any, *, budget: Budget) -> None:
        super().__init__(data, initial={"amount": _plain(budget.amount * 2)})
        unit = "US dollars" if budget.unit == BudgetUnit.USD else "Tokens"
        self.fields["amount"].help_text = f"{unit} per {budget.period}, in place of {_plain(budget.amount)}."


def _rows_named(subject: BudgetSubject, name: str) -> tuple[str, QuerySet[Any]]:
    match subject:
        case BudgetSubject.USER:
            return "user_id", User.objects.filter(username=name)
        case BudgetSubject.GROUP:
            return "group_id", Group.objects.filter(name=name)
        case BudgetSubject.AGENT:
            agents = Agent.objects.filter(slug=name)
            return "agent_id", agents if agents.exists() else Agent.objects.filter(name=name)
        case _:
            keys = ApiKey.objects.filter(prefix=name)
            return "api_key_id", keys if keys.exists() else ApiKey.objects.filter(name=name, revoked_at=None)


def _values(budget: Budget) -> dict[str, Any]:
    return {"amount": _plain(budget.amount), "warn_percent": budget.warn_percent}


def _plain(amount: Any) -> str:
    """An amount without zeros at its end: "5", "0.25"."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
