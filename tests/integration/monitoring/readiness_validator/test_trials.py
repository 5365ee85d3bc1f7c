"""The trials themselves: the real code, in a process of its own, on tables of its own."""

from __future__ import annotations

import json
import threading

import pytest
from django.core.management import call_command
from django.db import connection

from accounts.actor import Actor
from accounts.permissions import user_actor
from accounts.roles import Role
from foundation.errors import Conflict, Forbidden
from monitoring.models import ReadinessRun
from monitoring.readiness_validator.check_lines import Area
from monitoring.readiness_validator.runs import newest_run, purge_runs, read_lines, run_now, start_run
from monitoring.readiness_validator.scratch.running_trials import run_trials
from monitoring.readiness_validator.scratch.scratch_schema import SCHEMA
from monitoring.readiness_validator.scratch.trial_process import use_scratch_schema
from monitoring.readiness_validator.scratch.trial_settings import BREAKER, TrialSettings
from tests.support.people import agent, person

# What a run itself leaves: its result, and who asked for it.
_RESULT = {"monitoring_readinessrun", "accounts_auditentry"}


def counted_rows() -> dict[str, int]:
    """How many rows each table has."""
    with connection.cursor() as cursor:
        counts = {}
        for table in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
    return {table: count for table, count in counts.items() if table not in _RESULT}


def has_scratch_schema() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s) IS NOT NULL", [SCHEMA])
        return bool(cursor.fetchone()[0])


@pytest.mark.usefixtures("transactional_db")
def test_a_run_tries_everything_and_counts_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    agent()
    person("olga", Role.OWNER)
    before = counted_rows()
    with pytest.raises(SystemExit) as status:
        call_command("validate_readiness", "--agent", "demo", "--json")
    assert status.value.code == 1, "no runner and no scheduler is at work in this test"
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "failed"
    assert {line["name"] for line in document["lines"] if line["outcome"] == "failed"} == {
        "runner", "scheduler", "maintenance", "durability",
    }  # fmt: skip
    assert {line["area"] for line in document["lines"]} == {
        "configuration", "dependencies", "error handling", "memory management", "performance", "security", "monitoring",
    }  # fmt: skip
    assert counted_rows() == before
    assert not has_scratch_schema()
    run = newest_run(agent_id=ReadinessRun.objects.get().agent_id)
    assert run is not None
    assert [line.dump() for line in read_lines(run)] == document["lines"]


@pytest.mark.usefixtures("transactional_db")
def test_what_does_not_work_is_measured() -> None:
    """Nobody answers: no model, no receiver of notifications, no provider that recovers."""
    failing = TrialSettings(
        sessions=2,
        rounds=1,
        load_text="[[offline fail=bad_request]]",
        recovers=False,
        recovery_seconds=0.5,
        receiver_answers=False,
    )
    report = run_trials(failing)
    assert not report.faults
    assert report.results["breaker"]["opened"]
    assert "closed_seconds" not in report.results["breaker"]
    assert report.results["load"]["completed"] == 0
    assert report.results["load"]["failed"] == ["bad_request"]
    assert (report.results["alert"]["fired"], report.results["alert"]["arrived"]) == (True, 0)


@pytest.mark.django_db
def test_a_role_that_may_make_no_schema_is_told_so() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_database())")
        cursor.execute(f"REVOKE CREATE ON DATABASE {cursor.fetchone()[0]} FROM CURRENT_USER, PUBLIC")
    report = run_trials(TrialSettings())
    assert not report.results
    assert "schema" in report.fault(BREAKER)


@pytest.mark.usefixtures("transactional_db")
def test_connections_that_lead_to_the_real_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**connection.settings_dict["OPTIONS"]})
    connection.close()
    try:
        # As behind a pooler that leaves the options of a connection out: there is no such schema on it.
        with pytest.raises(SystemExit, match="search path"):
            use_scratch_schema("public")
    finally:
        connection.close()


@pytest.mark.usefixtures("transactional_db")
def test_a_process_that_dies_fails_all_trials_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSTAND_LEASE_SECONDS", "no number")
    report = run_trials(TrialSettings())
    assert set(report.faults) == set(TrialSettings().trials)
    assert not has_scratch_schema()


@pytest.mark.django_db
def test_one_run_at_a_time() -> None:
    ReadinessRun.objects.create(subject="the installation", requested_as="olga")
    with pytest.raises(Conflict):
        run_now(Actor.system("tests"))


@pytest.mark.django_db
def test_a_run_whose_process_has_ended_is_interrupted_by_the_next() -> None:
    gone = ReadinessRun.objects.create(subject="the installation", requested_as="olga")
    ReadinessRun.objects.update(started_at="2026-01-01T00:00:00Z")
    run = run_now(Actor.system("tests"), areas=[Area.CONFIGURATION])
    gone.refresh_from_db()
    assert (gone.status, run.status) == ("interrupted", "passed")
    assert {line.area for line in read_lines(run)} == {Area.CONFIGURATION}


@pytest.mark.usefixtures("transactional_db")
def test_a_run_of_the_console_goes_on_in_a_thread_of_its_own() -> None:
    agent()
    run = start_run(Actor.system("tests"), agent_slug="demo", areas=[Area.CONFIGURATION])
    for thread in threading.enumerate():
        if thread.name == "readiness":
            thread.join(20)
    run.refresh_from_db()
    assert (run.status, run.subject, run.requested_as) == ("passed", "Demo", "system:tests")


@pytest.mark.django_db
def test_old_results_go() -> None:
    run = run_now(Actor.system("tests"), areas=[])
    assert purge_runs() == 0
    ReadinessRun.objects.filter(pk=run.pk).update(started_at="2026-01-01T00:00:00Z")
    assert purge_runs() == 1


@pytest.mark.django_db
def test_who_may_not_run_the_checks_does_not() -> None:
    with pytest.raises(Forbidden):
        run_now(user_actor(person("vera", Role.VIEWER)))
