"""What model calls have used: tokens, and US dollars where the price is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

FREE = Decimal(0)
# The resolution of the column: numeric(14, 8).
COST_QUANTUM = Decimal("0.00000001")


def costs_nothing(route: str) -> bool:
    """Whether calls of `route` are always free: those of the offline model are."""
    return route.partition(":")[0] == "offline"


def format_usd(dollars: Decimal | None) -> str | None:
    """US dollars on the wire: a plain decimal with eight places, or None when the price is unknown."""
    return None if dollars is None else f"{dollars:.8f}"


def usage_shape(input_tokens: int, output_tokens: int, cost_usd: Decimal | None) -> dict[str, Any]:
    """Usage on the wire: tokens, and US dollars as text."""
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "cost_usd": format_usd(cost_usd)}


@dataclass(frozen=True, slots=True)
class BilledUsage:
    """Tokens and US dollars. One unknown price makes a whole sum unknown (None): unknown is never counted as zero."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = FREE

    def __add__(self, other: BilledUsage) -> BilledUsage:
        cost_usd = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return BilledUsage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens, cost_usd)

    @property
    def shape(self) -> dict[str, Any]:
        return usage_shape(self.input_tokens, self.output_tokens, self.cost_usd)


def sum_usage(usage: Iterable[BilledUsage]) -> BilledUsage:
    """The sum; its cost is unknown if one of the costs is."""
    return sum(usage, start=BilledUsage())
