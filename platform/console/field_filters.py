"""The kit of list filters: one form field each, values validated strictly, and a label for the value in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst

if TYPE_CHECKING:
    from django.forms import Select, TextInput
else:
    from unfold.widgets import UnfoldAdminSelectWidget as Select
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput


class FieldFilter(admin.SimpleListFilter):
    """A filter with one form field. The list needs `list_filter_submit`."""

    template = "unfold/filters/filters_field.html"
    # Its value is words of conversations, which the audit trail must not hold.
    is_private = False

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.model = model

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        return ()

    def has_output(self) -> bool:
        return True

    def field(self) -> forms.Field:
        return forms.ChoiceField(choices=[("", "All"), *self.lookup_choices], required=False, widget=Select())

    def choices(self, changelist: Any) -> Iterator[Any]:  # noqa: ARG002
        name, field = str(self.parameter_name), self.field()
        form = forms.Form(data={name: self.field_value()}, auto_id="filter_%s")
        field.label = capfirst(str(self.title))
        form.fields[name] = field
        yield {"form": form}

    def selected(self) -> str:
        """The value in the query string, stripped; "" if the filter is not in use."""
        return (self.value() or "").strip()

    def field_value(self) -> str:
        """The value as the form field takes it."""
        return self.selected()

    def value_label(self) -> str:
        """The selected value in words."""
        value = self.selected()
        return str(dict(self.lookup_choices).get(value, value))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        value = self.selected()
        return queryset.filter(self.matching(value)) if value else queryset

    def matching(self, value: str) -> Q:
        """The condition for `value`. Raises `IncorrectLookupParameters` for what is no value of this filter."""
        raise NotImplementedError

    def arms(self) -> list[Q]:
        """The condition in parts, each served in list order by an index; empty: not split."""
        return []


class ChoiceFilter(FieldFilter):
    """By one of a closed list of values of one column."""

    column: str
    values: Sequence[str] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        return [(value, value.replace("_", " ")) for value in self.values]

    def matching(self, value: str) -> Q:
        return Q(**{self.column: require_choice(value, [name for name, _ in self.lookup_choices])})


class TextFilter(FieldFilter):
    """By a text that is typed, such as a name."""

    placeholder = "name"

    def field(self) -> forms.Field:
        attributes = {"placeholder": self.placeholder, "autocomplete": "off"}
        return forms.CharField(required=False, widget=TextInput(attrs=attributes))


def require_choice(value: str, allowed: Sequence[str]) -> str:
    """`value`; raises `IncorrectLookupParameters` if it is not among `allowed`."""
    if value not in allowed:
        raise IncorrectLookupParameters(value)
    return value
