"""Checks: at which figure each one alarms, the list that they stand in, and what the guide tells of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from accounts.health_checks import EndingKey, evaluate_keys
from agents import health_checks as agent_checks
from agents.health_checks import FAILED_PERCENT, SLOW_QUEUE_SECONDS, CurrentTurns, FailureKind
from health_checks.check import Check, Concerns, Finding, Level, Link, Reader, highest_level
from health_checks.registry import HealthCheckRegistry, registry
from monitoring.health_checks import MIN_PGVECTOR, evaluate_database, evaluate_migrations, evaluate_pgvector
from scheduling.health_checks import Maintenance, evaluate_maintenance, evaluate_scheduler
from scheduling.heartbeats import SCHEDULER_STALE_SECONDS
from tests.support.surroundings import ROOT

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOOD, WARN, BAD = Level.GOOD, Level.WARN, Level.BAD


def check(name: str, **fields: Any) -> Check[Any]:
    blank: dict[str, Any] = {
        "title": name.capitalize(),
        "measure": lambda measurements: None,
        "evaluator": lambda measurement: [],
        "alarms_when": "never",
        "remedy": "Look.",
        "readers": frozenset({Reader.OVERVIEW}),
        "order": 1,
    }
    return Check(name=name, **blank | fields)


def said(findings: Sequence[Finding]) -> tuple[Level, str, str]:
    """What the only one says."""
    [one] = findings
    return one.level, one.value, one.message


# Levels at the thresholds.


@pytest.mark.parametrize(("failed", "level"), [(0, GOOD), (1, WARN), (5, WARN), (6, BAD)])
def test_one_failed_turn_is_a_warning_and_more_than_five_percent_are_an_alarm(failed: int, level: Level) -> None:
    assert FAILED_PERCENT == 5
    figures = CurrentTurns(turns=100, failed=failed)
    assert said(agent_checks.evaluate_failed(figures)) == (level, str(failed), "of 100 turns asked in it")


def test_an_hour_without_turns_is_a_good_one() -> None:
    assert said(agent_checks.evaluate_failed(CurrentTurns())) == (GOOD, "0", "of 0 turns asked in it")


@pytest.mark.parametrize(
    ("queued", "oldest", "expected"),
    [
        (0, None, (GOOD, "0", "nobody waits")),
        (1, SLOW_QUEUE_SECONDS, (GOOD, "1", "oldest for 30 s")),
        (1_234, SLOW_QUEUE_SECONDS + 1, (BAD, "1,234", "oldest for 31 s")),
    ],
)
def test_the_queue_alarms_when_its_oldest_waits_too_long(queued: int, oldest: float | None, expected: Any) -> None:
    assert said(agent_checks.evaluate_queue(CurrentTurns(queued=queued, oldest_seconds=oldest))) == expected


def test_turns_that_are_answered_alarm_nobody() -> None:
    assert said(agent_checks.evaluate_running(CurrentTurns(running=2_000))) == (GOOD, "2,000", "turns with a runner")


def test_one_stuck_turn_is_an_alarm() -> None:
    assert said(agent_checks.evaluate_stuck(CurrentTurns())) == (GOOD, "0", "every turn is cared for")
    assert said(agent_checks.evaluate_stuck(CurrentTurns(stuck=1))) == (BAD, "1", "past their lease or deadline")


def test_a_runner_is_enough_and_none_is_an_alarm() -> None:
    up = CurrentTurns(runners=1, capacity=1_000)
    assert said(agent_checks.evaluate_runners(up)) == (GOOD, "1", "room for 1,000 turns")
    assert said(agent_checks.evaluate_runners(CurrentTurns())) == (BAD, "0", "nothing is answered")
    assert highest_level(agent_checks.evaluate_alive(True)) is GOOD
    assert said(agent_checks.evaluate_alive(False)) == (BAD, "", "no runner has reported itself lately")


@pytest.mark.parametrize(
    ("age", "failed", "expected"),
    [
        (0, 0, (GOOD, "0", "every last run went well")),
        (SCHEDULER_STALE_SECONDS, 2, (BAD, "2", "of the last runs failed")),
        (SCHEDULER_STALE_SECONDS + 1, 2, (BAD, "2", "the scheduler is silent for 3 min")),
        (None, 0, (BAD, "0", "the scheduler has never reported")),
    ],
)
def test_maintenance_alarms_for_a_failed_job_and_first_of_all_for_a_silent_scheduler(
    age: float | None, failed: int, expected: Any
) -> None:
    assert said(evaluate_maintenance(Maintenance(age, failed))) == expected


def test_a_schedule_that_cannot_be_read_alarms() -> None:
    [finding] = evaluate_maintenance(Maintenance(1.0, failed=0, rejected=2))
    assert (finding.level, finding.value) == (BAD, "2")
    assert finding.remedy


def test_a_scheduler_that_missed_its_beats_is_not_ready() -> None:
    assert highest_level(evaluate_scheduler(SCHEDULER_STALE_SECONDS)) is GOOD
    for age in (SCHEDULER_STALE_SECONDS + 1, None):
        assert said(evaluate_scheduler(age)) == (BAD, "", "has not run a task lately")


def test_what_to_do_about_maintenance_depends_on_what_is_wrong() -> None:
    maintenance = registry["maintenance"]
    remedies = [maintenance.evaluate(Maintenance(age, 1))[0].remedy for age in (0.0, None)]
    assert [remedy.split()[0] for remedy in remedies] == ["Open", "Start"]


def test_a_database_needs_its_migrations_and_the_extension() -> None:
    assert (
        highest_level(evaluate_database(True))
        is highest_level(evaluate_migrations([]))
        is highest_level(evaluate_pgvector(MIN_PGVECTOR))
        is GOOD
    )
    assert said(evaluate_database(False)) == (BAD, "", "cannot be reached")
    assert said(evaluate_migrations(["agents", "memory"])) == (BAD, "", "not applied: agents, memory")
    assert said(evaluate_pgvector(None)) == (BAD, "", "not installed")
    assert said(evaluate_pgvector((0, 7))) == (BAD, "", "older than 0.8")


def test_each_kind_of_failure_is_named_with_its_agent_its_remedy_and_its_turns() -> None:
    agent_id = UUID(int=1)
    kinds = [FailureKind(1_000, "auth", agent_id, "Demo", NOON), FailureKind(1, "", agent_id, "Demo", NOON)]
    known, other = registry["failure_kinds"].evaluate(kinds)
    assert (known.level, known.message) == (WARN, "1,000 failed with auth, agent Demo")
    assert (other.level, other.message) == (WARN, "1 failed with no class, agent Demo")
    assert "key" in known.remedy
    assert other.remedy == registry["failure_kinds"].remedy
    assert known.agent_id == other.agent_id == agent_id
    links = [finding.link.query for finding in (known, other) if finding.link]
    query = {"state": "unanswered", "agent": agent_id, "since": "2026-01-01T12:00"}
    assert links == [{"error": "auth", **query}, query]


def test_a_key_that_ends_is_named_with_its_owner_and_its_page() -> None:
    [finding] = evaluate_keys([EndingKey(UUID(int=1), "bot (abc…)", "ada", NOON)])
    assert (finding.level, finding.message) == (WARN, "The key bot (abc…) of ada ends on 2026-01-01")
    assert finding.link == Link("admin:accounts_apikey_change", (UUID(int=1),))


# The list.


def test_two_checks_of_one_name_are_refused_and_the_same_one_again_is_not() -> None:
    checks, queue = HealthCheckRegistry(), check("queue")
    checks.register(queue, check("runners"))
    checks.register(queue)
    with pytest.raises(ValueError, match="'queue'"):
        checks.register(replace(queue, title="Another"))
    assert list(checks) == [queue, checks["runners"]]


def test_checks_stand_in_their_own_order_whoever_comes_first() -> None:
    checks = HealthCheckRegistry()
    checks.register(check("c", order=2), check("b", order=2), check("z", order=1))
    checks.register(check("a", order=3))
    assert [one.name for one in checks] == ["z", "b", "c", "a"]


def test_a_reader_gets_its_own_checks_as_far_as_its_permissions_go() -> None:
    checks = HealthCheckRegistry()
    both = frozenset({Reader.OVERVIEW, Reader.READY})
    checks.register(check("free", readers=both), check("keys", permissions=("see_keys", "see_people")))

    def read(reader: Reader, *held: str) -> list[str]:
        return [one.name for one in checks.for_reader(reader, has_permission=lambda permission: permission in held)]

    assert read(Reader.OVERVIEW, "see_keys", "see_people") == ["free", "keys"]
    assert read(Reader.OVERVIEW, "see_keys") == read(Reader.READY, "see_keys", "see_people") == ["free"]
    assert [one.name for one in checks.for_reader(Reader.OVERVIEW)] == ["free"]


@pytest.mark.parametrize("findings", [[], [Finding(GOOD, "words")], [Finding(GOOD, "words", "1")] * 2])
def test_a_figure_is_one_finding_with_a_value(findings: list[Finding]) -> None:
    with pytest.raises(ValueError, match="'queue'"):
        check("queue", is_metric=True, evaluator=lambda measurement: findings).evaluate(None)


def test_the_worst_finding_is_the_level_of_all() -> None:
    assert highest_level([]) is GOOD
    assert highest_level([Finding(WARN, ""), Finding(BAD, ""), Finding(GOOD, "")]) is BAD


def test_every_check_that_alarms_says_what_to_do() -> None:
    assert {one.name for one in registry if not one.remedy} == {"active_sessions", "running_turns"}
    assert [one.name for one in registry if one.concerns is Concerns.AGENT] == [
        "live_releases",
        "deployments",
        "failure_kinds",
    ]
    assert {one.detailed_by for one in registry if one.detailed_by} <= {one.name for one in registry}


# The documents.


def table_of_figures() -> list[list[str]]:
    """The rows of the table in the guide's chapter on the start page."""
    table = re.search(r"^\| figure \|.*\n\| --- .*\n((?:\|.*\n)+)", chapter(), re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table[1].splitlines()]


def chapter() -> str:
    text = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    return text.partition("## The start page\n")[2].partition("\n## ")[0]


def test_the_guide_tells_of_every_figure_when_it_alarms_and_of_what_to_do_if_it_does() -> None:
    figures = [one for one in registry.for_reader(Reader.OVERVIEW, has_permission=lambda _: True) if one.is_metric]
    told = table_of_figures()
    assert [row[:2] for row in told] == [[one.title, one.alarms_when] for one in figures]
    assert [bool(row[2]) for row in told] == [bool(one.remedy) for one in figures]


def test_the_guide_tells_of_what_else_needs_somebody() -> None:
    text = " ".join(chapter().split())
    others = [one for one in registry.for_reader(Reader.OVERVIEW, has_permission=lambda _: True) if not one.is_metric]
    assert others
    assert [one.name for one in others if one.alarms_when not in text] == []


def test_the_guide_names_the_logs_that_a_remedy_names() -> None:
    text = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    named = {name for one in registry for name in re.findall(r"var/logs/\S+\.log", one.remedy)}
    assert named == {"var/logs/runner-*.log", "var/logs/scheduler.log"}
    assert {name for name in named if name not in text} == set()


def test_the_documents_name_the_parts_of_readiness() -> None:
    text = " ".join((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split())
    parts = ", ".join(one.name for one in registry.for_reader(Reader.READY))
    assert f"`curl -s http://127.0.0.1:8000/ready` names what fails: {parts}." in text
