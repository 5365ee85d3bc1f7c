"""What model calls have used: tokens, and US dollars where the price is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

FREE = Decimal(0)
# The resolution of the column: numeric(14, 8).
COST_QUANTUM = Decimal("0.00000001")

N = TypeVar("N", int, Decimal)


def costs_nothing(route: str) -> bool:
    """Whether calls of `route` are always free: those of the offline model are."""
    return route.partition(":")[0] == "offline"


def format_usd(dollars: Decimal | None) -> str | None:
    """US dollars on the wire: a plain decimal with eight places, or None when the price is unknown."""
    return None if dollars is None else f"{dollars:.8f}"


def usage_shape(input_tokens: int | None, output_tokens: int | None, cost_usd: Decimal | None) -> dict[str, Any]:
    """Usage on the wire: tokens, and US dollars as text; None for what is unknown."""
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "cost_usd": format_usd(cost_usd)}


@dataclass(frozen=True, slots=True)
class BilledUsage:
    """Tokens and US dollars. One unknown addend makes a sum unknown (None): unknown is never counted as zero."""

    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cost_usd: Decimal | None = FREE

    def __add__(self, other: BilledUsage) -> BilledUsage:
        return BilledUsage(
            _add(self.input_tokens, other.input_tokens),
            _add(self.output_tokens, other.output_tokens),
            _add(self.cost_usd, other.cost_usd),
        )

    @property
    def shape(self) -> dict[str, Any]:
        return usage_shape(self.input_tokens, self.output_tokens, self.cost_usd)


def sum_usage(usage: Iterable[BilledUsage]) -> BilledUsage:
    """The sum; each of its numbers is unknown if one of the addends is."""
    return sum(usage, start=BilledUsage())


def _add(a: N | None, b: N | None) -> N | None:
    return None if a is None or b is None else a + b
