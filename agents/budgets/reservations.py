"""Reserve what a call may cost at most, before it is made: one statement for all that ask at the same moment.

What a call really used is settled from the row of its outcome, whose `details` name the reservation, by the next
statement of anybody. So an outcome needs no write beside its own, and a killed process leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import IntegrityError, OperationalError, connection
from psycopg import errors

from agents.domain.budgets import LEAST_OUTPUT_TOKENS, CallPrice, RefusalReason, ReservationStatus

# NOTIFY on it: a budget has changed, or (with these payloads) a turn begins to wait for money, or a budget is used up
# or, after a correction, is not any more.
BUDGETS_CHANNEL: Final = "bandstand_budgets"
WAITING_PAYLOAD: Final = "waiting"
EXHAUSTED_PAYLOAD: Final = "exhausted"

# For calls that have a row of their own the lease matters only if that row is never written.
LEASE_SECONDS: Final = 24 * 3600.0
STEP_PURPOSE: Final = "step"

_BUDGET_DELETED: Final = (errors.DeadlockDetected, errors.ForeignKeyViolation)
_STATEMENT: Final = "SELECT agents_settle_and_reserve(%(requests)s::jsonb, %(releases)s::bigint[], %(full)s)::text"


@dataclass(frozen=True, slots=True)
class BudgetRequest:
    """A call that is about to be made.

    `price` None: unknown. `estimated_tokens` and `bytes` are those of its request, from which the bound of its input
    follows, which is no more than the model's `window`, where that is known; `output_tokens` is the most that it may
    write, `least_output_tokens` what it may be shortened to.
    `may_wait`: it may wait for others to settle; then it needs a `turn`, whose open step it is.
    """

    user_id: int
    agent_id: UUID | None
    route: str
    price: CallPrice | None
    estimated_tokens: int
    bytes: int
    output_tokens: int
    least_output_tokens: int = LEAST_OUTPUT_TOKENS
    purpose: str = STEP_PURPOSE
    may_wait: bool = False
    session_id: UUID | None = None
    turn_id: UUID | None = None
    step: int | None = None
    epoch: int | None = None
    utility_call_id: int | None = None
    key_id: UUID | None = None
    window: int | None = None
    lease_seconds: float = LEASE_SECONDS

    def __post_init__(self) -> None:
        """Raises `ValueError` for what no call can use or cost."""
        counts = (self.estimated_tokens, self.bytes, self.output_tokens, self.least_output_tokens)
        prices = () if self.price is None else (self.price.input, self.price.output, self.price.request)
        if min(counts) < 0 or not all(price.is_finite() and price >= 0 for price in prices):
            raise ValueError("a request for money needs counts and prices that are not negative")

    def dump(self) -> dict[str, Any]:
        """What the function in the database reads."""
        price = self.price
        return {
            "user": self.user_id,
            "agent": self.agent_id,
            "session": self.session_id,
            "turn": self.turn_id,
            "step": self.step,
            "epoch": self.epoch,
            "utility_call": self.utility_call_id,
            "key": self.key_id,
            "purpose": self.purpose,
            "route": self.route,
            "price": None
            if price is None
            else {"input": f"{price.input:f}", "output": f"{price.output:f}", "request": f"{price.request:f}"},
            "estimated_tokens": self.estimated_tokens,
            "bytes": self.bytes,
            "window": self.window,
            "output_tokens": self.output_tokens,
            "least_output_tokens": self.least_output_tokens,
            "may_wait": self.may_wait,
            "lease_seconds": self.lease_seconds,
        }


@dataclass(frozen=True, slots=True)
class BudgetWarning:
    """So much of a budget is used, in percent, in its window that ends at `resets_at`. Each window warns once."""

    budget_id: UUID
    subject: str
    unit: str
    period: str
    used_percent: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class Reserved:
    """The call may be made, and may write up to `output_tokens`. `id` None: no budget applies. Otherwise the outcome of
    the call names it in its details, as `reservation`."""

    id: int | None
    output_tokens: int
    warnings: Sequence[BudgetWarning] = ()


@dataclass(frozen=True, slots=True)
class MustWait:
    """The call waits in its place until others have settled, at most until a window ends at `resets_at`."""

    resets_at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """The call must not be made. `resets_at` is when the budget begins anew; None where time does not help."""

    reason: RefusalReason
    budget_id: UUID | None
    resets_at: datetime | None


Reply = Reserved | MustWait | Refused


@dataclass(frozen=True, slots=True)
class PassResult:
    """`replies` in the order of the requests; `wake` are (session, turn) that wait and have their money now, or hear
    why not; `has_waiting`: some still wait; `overdrawn`: budgets of which a call has used more than it had reserved."""

    replies: Sequence[Reply]
    wake: Sequence[tuple[UUID, UUID]]
    has_waiting: bool
    overdrawn: int


def settle_and_reserve(
    requests: Sequence[BudgetRequest] = (), releases: Sequence[int] = (), *, is_full: bool = False
) -> PassResult:
    """Settle what has an outcome, give back what `releases` names and was never used, and reserve for `requests`.

    Calls that wait are looked at where one of their budgets has changed by that; where `is_full` all of them are, since
    somebody may have changed a budget itself.
    """
    try:
        return _run(requests, releases, is_full)
    except (OperationalError, IntegrityError) as error:
        # Somebody deletes a budget at this moment, with all that belongs to it. Nothing was done, so it is done again.
        if connection.in_atomic_block or not isinstance(error.__cause__, _BUDGET_DELETED):
            raise
        return _run(requests, releases, is_full)


def _run(requests: Sequence[BudgetRequest], releases: Sequence[int], is_full: bool) -> PassResult:
    with connection.cursor() as cursor:
        cursor.execute(
            _STATEMENT,
            {
                "requests": orjson.dumps([request.dump() for request in requests]).decode(),
                "releases": list(releases),
                "full": is_full,
            },
        )
        result = orjson.loads(cursor.fetchone()[0])
    replies = {reply["n"]: _reply(reply) for reply in result["results"]}
    return PassResult(
        [replies[number] for number in range(1, len(requests) + 1)],
        [(UUID(session), UUID(turn)) for session, turn in result["wake"]],
        result["waiting"],
        result["overdrawn"],
    )


def report_usage(reservation_id: int, *, usd: Decimal | None, tokens: int | None) -> None:
    """Commit what a call has used that has no row of its own; None for what is unknown, which counts as all that was
    reserved. The next `settle_and_reserve` books it, also where the call was taken for lost meanwhile. Raises
    `ValueError` for what no call can use or cost."""
    if (usd is not None and not (usd.is_finite() and usd >= 0)) or (tokens is not None and tokens < 0):
        raise ValueError("usage is not negative")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE agents_budgetreservation SET reported_usd = %s, reported_tokens = %s, reported_at = now()"
            " WHERE id = %s AND status IN ('reserved', 'unconfirmed') AND reported_at IS NULL",
            [usd, tokens, reservation_id],
        )


def _reply(reply: dict[str, Any]) -> Reply:
    match reply["status"]:
        case "refused":
            budget, resets_at = reply["budget"], reply["resets_at"]
            return Refused(
                RefusalReason(reply["reason"]),
                UUID(budget) if budget else None,
                datetime.fromisoformat(resets_at) if resets_at else None,
            )
        case ReservationStatus.WAITING:
            return MustWait(datetime.fromisoformat(reply["resets_at"]))
        case "unlimited":
            return Reserved(None, reply["output_tokens"])
    return Reserved(reply["id"], reply["output_tokens"], [_warning(warning) for warning in reply["warnings"]])


def _warning(warning: dict[str, Any]) -> BudgetWarning:
    return BudgetWarning(
        UUID(warning["budget"]),
        warning["subject"],
        warning["unit"],
        warning["period"],
        warning["used_percent"],
        datetime.fromisoformat(warning["resets_at"]),
    )
