"""`manage.py budgets`: shows what is spent and left of budgets; sets, overrides and deletes them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from accounts.models import ApiKey, User
from agents.budgets.budget_changes import BudgetTarget, clear_override, delete_budget, override_budget, set_budget
from agents.budgets.remaining import RemainingBudget, all_budgets
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.domain.serialization import moment
from agents.models import Agent, Budget
from foundation.clock import now
from foundation.errors import BandstandError

_UNITS: Final = {"m": 60, "h": 3_600, "d": 86_400}


class Command(BaseCommand):
    help = "Show budgets. `set --user ada --usd 5 --per day` sets one; `override`, `clear` and `delete` change one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="{show,set,override,clear,delete}")
        show = actions.add_parser(
            "show", help="all budgets, what is spent and left, and when they begin anew (default)"
        )
        change = actions.add_parser("set", help="set what may be spent in each period")
        override = actions.add_parser("override", help="another amount for a time")
        override.add_argument("--to", required=True, help="US dollars or tokens, by the budget's unit")
        override.add_argument("--for", dest="duration", required=True, help="30m, 8h or 2d")
        override.add_argument("--reason", required=True)
        clear = actions.add_parser("clear", help="end an override before its time")
        delete = actions.add_parser("delete", help="delete a budget")
        for action in (change, override, clear, delete):
            _add_target(action)
            action.add_argument("--per", required=True, choices=[period.value for period in BudgetPeriod])
        change.add_argument("--warn-percent", type=int, help="users are warned then; 0: never")
        amount = change.add_mutually_exclusive_group(required=True)
        amount.add_argument("--usd", help="US dollars in each period")
        amount.add_argument("--tokens", help="input and output tokens in each period")
        for action in (override, clear, delete):
            action.add_argument("--unit", required=True, choices=[unit.value for unit in BudgetUnit])
        for action in (show, change, override, clear, delete):
            action.add_argument("--json", action="store_true", help="as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            self._run(Actor.system("budgets"), options)
        except BandstandError as error:
            raise CommandError(error.detail) from None
        self._show(as_json=bool(options.get("json")))

    def _run(self, actor: Actor, options: dict[str, Any]) -> None:
        match options["action"]:
            case "set":
                unit = BudgetUnit.USD if options["usd"] is not None else BudgetUnit.TOKENS
                set_budget(
                    actor,
                    _read_target(options),
                    unit=unit,
                    period=BudgetPeriod(options["per"]),
                    amount=_read_amount(options["usd"] or options["tokens"]),
                    warn_percent=options["warn_percent"],
                )
            case "override":
                until = now() + _read_duration(options["duration"])
                amount = _read_amount(options["to"])
                override_budget(actor, _find(options), amount=amount, until=until, reason=options["reason"])
            case "clear":
                clear_override(actor, _find(options))
            case "delete":
                delete_budget(actor, _find(options))

    def _show(self, *, as_json: bool) -> None:
        budgets = all_budgets()
        if as_json:
            self.stdout.write(json.dumps([_dump(budget) for budget in budgets], indent=2))
            return
        if not budgets:
            self.stdout.write("There are no budgets: nothing is limited.")
            return
        rows = [("for", "per", "amount", "spent", "reserved", "left", "begins anew (UTC)")]
        for budget in budgets:
            amounts = (budget.amount, budget.spent, budget.reserved, budget.remaining)
            texts = [_format(amount, budget.unit) for amount in amounts]
            whom = f"{budget.subject.label} {budget.name}".strip()
            rows.append((whom, budget.period.value, *texts, f"{budget.resets_at:%Y-%m-%d %H:%M}"))  # type: ignore[arg-type]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.stdout.write("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _add_target(parser: ArgumentParser) -> None:
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--user", help="the name of a user")
    target.add_argument("--group", help="the name of a group: its members together")
    target.add_argument("--agent", help="the slug of an agent")
    target.add_argument("--key", help="the id or the prefix of an API key")
    target.add_argument("--each-user", action="store_true", help="each user who has no budget of their own")
    target.add_argument("--everybody", action="store_true", help="all calls together")


def _read_target(options: dict[str, Any]) -> BudgetTarget:
    """Raises `CommandError` for somebody or something that does not exist."""
    if options["everybody"]:
        return BudgetTarget(BudgetSubject.EVERYBODY)
    if options["each_user"]:
        return BudgetTarget(BudgetSubject.EACH_USER)
    if (name := options["user"]) is not None:
        return BudgetTarget(BudgetSubject.USER, user_id=_key_of(User, "user", username=name))
    if (name := options["group"]) is not None:
        return BudgetTarget(BudgetSubject.GROUP, group_id=_key_of(Group, "group", name=name))
    if (name := options["agent"]) is not None:
        return BudgetTarget(BudgetSubject.AGENT, agent_id=_key_of(Agent, "agent", slug=name))
    key = options["key"]
    try:
        found = {"pk": UUID(key)}
    except ValueError:
        found = {"prefix": key}
    return BudgetTarget(BudgetSubject.KEY, api_key_id=_key_of(ApiKey, "API key", **found))


def _key_of(model: Any, label: str, **condition: Any) -> Any:
    key = model.objects.filter(**condition).values_list("pk", flat=True).first()
    if key is None:
        raise CommandError(f"There is no {label} {next(iter(condition.values()))!r}.")
    return key


def _find(options: dict[str, Any]) -> UUID:
    columns = {**_read_target(options).columns(), "unit": options["unit"], "period": options["per"]}
    key: UUID | None = Budget.objects.filter(**columns).values_list("pk", flat=True).first()
    if key is None:
        raise CommandError("There is no such budget; `manage.py budgets show` lists all.")
    return key


def _read_amount(text: str) -> Decimal:
    try:
        return Decimal(text.replace("_", ""))
    except InvalidOperation:
        raise CommandError(f"{text!r} is no amount.") from None


def _read_duration(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) <= 6 and unit in _UNITS):
        raise CommandError("--for: a number and m, h or d, as in 8h.")
    return timedelta(seconds=int(number) * _UNITS[unit])


def _format(amount: Decimal, unit: BudgetUnit) -> str:
    return f"${amount:,.2f}" if unit is BudgetUnit.USD else f"{amount:,.0f} tokens"


def _dump(budget: RemainingBudget) -> dict[str, Any]:
    amounts = {"amount": budget.amount, "spent": budget.spent, "reserved": budget.reserved,
               "remaining": budget.remaining, "overdraft": budget.overdraft}  # fmt: skip
    return {
        "id": str(budget.budget_id),
        "subject": budget.subject.value,
        "name": budget.name,
        "unit": budget.unit.value,
        "period": budget.period.value,
        **{name: f"{amount:f}" for name, amount in amounts.items()},
        "used_percent": budget.used_percent,
        "override_until": moment(budget.override_until) if budget.override_until else None,
        "resets_at": moment(budget.resets_at),
    }
