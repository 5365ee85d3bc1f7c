"""Every alert that comes with the product leads to its runbook, on a page of the console."""

from pathlib import Path

import pytest

from console.guide import chapters, runbook_anchors

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks.md"
SEEDED_RULES = {
    "high_error_rate", "slow_response_time", "high_memory_usage", "agent_down", "operation_errors", "stuck_turn",
    "open_routes", "scheduler_silent", "disk_full", "notifications_failed", "failed_jobs",
}  # fmt: skip
WATCHDOG_CONDITIONS = {
    "database_down", "disk_full", "scheduler_frozen", "runner_down", "web_down", "process_keeps_ending",
}  # fmt: skip
OTHERS = {"evaluation_failed", "supervisor_silent"}


def test_every_rule_and_condition_has_a_runbook_and_none_is_of_nothing() -> None:
    headings = {anchor for anchor in runbook_anchors() if "_" in anchor}
    assert headings == SEEDED_RULES | WATCHDOG_CONDITIONS | OTHERS


@pytest.mark.parametrize("name", sorted(SEEDED_RULES | WATCHDOG_CONDITIONS | OTHERS))
def test_a_runbook_says_what_it_means_and_what_to_look_at_and_how_it_ends(name: str) -> None:
    [chapter] = [one for one in chapters(str, RUNBOOKS) if one.anchor == name]
    assert "**Means**" in chapter.html
    assert "**Look first**" in chapter.html
    assert "**Ends**" in chapter.html
