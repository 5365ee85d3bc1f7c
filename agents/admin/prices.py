"""What models cost: the prices that owners enter, and below them what each model in use costs now."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.permissions import user_actor
from agents.budgets.model_prices import MAX_PRICE, PriceRates, change_price, create_price, delete_price
from agents.llm.installation_prices import read_installation_prices
from agents.models import ModelPrice
from agents.permissions.role_permissions import DELETE_PRICE
from agents.releases.route_prices import RoutePrice, has_dollar_budget, price_routes, read_live_routes
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page
from console.formatting import NOTHING, badge
from console.views import row_url
from console.widgets import TextInput, action
from foundation.clock import now
from foundation.errors import BandstandError

_RATES: Final = ("input", "cached_input", "cache_write", "output", "per_request")


def _rate(label: str, *, help_text: str = "", required: bool = True, initial: Decimal | None = None) -> Any:
    return forms.DecimalField(
        label=label,
        min_value=0,
        max_value=MAX_PRICE,
        max_digits=12,
        decimal_places=6,
        required=required,
        initial=initial,
        help_text=help_text,
        widget=TextInput({"inputmode": "decimal"}),
    )


class PriceForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    """The form of a price. Its route is named once."""

    route = forms.CharField(
        max_length=200,
        widget=TextInput,
        help_text="As releases name it, such as openai:gpt-5-mini, which also holds for its dated names; openai:* for "
        "all other models there.",
    )
    first_day = forms.DateField(
        label="From", widget=TextInput({"type": "date"}), help_text="From midnight in UTC. It may be a day to come."
    )
    input = _rate("Input", help_text="US dollars per million tokens; 0 is free, which is not the same as unknown.")
    cached_input = _rate("Input from the cache", required=False, help_text="Empty: as other input.")
    cache_write = _rate("Input into the cache", required=False, help_text="Empty: as other input.")
    output = _rate("Output", help_text="US dollars per million tokens; 0 for a model that embeds.")
    per_request = _rate("Per request", required=False, initial=Decimal(0), help_text="US dollars for each call.")

    class Meta:
        model = ModelPrice
        fields = ("route", *_RATES)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._is_new:
            self.initial.setdefault("first_day", now().date().isoformat())
        else:
            self.fields.pop("route", None)
            self.initial = {**self.initial, **_values(self.instance)}
        self.remember(None if self._is_new else self.instance)

    @property
    def _is_new(self) -> bool:
        return bool(self.instance._state.adding)

    def stored_row(self) -> ModelPrice | None:
        return None if self._is_new else ModelPrice.objects.select_for_update(no_key=True).get(pk=self.instance.pk)

    def form_values(self, row: ModelPrice) -> dict[str, Any]:
        return _values(row)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


def _values(row: ModelPrice) -> dict[str, Any]:
    rates = {name: getattr(row, name) for name in _RATES}
    return {
        "first_day": row.valid_from.date().isoformat(),
        **{name: None if rate is None else f"{rate.normalize():f}" for name, rate in rates.items()},
    }


@admin.register(ModelPrice)
class ModelPriceAdmin(ConsoleAdmin):
    """Prices by route, the newest first."""

    query_budget = 10

    form = PriceForm
    change_form_template = "console/versioned_form.html"
    list_after_template = "console/prices_in_use.html"
    list_display = ("route", "price_input", "price_cached", "price_output", "since", "display_status")
    list_empty_words = (
        "Nobody has entered a price: those of BANDSTAND_PRICES hold, then those that come with the program."
    )
    ordering = ("route", "-valid_from")
    sortable_by = ()
    search_fields = ("route",)
    search_help_text = "A part of a route."
    readonly_fields = ("route",)
    actions = ()
    actions_detail = ("remove",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        newer = ModelPrice.objects.filter(
            route=OuterRef("route"), valid_from__gt=OuterRef("valid_from"), valid_from__lte=Now()
        )
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(is_replaced=Exists(newer))
        return annotated

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With what the models of live releases cost now."""
        priced = price_routes(read_installation_prices(), read_live_routes())
        context = {"prices_in_use": [_cells(row) for row in priced], "has_dollar_budget": has_dollar_budget()}
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description="input, $ per million")
    def price_input(self, price: ModelPrice) -> str:
        return format_rate(price.input)

    @admin.display(description="from the cache")
    def price_cached(self, price: ModelPrice) -> str:
        return format_rate(price.input if price.cached_input is None else price.cached_input)

    @admin.display(description="output, $ per million")
    def price_output(self, price: ModelPrice) -> str:
        return format_rate(price.output)

    @admin.display(description="from (UTC)")
    def since(self, price: ModelPrice) -> str:
        return f"{price.valid_from:%Y-%m-%d}"

    @admin.display(description="status")
    def display_status(self, price: Any) -> SafeString:
        if price.valid_from > now():
            return badge("to come")
        return badge("replaced") if price.is_replaced else badge("holds", "good")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("route", "first_day", *_RATES)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return () if obj is None else ("route",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: a price is deleted by its button, which calls the verb."""
        return False

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(DELETE_PRICE)

    def save_model(self, request: HttpRequest, obj: ModelPrice, form: Any, change: bool) -> None:
        actor, data = user_actor(request.user), form.cleaned_data
        first_day: date = data["first_day"]
        rates = PriceRates(**{name: data[name] for name in _RATES} | {"per_request": data["per_request"] or Decimal(0)})
        valid_from = obj.valid_from = datetime.combine(first_day, time(), UTC)
        if change:
            change_price(actor, obj.pk, valid_from=valid_from, rates=rates, expected_version=data["version"])
        else:
            obj.pk = create_price(actor, route=data["route"], valid_from=valid_from, rates=rates).pk

    @action(description="Delete", permissions=["remove"], url_path="remove", icon="delete")
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        price = self.get_object(request, object_id)
        if price is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Delete the price of {price}?",
            message="The price before it holds within a second; without one that of the environment or of the table. "
            "What was priced by it stays as it is.",
            yes="Delete",
            back=row_url(price),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            delete_price(user_actor(request.user), price.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(price))
        messages.success(request, f"The price of {price} is deleted.")
        return HttpResponseRedirect(reverse("admin:agents_modelprice_changelist"))


def format_rate(rate: Decimal) -> str:
    """Dollars with at least two places, and as many more as it has."""
    places = max(2, -int(rate.normalize().as_tuple().exponent))
    return "free" if rate == 0 else f"${rate:,.{places}f}"


def _cells(row: RoutePrice) -> dict[str, Any]:
    if row.is_free:
        source = badge("always free", "good")
    elif row.source is None:
        source = badge("unknown", "bad")
    else:
        source = badge({"entered": "entered here", "environment": "BANDSTAND_PRICES", "table": "table"}[row.source])
    return {
        "route": row.route,
        "input": format_rate(row.rates.input) if row.rates else NOTHING,
        "output": format_rate(row.rates.output) if row.rates else NOTHING,
        "source": source,
        "askers": ", ".join(row.askers),
        "add": None if row.is_known else f"{reverse('admin:agents_modelprice_add')}?route={row.route}",
    }
