"""Every alert that comes with the product leads to its runbook, on a page of the console."""

from pathlib import Path

import pytest

from bandstand.supervisor.conditions import Condition
from console.guide import chapters, runbook_anchors
from monitoring.alerts.alert_content import EVALUATION_RUNBOOK
from monitoring.alerts.built_in_rules import BUILT_IN_RULES

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks.md"
RULES = {rule.name for rule in BUILT_IN_RULES} | {EVALUATION_RUNBOOK.partition("#")[2]}
# Of a metric that has no rule at first, and of whoever waits for the supervisor's calls.
OTHERS = {"failed_jobs", "supervisor_silent"}
NAMES = sorted(RULES | {condition.value for condition in Condition} | OTHERS)


def test_every_rule_and_condition_has_a_runbook_and_none_is_of_nothing() -> None:
    assert sorted(anchor for anchor in runbook_anchors() if "_" in anchor) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_says_what_it_means_what_to_look_at_and_how_it_ends(name: str) -> None:
    [chapter] = [one for one in chapters(str, RUNBOOKS) if one.anchor == name]
    for part in ("**Means**", "**Look first**", "**Ends**"):
        assert part in chapter.html
