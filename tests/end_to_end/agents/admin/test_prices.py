"""Prices in the console, as owners enter them and others read them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.roles import Role
from agents.models import Budget, ModelPrice
from tests.support.consoles import button_of, client_of, page_of
from tests.support.people import agent, write_draft

pytestmark = pytest.mark.django_db

LIST = "/admin/agents/modelprice/"
ADD = f"{LIST}add/"
NEW = {"route": "openai:mine", "first_day": "2026-01-31", "input": "0.5", "output": "2"}


def test_an_owner_enters_changes_and_deletes_a_price() -> None:
    olga = client_of("olga", Role.OWNER)
    olga.post(ADD, NEW)
    price = ModelPrice.objects.get()
    assert (price.route, price.input, price.output) == ("openai:mine", Decimal("0.5"), Decimal(2))
    assert not price.per_request
    assert (price.cached_input, price.valid_from.isoformat()) == (None, "2026-01-31T00:00:00+00:00")
    form = olga.get(page_of(price)).context["adminform"].form
    kept = {"version": form.initial["version"], "base": form.initial["base"]}
    changed = {"first_day": "2026-01-31", "input": "0", "output": "0", "cached_input": "", "per_request": "0", **kept}
    olga.post(page_of(price), changed)
    price.refresh_from_db()
    assert (price.input, price.output, price.version) == (Decimal(0), Decimal(0), 2)
    assert "free" in olga.get(LIST).text
    stale = olga.post(page_of(price), {**changed, "output": "7"})
    assert "somebody else changed this" in stale.text
    assert "There is such" not in stale.text
    olga.post(button_of(price, "remove"), {"confirm": "yes"})
    assert not ModelPrice.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("route", "gpt-4o", "provider:model is expected"),
        ("route", "offline:", "always free"),
        ("input", "-1", "greater than or equal to 0"),
        ("output", "NaN", "Enter a number"),
        ("output", "10001", "less than or equal to 10000"),
        ("output", "", "This field is required"),
        ("first_day", "tomorrow", "Enter a valid date"),
    ],
)
def test_what_is_no_price_is_refused(field: str, value: str, words: str) -> None:
    response = client_of("olga", Role.OWNER).post(ADD, {**NEW, field: value}, follow=True)
    assert words in response.text
    assert not ModelPrice.objects.exists()


def test_the_list_says_what_holds_and_what_models_in_use_cost() -> None:
    demo = agent()
    write_draft(demo, model_chain=["openai:mine"])
    now = timezone.now()
    for days, dollars in ((-9, 7), (-1, 8), (1, 9)):
        ModelPrice.objects.create(
            route="openai:mine", input=dollars, output=dollars, valid_from=now + timedelta(days=days)
        )
    page = client_of("vera", Role.VIEWER).get(LIST)
    assert [page.text.count(f">{state}<") for state in ("to come", "holds", "replaced")] == [1, 1, 1]
    assert "There is no budget in dollars" in page.text
    Budget.objects.create(subject="everybody", unit="usd", period="month", amount=1)
    assert "calls whose price is unknown are refused" in client_of("victor", Role.VIEWER).get(LIST).text


def test_a_viewer_changes_nothing() -> None:
    price = ModelPrice.objects.create(route="openai:mine", input=1, output=1, valid_from=timezone.now())
    vera = client_of("vera", Role.VIEWER)
    assert vera.get(page_of(price)).status_code == 200
    assert vera.post(ADD, NEW).status_code == 403
    assert vera.post(page_of(price), NEW).status_code == 403
    assert vera.post(button_of(price, "remove"), {"confirm": "yes"}).status_code == 403
