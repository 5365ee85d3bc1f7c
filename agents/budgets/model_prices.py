"""Owners enter what models cost from a day on. Every process that prices calls hears of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.budgets.channels import PRICES_CHANNEL
from agents.models import ModelPrice
from agents.permissions.role_permissions import ADD_PRICE, CHANGE_PRICE, DELETE_PRICE
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed

# More than any model takes.
MAX_PRICE: Final = Decimal(10_000)
_QUANTUM: Final = Decimal("0.000001")
_ROUTE: Final = re.compile(r"[a-z][a-z0-9_-]*:\S+")
_OFFLINE: Final = "offline"


@dataclass(frozen=True, slots=True)
class PriceRates:
    """US dollars per million tokens, and per request. None: as other input."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    per_request: Decimal = Decimal(0)


@transaction.atomic
def create_price(actor: Actor, *, route: str, valid_from: datetime, rates: PriceRates) -> ModelPrice:
    """A new price of `provider:model`, or of `provider:*` for all its models. Raises `Forbidden`, `InvalidInput`, and
    `Conflict` where the route has a price from that time on."""
    require_permission(actor, ADD_PRICE)
    price = ModelPrice(route=_check_route(route), valid_from=valid_from, **_check_rates(rates))
    _refuse_second(price)
    price.save()
    record_audit(actor, "price.created", target=price, detail=_detail(price))
    _notify()
    return price


@transaction.atomic
def change_price(
    actor: Actor, price_id: UUID, *, valid_from: datetime, rates: PriceRates, expected_version: int | None
) -> ModelPrice:
    """Correct a price; what was priced by it stays. Raises `Forbidden`, `NotFound`, `InvalidInput`, `Conflict` where
    the route has another one from that time on, and `PreconditionFailed`."""
    require_permission(actor, CHANGE_PRICE)
    price = _lock(price_id)
    if expected_version is not None and price.version != expected_version:
        raise PreconditionFailed
    before = _detail(price)
    for name, value in {"valid_from": valid_from, **_check_rates(rates)}.items():
        setattr(price, name, value)
    price.version += 1
    _refuse_second(price)
    price.save()
    record_audit(actor, "price.changed", target=price, detail={**_detail(price), "before": before})
    _notify()
    return price


@transaction.atomic
def set_price(actor: Actor, *, route: str, valid_from: datetime, rates: PriceRates) -> ModelPrice:
    """The price of a route from a time on, new or in place of the one that it has from then on. Raises `Forbidden`,
    `InvalidInput`."""
    known = ModelPrice.objects.filter(route=route.strip(), valid_from=valid_from).first()
    if known is None:
        return create_price(actor, route=route, valid_from=valid_from, rates=rates)
    return change_price(actor, known.pk, valid_from=valid_from, rates=rates, expected_version=None)


@transaction.atomic
def delete_price(actor: Actor, price_id: UUID) -> None:
    """Delete a price: the one before it holds, or what the environment or the table says. Raises `Forbidden`,
    `NotFound`."""
    require_permission(actor, DELETE_PRICE)
    price = _lock(price_id)
    record_audit(actor, "price.deleted", target=price, detail=_detail(price))
    price.delete()
    _notify()


def _lock(price_id: UUID) -> ModelPrice:
    price = ModelPrice.objects.select_for_update().filter(pk=price_id).first()
    if price is None:
        raise NotFound("There is no such price.")
    return price


def _check_route(route: str) -> str:
    cleaned = route.strip()
    if cleaned.partition(":")[0] == _OFFLINE:
        raise InvalidInput("The offline model is always free.", pointer="/route")
    if not _ROUTE.fullmatch(cleaned) or len(cleaned) > 200:
        raise InvalidInput("provider:model is expected, or provider:* for all its models.", pointer="/route")
    if "*" in cleaned and not cleaned.endswith(":*"):
        raise InvalidInput("* stands for all models of a provider, and for nothing else.", pointer="/route")
    return cleaned


def _check_rates(rates: PriceRates) -> dict[str, Decimal | None]:
    return {field.name: _check_rate(field.name, getattr(rates, field.name)) for field in fields(rates)}


def _check_rate(name: str, value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    # NaN cannot be compared; infinity and negative numbers are no prices.
    if not value.is_finite() or not 0 <= value <= MAX_PRICE:
        raise InvalidInput(f"US dollars from 0 to {MAX_PRICE:,} are expected.", pointer=f"/{name}")
    return value.quantize(_QUANTUM)


def _refuse_second(price: ModelPrice) -> None:
    others = ModelPrice.objects.filter(route=price.route, valid_from=price.valid_from).exclude(pk=price.pk)
    if others.exists():
        raise Conflict("This route has a price from that time on: change that one.")


def _detail(price: ModelPrice) -> dict[str, Any]:
    return {
        "route": price.route,
        "valid_from": price.valid_from.isoformat(),
        **{field.name: _text(getattr(price, field.name)) for field in fields(PriceRates)},
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"


def _notify() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [PRICES_CHANNEL])
