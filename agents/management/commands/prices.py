"""`manage.py prices`: what models cost; enters, deletes and imports prices."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.actor import Actor
from agents.budgets.model_prices import PriceRates, delete_price, set_price
from agents.llm.installation_prices import read_installation_prices
from agents.llm.model_catalog import Rates
from agents.models import ModelPrice
from agents.releases.route_prices import RoutePrice, price_routes, read_live_routes
from foundation.clock import now
from foundation.errors import BandstandError

_RATES: Final = tuple(field.name for field in fields(PriceRates))
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024


class Command(BaseCommand):
    help = (
        "Show what models cost. `set openai:gpt-5-mini --input 0.25 --output 2` enters a price in US dollars per "
        "million tokens; `import` takes what `show --json` prints."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="{show,set,delete,import}")
        show = actions.add_parser("show", help="what was entered, and what the models in use cost now (default)")
        change = actions.add_parser("set", help="enter a price, or correct the one of that day")
        delete = actions.add_parser("delete", help="delete a price")
        load = actions.add_parser("import", help="enter all prices of a file, or none")
        load.add_argument("file", type=Path, help="JSON as of `show --json`")
        for action in (change, delete):
            action.add_argument("route", help="provider:model, or provider:* for all its models")
            action.add_argument("--from", dest="first_day", help="YYYY-MM-DD, from midnight in UTC; today")
        for name in _RATES:
            change.add_argument(f"--{name.replace('_', '-')}", required=name in ("input", "output"))
        for action in (show, change, delete, load):
            action.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = Actor.system("prices")
        try:
            match options["action"]:
                case "set":
                    set_price(
                        actor,
                        route=options["route"],
                        valid_from=_read_day(options["first_day"]),
                        rates=_read_rates(options),
                    )
                case "delete":
                    rows = ModelPrice.objects.filter(route=options["route"], valid_from=_read_day(options["first_day"]))
                    price = rows.first()
                    if price is None:
                        raise CommandError("There is no such price from that day on.")
                    delete_price(actor, price.pk)
                case "import":
                    _import(actor, options["file"])
        except BandstandError as error:
            raise CommandError(error.detail) from None
        self._show(as_json=bool(options.get("json")))

    def _show(self, *, as_json: bool) -> None:
        entered = list(ModelPrice.objects.order_by("route", "-valid_from"))
        priced = price_routes(read_installation_prices(), read_live_routes())
        if as_json:
            shape = {"entered": [_dump(price) for price in entered], "in_use": [_dump_use(row) for row in priced]}
            self.stdout.write(json.dumps(shape, indent=2))
            return
        for price in entered:
            self.stdout.write(
                f"{price.route}  from {price.valid_from:%Y-%m-%d}  input {_text(price.input)}  output "
                f"{_text(price.output)}"
            )
        if not entered:
            self.stdout.write("Nobody has entered a price.")
        self.stdout.write("In use now:")
        for row in priced:
            rates = f"input {_text(row.rates.input)}  output {_text(row.rates.output)}" if row.rates else ""
            self.stdout.write(f"  {row.route}  {_describe_source(row)}  {rates}".rstrip())


def _describe_source(row: RoutePrice) -> str:
    return "free" if row.is_free else row.source.value if row.source else "UNKNOWN"


def _dump(price: ModelPrice) -> dict[str, Any]:
    rates = {name: getattr(price, name) for name in _RATES}
    return {
        "route": price.route,
        "from": f"{price.valid_from:%Y-%m-%d}",
        **{name: None if rate is None else _text(rate) for name, rate in rates.items()},
    }


def _dump_use(row: RoutePrice) -> dict[str, Any]:
    rates: Rates | None = row.rates
    return {
        "route": row.route,
        "source": _describe_source(row).lower(),
        "input": _text(rates.input) if rates else None,
        "output": _text(rates.output) if rates else None,
        "asked_by": row.askers,
    }


def _import(actor: Actor, file: Path) -> None:
    """Enter all prices of the file, or none. Raises `CommandError` with the number of the first that is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES + 1)
        entries = json.loads(content)["entered"] if len(content) <= _MAX_FILE_BYTES else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"The file cannot be read as what `show --json` prints ({type(error).__name__}).") from None
    if not isinstance(entries, list):
        raise CommandError("The file has no list `entered`, or more than 4 MB.")
    with transaction.atomic():
        for number, entry in enumerate(entries, start=1):
            try:
                if not isinstance(entry, dict) or not isinstance(entry.get("route"), str):
                    raise CommandError("an object with a route is expected")
                set_price(
                    actor, route=entry["route"], valid_from=_read_day(entry.get("from")), rates=_read_rates(entry)
                )
            except (BandstandError, CommandError) as error:
                raise CommandError(f"Entry {number}: {getattr(error, 'detail', error)}") from None


def _read_rates(values: dict[str, Any]) -> PriceRates:
    rates = {name: _read_number(name, values[name]) for name in _RATES if values.get(name) is not None}
    if "input" not in rates or "output" not in rates:
        raise CommandError("input and output are expected")
    return PriceRates(**rates)


def _read_number(name: str, value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise CommandError(f"{name} must be a number of US dollars") from None


def _read_day(text: Any) -> datetime:
    if text is None:
        return now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return datetime.strptime(str(text), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise CommandError("A day as YYYY-MM-DD is expected.") from None


def _text(rate: Decimal) -> str:
    return f"{rate.normalize():f}"
