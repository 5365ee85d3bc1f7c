"""What recommendations mean, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from monitoring.models import Recommendation, RecommendationKind
from monitoring.performance.rules import RuleName

REASONS: Final = {
    RuleName.MEMORY_HIGH: "It uses much of its memory.",
    RuleName.MEMORY_GROWS_IDLE: "Its memory grows although it has nothing to do.",
    RuleName.MEMORY_CRITICAL: "Its memory is nearly full: the system may kill it in the middle of turns.",
    RuleName.ERROR_RATE: "Turns fail on it, and not on the other runners.",
    RuleName.BLOCKED: "Its event loop stands still again and again: something in it keeps all its turns waiting.",
    RuleName.SLOWER: "Its turns take longer than those of the other runners.",
    RuleName.FULLER: "It is full while the other runners have room.",
    RuleName.CONTEXT_FULL: "What its calls send fills the context windows of its models.",
}
# What applying does; shown before it is done.
EFFECTS: Final = {
    RecommendationKind.MEMORY_CLEANUP: "The runner drops its caches, collects garbage and gives free memory "
    "back to the system. Its turns go on; they stand still for some hundredths of a second.",
    RecommendationKind.AGENT_RESTART: "The runner takes no new turns, finishes those that it has (what lasts "
    "longer than it may drain goes on elsewhere, none is lost), and ends. Whoever started it starts it anew.",
    RecommendationKind.LOAD_REBALANCING: "The runner has fewer turns at a time from its next heartbeat on; the "
    "others take what it does not. It gets all of them again when it is like the others.",
    RecommendationKind.CONTEXT_OPTIMIZATION: "Let the context policy of the agent's draft send less, and publish it.",
}
TITLES: Final = {
    RecommendationKind.MEMORY_CLEANUP: "Memory cleanup",
    RecommendationKind.CONTEXT_OPTIMIZATION: "Context optimization",
    RecommendationKind.LOAD_REBALANCING: "Load rebalancing",
    RecommendationKind.AGENT_RESTART: "Agent restart",
}
_FIGURES: Final = {
    "memory_percent": ("memory, of its limit", "%"),
    "memory_bytes": ("memory", "MiB"),
    "mean_seconds": ("mean time of a turn", "s"),
    "error_percent": ("failed turns", "%"),
    "turns": ("turns", ""),
    "running": ("turns at a time", ""),
    "calls": ("calls", ""),
    "context_percent": ("use of the context window", "%"),
}
_MEBIBYTE: Final = 1024 * 1024


def describe_reason(row: Recommendation) -> str:
    """Why it is recommended."""
    return REASONS.get(RuleName(row.reason), row.reason) if row.reason in list(RuleName) else row.reason


def describe_evidence(row: Recommendation) -> list[str]:
    """Each figure with what it was held against: "memory 78 % (more than 70 %)"."""
    return [
        "{}: {} (threshold {})".format(
            item["figure"], _number(item["value"], item["unit"]), _number(item["threshold"], item["unit"])
        )
        for item in row.evidence
    ]


def describe_effect(
    figures_before: Mapping[str, Any], figures_after: Mapping[str, Any] | None
) -> list[tuple[str, str, str]]:
    """The name of each figure, what it was before, and after; "…" as long as nobody has measured it."""
    rows = []
    for name, (title, unit) in _FIGURES.items():
        if name in figures_before or name in (figures_after or {}):
            rows.append(
                (
                    title,
                    _value(figures_before, name, unit),
                    "…" if figures_after is None else _value(figures_after, name, unit),
                )
            )
    return rows


def _value(figures: Mapping[str, Any], name: str, unit: str) -> str:
    value = figures.get(name)
    if value is None:
        return "\N{EN DASH}"
    return _number(value / _MEBIBYTE if name == "memory_bytes" else value, unit)


def _number(value: float, unit: str) -> str:
    return f"{value:,.4g} {unit}".rstrip()
