"""The check of the ledger of budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.budgets.reconciliation import unreviewed_differences
from console.admin import LONGEST_LIST
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements


def count_differences(measurements: Measurements) -> int:  # noqa: ARG001
    """Differences of the ledger that nobody has reviewed, up to the length of a list. One index scan."""
    return unreviewed_differences()[:LONGEST_LIST].count()


def evaluate_differences(differences: int) -> Sequence[Finding]:
    if not differences:
        return []
    return [Finding(Level.BAD, f"{differences:,} differences between the ledger of budgets and its calls")]


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="ledger",
        title="Ledger of budgets",
        measure=count_differences,
        evaluator=evaluate_differences,
        alarms_when="the nightly comparison has found a difference that nobody has reviewed",
        remedy="Open one: it says which call or budget differs. Nothing is corrected by itself; when you know why, "
        "press I know of it.",
        readers=frozenset({Reader.OVERVIEW}),
        order=137,
        link=Link("admin:agents_budgetdifference_changelist", query={"reviewed": "no"}),
        permissions=("agents.view_budgetreservation",),
    ),
)
