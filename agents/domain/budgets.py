"""Budgets: whom one is for, what it counts, for how long, and what becomes of the money that a call reserves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class BudgetSubject(StrEnum):
    """Whose calls draw on a budget."""

    EVERYBODY = "everybody"  # all calls together
    EACH_USER = "each_user"  # those of each user apart, unless the user has a budget of the same unit and period
    USER = "user"
    GROUP = "group"  # those of all members together
    AGENT = "agent"
    KEY = "key"

    @property
    def label(self) -> str:
        """As people read it."""
        return "API key" if self is BudgetSubject.KEY else self.value.replace("_", " ")


class BudgetUnit(StrEnum):
    USD = "usd"
    TOKENS = "tokens"  # input and output together


class BudgetPeriod(StrEnum):
    """How long a window of a budget lasts, by the calendar in UTC; weeks begin on Monday. The names are PostgreSQL's
    for `date_trunc`."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class ReservationStatus(StrEnum):
    """`waiting`: nothing is reserved, the turn waits for money in its place of the queue. `granted`: the wait is over
    and the money is held until the turn's next claim asks for it. `reserved`: the call may be made. `settled`: by what
    its provider reported. `unconfirmed`: nobody knows what it cost, so all that was reserved counts. `released`: the
    call was not made."""

    WAITING = "waiting"
    GRANTED = "granted"
    RESERVED = "reserved"
    SETTLED = "settled"
    UNCONFIRMED = "unconfirmed"
    RELEASED = "released"


OPEN_RESERVATIONS = frozenset({ReservationStatus.WAITING, ReservationStatus.GRANTED, ReservationStatus.RESERVED})


@dataclass(frozen=True, slots=True)
class CallPrice:
    """US dollars per million input and output tokens, and per request; of what costs most among cached, written and
    plain input."""

    input: Decimal
    output: Decimal
    request: Decimal = Decimal(0)


# What costs nothing, which is known: that differs from a price that nobody knows.
FREE_CALL = CallPrice(Decimal(0), Decimal(0))

# Users are warned when so much of a budget is used, in percent, unless it says otherwise.
WARN_PERCENT = 80
# What an answer may be shortened to, in tokens, where money is short, unless a release says otherwise.
LEAST_OUTPUT_TOKENS = 32


_WHOSE = {
    BudgetSubject.EVERYBODY: "The budget of this service",
    BudgetSubject.EACH_USER: "Your budget",
    BudgetSubject.USER: "Your budget",
    BudgetSubject.GROUP: "The budget of your group",
    BudgetSubject.AGENT: "The budget of this agent",
    BudgetSubject.KEY: "The budget of this API key",
}


def describe_exhausted(resets_at: datetime | None, subject: BudgetSubject | None = None) -> str:
    """What users read of a budget that is used up: whose it is, if that is known, and when it begins anew."""
    whose = _WHOSE[subject] if subject else "The budget for this"
    again = f" It begins anew on {resets_at:%Y-%m-%d} at {resets_at:%H:%M} UTC." if resets_at else ""
    return f"{whose} is used up.{again}"


CALL_TOO_LARGE = "This needs more than the budget for it allows, also when that begins anew."


class RefusalReason(StrEnum):
    """Why a call gets no money: the budget is used up, the call needs more than all of it, the price of its model is
    unknown, it may not wait for others to settle, or another claim owns its turn by now."""

    EXCEEDED = "exceeded"
    TOO_LARGE = "too_large"
    PRICE_UNKNOWN = "price_unknown"
    BUSY = "busy"
    LOST = "lost"


class DifferenceKind(StrEnum):
    """Where the ledger and what it is about do not agree. `window_spent`, `window_reserved`: a window counts other than
    its reservations add up to. `call`: a reservation is settled at other than its call's row says. `open`: it stays
    open past its time. `unreserved`: a call was billed while a budget applied, and nothing was reserved for it."""

    WINDOW_SPENT = "window_spent"
    WINDOW_RESERVED = "window_reserved"
    CALL = "call"
    OPEN = "open"
    UNRESERVED = "unreserved"
