"""Prices that owners enter: who may, what is refused, and how processes that price calls learn of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts.actor import Actor
from accounts.models import AuditEntry, User
from accounts.roles import Role
from agents.budgets.channels import PRICES_CHANNEL
from agents.budgets.model_prices import PriceRates, change_price, create_price, delete_price
from agents.journal.listen_connection import open_listen_connection
from agents.llm.interface import Usage
from agents.llm.model_catalog import Prices, PriceSource, read_overrides
from agents.llm.stored_prices import StoredPrices
from agents.models import ModelPrice
from foundation.clock import now
from foundation.errors import BandstandError, Conflict, Forbidden, PreconditionFailed
from foundation.pg_listener import Wake
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

MILLION = Usage(1_000_000, 0)
TABLE = {"openai": "https://api.openai.com/v1"}


def actor_of(name: str, role: Role) -> Actor:
    user = User.objects.filter(username=name).first() or person(name, role)
    return Actor.user(user_id=user.pk, name=user.username)


YESTERDAY = timedelta(days=-1)
TOMORROW = timedelta(days=1)


def enter(route: str, dollars: int | str, *, since: timedelta = YESTERDAY) -> ModelPrice:
    rates = PriceRates(Decimal(dollars), Decimal(dollars))
    return create_price(actor_of("olga", Role.OWNER), route=route, valid_from=now() + since, rates=rates)


def loaded(environment: str = "") -> Prices:
    stored = StoredPrices()
    stored.load()
    return Prices(providers=TABLE, overrides=read_overrides(environment), stored=stored)


def test_an_entered_price_comes_before_the_environment_s_and_the_table_s_and_the_newest_that_holds_counts() -> None:
    enter("openai:gpt-4o", 7, since=timedelta(days=-9))
    enter("openai:gpt-4o", 8)
    enter("openai:gpt-4o", 9, since=TOMORROW)
    prices = loaded("openai:gpt-4o=1/1,openai:mine=3/3")
    assert prices.cost(provider="openai", model="gpt-4o", usage=MILLION) == 8
    # It also holds for the dated names by which its model answers.
    assert prices.cost(provider="openai", model="gpt-4o-2024-08-06", usage=MILLION, route_model="gpt-4o") == 8
    assert prices.cost(provider="openai", model="mine", usage=MILLION) == 3
    assert prices.cost(provider="openai", model="gpt-4o-mini", usage=MILLION) == Decimal("0.15")


async def test_free_is_known_and_differs_from_unknown() -> None:
    prices = Prices(providers={})
    assert await prices.bound(provider="openai", model="mine", input_tokens=1) is None
    prices = Prices(providers={}, overrides=read_overrides("openai:*=0/0"))
    price = await prices.bound(provider="openai", model="mine", input_tokens=1)
    assert price is not None
    assert {price.input, price.output, price.request} == {Decimal(0)}


def test_a_pattern_stands_for_all_other_models_of_its_provider() -> None:
    enter("openai:*", 0)
    enter("openai:gpt-4o", 5)
    prices = loaded()
    assert prices.cost(provider="openai", model="of-our-own", usage=MILLION) == 0
    assert prices.cost(provider="openai", model="gpt-4o", usage=MILLION) == 5
    assert prices.cost(provider="google", model="of-our-own", usage=MILLION) is None
    source = prices.find(provider="openai", model="of-our-own")
    assert source is not None
    assert source[0] is PriceSource.ENTERED


def test_owners_only_and_each_act_is_recorded() -> None:
    with pytest.raises(Forbidden):
        create_price(
            actor_of("bob", Role.BUILDER), route="openai:a", valid_from=now(), rates=PriceRates(Decimal(1), Decimal(1))
        )
    owner, price = actor_of("olga", Role.OWNER), enter("openai:a", 1)
    with pytest.raises(Conflict):
        create_price(owner, route="openai:a", valid_from=price.valid_from, rates=PriceRates(Decimal(1), Decimal(1)))
    rates = PriceRates(Decimal(2), Decimal(2), cached_input=Decimal("0.5"))
    changed = change_price(owner, price.pk, valid_from=price.valid_from, rates=rates, expected_version=1)
    assert (changed.input, changed.cached_input, changed.version) == (Decimal(2), Decimal("0.5"), 2)
    with pytest.raises(PreconditionFailed):
        change_price(owner, price.pk, valid_from=price.valid_from, rates=rates, expected_version=1)
    delete_price(owner, price.pk)
    acts = AuditEntry.objects.filter(target_type="modelprice").order_by("id").values_list("action", flat=True)
    assert list(acts) == ["price.created", "price.changed", "price.deleted"]


@pytest.mark.parametrize(
    "route", ["gpt-4o", "openai:", "openai:a b", "openai:gpt-*", "offline:", "*:*", "openai:" + "a" * 200]
)
def test_a_route_that_cannot_be_is_refused(route: str) -> None:
    with pytest.raises(BandstandError) as caught:
        enter(route, 1)
    assert caught.value.pointer == "/route"


@pytest.mark.parametrize("dollars", ["NaN", "-1", "Infinity", "10000.1"])
def test_a_price_that_cannot_be_is_refused(dollars: str) -> None:
    with pytest.raises(BandstandError) as caught:
        enter("openai:a", dollars)
    assert caught.value.pointer == "/input"


def test_a_process_that_listens_hears_of_an_edit() -> None:
    stored, at = StoredPrices(), datetime.now(UTC)
    with open_listen_connection() as listening:
        stored.hear(listening, Wake([], polled=True))
        assert stored.find("openai:a", at) is None
        listening.execute(f'LISTEN "{PRICES_CHANNEL}"'.encode())
        enter("openai:a", 1)
        [notification] = listening.notifies(timeout=5, stop_after=1)
        stored.hear(listening, Wake([(notification.channel, notification.payload)], polled=False))
        rates = stored.find("openai:a", at)
        assert rates is not None
        assert rates.input == 1
