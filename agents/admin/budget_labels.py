"""Budgets as people read them: whom one is for, what is used of it, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import DateTimeField, F, Func, OuterRef, QuerySet, Subquery, TextField
from django.db.models.functions import Cast, JSONObject, Now
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from agents.domain.budgets import BudgetSubject, BudgetUnit
from agents.models import Budget, BudgetWindow
from console.formatting import badge, format_second
from foundation.clock import now

# When the present window of a budget ends, as `agents_settle_and_reserve` has it.
_ENDS_AT: Final = (
    "((date_trunc(%(expressions)s, now() AT TIME ZONE 'UTC') + ('1 ' || %(expressions)s)::interval) AT TIME ZONE 'UTC')"
)
_STATES: Final = {"bad": "used up", "warn": "nearly used up", "": "in bounds"}
_MOST_OF_ONE: Final = mark_safe("<small>most by one user</small>")
_AMOUNTS: Final = ("spent", "reserved", "overdraft")


@dataclass(frozen=True, slots=True)
class PresentWindow:
    """What is used of a budget now: US dollars or tokens. Of a budget for each user, by the one who used most."""

    amount: Decimal
    spent: Decimal
    reserved: Decimal
    overdraft: Decimal

    @property
    def left(self) -> Decimal:
        return max(Decimal(0), self.amount - self.spent - self.reserved)

    @property
    def used_percent(self) -> int:
        """Whole percent, and 100 at most; of an amount of nothing all is used."""
        return min(100, int(self.spent * 100 / self.amount)) if self.amount else 100


def with_present_window(rows: QuerySet[Budget]) -> QuerySet[Any]:
    """`rows` as `present_window` reads them, with `now_ends_at`."""
    present = (
        BudgetWindow.objects.filter(budget=OuterRef("pk"), starts_at__lte=Now(), ends_at__gt=Now())
        .order_by(-(F("spent") + F("reserved")))
        .values(amounts=JSONObject(**{name: Cast(name, TextField()) for name in _AMOUNTS}))
    )
    return rows.annotate(
        now_amounts=Subquery(present[:1]),
        now_ends_at=Func(F("period"), template=_ENDS_AT, output_field=DateTimeField()),
    )


def present_window(budget: Any) -> PresentWindow:
    """The present window of a row of `with_present_window`; one that nobody has begun has nothing spent."""
    amounts = budget.now_amounts or dict.fromkeys(_AMOUNTS, "0")
    return PresentWindow(amount_now(budget), **{name: Decimal(amounts[name]) for name in _AMOUNTS})


def is_overridden(budget: Budget) -> bool:
    """Whether another amount holds now."""
    return budget.override_until is not None and budget.override_until > now()


def amount_now(budget: Budget) -> Decimal:
    """What may be spent in the present window."""
    if is_overridden(budget) and budget.override_amount is not None:
        return budget.override_amount
    return budget.amount


def format_amount(amount: Decimal, unit: str) -> str:
    """Dollars with cents, and two more places below one dollar: "$1,200.00", "$0.0020"; or whole tokens."""
    if unit == BudgetUnit.TOKENS:
        return f"{amount:,.0f} tokens"
    places = 2 if amount == 0 or amount >= 1 else 4
    text = f"${amount:,.{places}f}"
    return text.removesuffix("00") if places == 4 else text


def format_per_period(amount: Decimal, budget: Budget) -> str:
    """An amount of the budget: "$5.00 per day"."""
    return f"{format_amount(amount, budget.unit)} per {budget.period}"


def format_number(amount: Decimal, unit: str) -> str:
    """An amount for where its unit stands beside it: "$1.25", "1,200"."""
    return format_amount(amount, unit).removesuffix(" tokens")


def usage_bar(budget: Any) -> SafeString:
    """What is spent, with a bar."""
    window = present_window(budget)
    return format_html(
        '<span class="bs-budget"><span class="bs-budget__text">{}</span>'
        '<progress class="bs-budget__bar{}" max="100" value="{}" aria-label="{}"></progress>{}</span>',
        f"{format_number(window.spent, budget.unit)} ({window.used_percent} %)",
        f" bs-budget__bar--{level}" if (level := _level(budget, window)) else "",
        window.used_percent,
        f"{window.used_percent} percent used",
        _MOST_OF_ONE if budget.subject == BudgetSubject.EACH_USER and window.spent else "",
    )


def state_badges(budget: Any) -> SafeString:
    """Whether it is used up or nearly, what was billed beyond reservations, and whether it is overridden."""
    badges = [badge(text, level) for level, text in _states(budget)]
    return format_html("{} " * len(badges), *badges)


def worst_badge(budget: Any) -> SafeString:
    """The one of `state_badges` that matters most."""
    # Of two that are equally bad the first.
    by_level = dict(reversed(_states(budget)))
    level = next(level for level in ("bad", "warn", "good") if level in by_level)
    return badge(by_level[level], level)


def format_minute(at: datetime) -> str:
    """A time in UTC, to the minute: "2026-01-31 08:15"."""
    return format_second(at)[:16]


def _states(budget: Any) -> list[tuple[str, str]]:
    window, level = present_window(budget), _level(budget, present_window(budget))
    states = [(level or "good", _STATES[level])]
    if window.overdraft:
        states.append(("bad", f"overdrawn by {format_amount(window.overdraft, budget.unit)}"))
    if is_overridden(budget):
        states.append(("warn", "overridden"))
    return states


def _level(budget: Budget, window: PresentWindow) -> str:
    if window.spent >= window.amount:
        return "bad"
    warns = budget.warn_percent and window.spent * 100 >= window.amount * budget.warn_percent
    return "warn" if warns else ""
