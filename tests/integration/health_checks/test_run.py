"""Running checks over real rows: each by itself, in bounded time, and never twice for one measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext
from django_q.models import Schedule as Mirrored

from accounts.roles import Role
from agents.health_checks import turn_figures
from agents.models import Runner
from agents.models.runners import heartbeat_timeout
from foundation.clock import now
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.registry import registry
from health_checks.run import CheckResult, Measurements, run_checks
from monitoring import readiness
from scheduling.health_checks import Maintenance, maintenance
from scheduling.models import JobRun, Schedule
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.consoles import client_of

pytestmark = pytest.mark.usefixtures("transactional_db")

SECONDS = 30.0


@pytest.fixture
def other(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """Another connection to the same database."""
    wrapper = connection.copy()
    yield wrapper
    wrapper.close()


def statement(sql: str) -> Callable[[Measurements], Any]:
    """A measurement by one statement."""

    def measure(measurements: Measurements) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    return measure


def value_of(measurement: Any) -> list[Finding]:
    return [Finding(Level.WARN if measurement else Level.GOOD, str(measurement))]


def check(name: str, measure: Callable[[Measurements], Any], **fields: Any) -> Check[Any]:
    blank: dict[str, Any] = {
        "title": name,
        "evaluator": value_of,
        "alarms_when": "always",
        "remedy": "Look.",
        "readers": frozenset({Reader.OVERVIEW}),
        "order": 1,
    }
    return Check(name=name, measure=measure, **blank | fields)


ONE = check("one", statement("SELECT 1"))
BROKEN = check("broken", statement("SELECT 1 FROM no_such_table"))


def run(*checks: Check[Any], seconds: float = SECONDS) -> list[CheckResult]:
    return run_checks(checks, now=now(), seconds=seconds)


def outcomes(results: list[CheckResult]) -> list[str | None]:
    """The fault of each check, or its words."""
    return [str(result.fault) if result.fault else result.findings[0].message for result in results]


def limit() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return str(cursor.fetchone()[0])


def rewritten(old: str, new: str) -> AbstractContextManager[None]:
    """Every statement with other words in it."""

    def wrapper(execute: Any, sql: str, params: object, many: bool, context: object) -> Any:
        return execute(sql.replace(old, new), params, many, context)

    return connection.execute_wrapper(wrapper)


def test_no_checks_ask_nothing(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert run() == []


def test_a_finding_has_the_check_s_remedy_and_link_unless_it_brings_its_own() -> None:
    own = [Finding(Level.BAD, "words", remedy="Mend.", link=Link("admin:index")), Finding(Level.WARN, "words")]
    [result] = run(check("two", statement("SELECT 1"), evaluator=lambda value: own, link=Link("admin:guide")))
    told = [(finding.remedy, finding.link.url() if finding.link else "") for finding in result.findings]
    assert told == [("Mend.", "/admin/"), ("Look.", "/admin/guide/")]
    assert result.level is Level.BAD


def raises(measurement: Any) -> list[Finding]:
    raise RuntimeError("a fault in a check")


@pytest.mark.parametrize(
    "failing",
    [BROKEN, check("broken", raises), check("broken", statement("SELECT 1"), evaluator=raises)],
    ids=["statement", "measure", "evaluator"],
)
def test_a_failing_check_says_so_and_does_not_take_the_others(failing: Check[Any]) -> None:
    results = run(ONE, failing, ONE)
    assert outcomes(results) == ["1", "failed", "1"]
    assert (results[1].level, results[1].findings) == (None, ())
    assert results[1].error is not None


@pytest.mark.parametrize("seconds", [3.0, SECONDS], ids=["the run's limit", "the limit of locks"])
def test_a_slow_check_says_so_and_does_not_take_the_others(other: BaseDatabaseWrapper, seconds: float) -> None:
    before = limit()
    with other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE agents_runner")
        waits = check("waits", statement("SELECT count(*) FROM agents_runner"))
        assert outcomes(run(waits, ONE, seconds=seconds)) == ["late", "1"]
    assert limit() == before


def test_what_is_not_begun_in_time_says_so() -> None:
    assert outcomes(run(ONE, ONE, seconds=0)) == ["late", "late"]


def test_what_is_measured_already_is_judged_however_late_it_is() -> None:
    began = time.monotonic()

    def slow(measurements: Measurements) -> int:
        while time.monotonic() < began + 0.7:
            pass
        return 7

    assert outcomes(run(check("a", slow), ONE, check("b", slow), seconds=0.9)) == ["7", "late", "7"]


def test_each_statement_of_a_run_is_limited_and_none_after_it() -> None:
    before = limit()
    [result] = run(check("limit", statement("SELECT current_setting('statement_timeout')")))
    assert result.findings[0].message == "10s"
    run(BROKEN)
    assert limit() == before


def test_a_connection_that_keeps_the_limit_is_given_up() -> None:
    before = limit()

    def refuses(execute: Any, sql: str, params: object, many: bool, context: object) -> Any:
        if sql.startswith("RESET"):
            raise OperationalError("no")
        return execute(sql, params, many, context)

    ours: Any = connection.connection
    with connection.execute_wrapper(refuses):
        run(ONE)
    assert ours.closed  # or the pool would hand it to the next request
    assert limit() == before


def test_checks_that_share_a_measurement_measure_once() -> None:
    shared = statement("SELECT 7 AS shared")
    checks = [check("a", shared), check("b", shared), check("c", lambda measurements: measurements.get(shared) + 1)]
    with CaptureQueriesContext(connection) as queries:
        assert outcomes(run(*checks)) == ["7", "7", "8"]
    assert len([query for query in queries if "shared" in query["sql"]]) == 1


def test_checks_that_share_a_failing_measurement_try_it_once() -> None:
    shared = statement("SELECT 1 FROM no_such_table")
    with CaptureQueriesContext(connection) as queries:
        assert outcomes(run(check("a", shared), check("b", shared), ONE)) == ["failed", "failed", "1"]
    assert len([query for query in queries if "no_such_table" in query["sql"]]) == 1


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """What the run wrote: level, event and check."""
    events = [(record.levelname, record.msg) for record in caplog.records if isinstance(record.msg, dict)]
    return [(level, event["event"], event["check"]) for level, event in events]


def away(measurements: Measurements) -> None:
    raise OperationalError("the server is gone")


def test_an_error_is_logged_once_and_a_fault_of_ours_louder_than_a_server_that_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(check("a", raises), check("b", raises), BROKEN, check("away", away), ONE)
    assert logged(caplog) == [
        ("ERROR", "check.failed", "a"),
        ("ERROR", "check.failed", "broken"),
        ("WARNING", "check.failed", "away"),
    ]


def test_what_stands_after_a_prerequisite_that_is_not_good_is_skipped() -> None:
    good = check("good", statement("SELECT 0"), prerequisite=True)
    bad = check("bad", statement("SELECT 1"), prerequisite=True)
    broken = check("broken", BROKEN.measure, prerequisite=True)
    assert outcomes(run(good, ONE)) == ["0", "1"]
    assert outcomes(run(ONE, bad, ONE, ONE)) == ["1", "1", "skipped", "skipped"]
    assert outcomes(run(broken, ONE)) == ["failed", "skipped"]


# The checks that there are.


def test_the_permissions_of_every_check_are_ones_that_can_be_held() -> None:
    names = Permission.objects.values_list("content_type__app_label", "codename")
    held = {f"{app}.{codename}" for app, codename in names}
    assert {permission for one in registry for permission in one.permissions} <= held


def test_only_readiness_is_told_to_people_without_permissions() -> None:
    assert {reader for one in registry if not one.permissions for reader in one.readers} == {Reader.READY}


def test_every_check_of_the_start_page_leads_to_a_page() -> None:
    owner = client_of("olga", Role.OWNER)
    for one in registry.for_reader(Reader.OVERVIEW, has_permission=lambda _: True):
        assert one.link is not None, one.name
        assert owner.get(one.link.url()).status_code == 200, one.name


def test_the_figure_counts_the_runners_that_are_alive() -> None:
    moments = [
        now(),
        now() - heartbeat_timeout() + timedelta(seconds=5),
        now() - heartbeat_timeout() - timedelta(seconds=5),
    ]
    for number, (status, at) in enumerate(product(Runner.Status, moments)):
        Runner.objects.create(host="host", pid=number, capacity=10, status=status, heartbeat_at=at)
    figures = turn_figures(Measurements(now()))
    assert (figures.runners, figures.capacity) == (2, 20)
    assert Runner.objects.alive().count() == figures.runners


def test_a_schedule_counts_as_rejected_while_the_scheduler_does_not_have_it() -> None:
    Schedule.objects.create(job="job", every_minutes=1)
    assert maintenance(Measurements(now())).rejected == 1
    Mirrored.objects.create(name="job", func="print")
    assert maintenance(Measurements(now())).rejected == 0


@pytest.mark.parametrize(
    ("runs", "failed"),
    [
        ([], 0),
        ([JobRun.Status.FAILED], 1),
        ([JobRun.Status.LOST], 1),
        ([JobRun.Status.SKIPPED], 0),
        ([JobRun.Status.FAILED, JobRun.Status.DONE], 0),
        ([JobRun.Status.DONE, JobRun.Status.FAILED, JobRun.Status.RUNNING], 1),
    ],
)
def test_a_job_counts_by_the_last_of_its_runs_that_is_over(runs: list[JobRun.Status], failed: int) -> None:
    Schedule.objects.create(job="job", every_minutes=1, enabled=False)
    JobRun.objects.create(job="gone", asked_by="nobody", status=JobRun.Status.FAILED)
    for status in runs:
        JobRun.objects.create(job="job", asked_by="nobody", status=status)
    assert maintenance(Measurements(now())) == Maintenance(None, failed)
    record_scheduler_heartbeat()
    age = maintenance(Measurements(now())).silent_seconds
    assert age is not None
    assert age < 60


def failing() -> dict[str, str]:
    return {part.part: part.detail for part in readiness.failing_parts()}


def test_readiness_names_the_part_that_could_not_be_checked_beside_what_is_known() -> None:
    with rewritten("pg_extension", "no_such_table"):
        assert failing() == {
            "database": "does not answer as it should",
            "pgvector": "could not be checked",
            "runner": "no runner has reported itself lately",
            "scheduler": "has not run a task lately",
        }


def test_readiness_outlives_a_connection_that_breaks(other: BaseDatabaseWrapper) -> None:
    record_scheduler_heartbeat()
    pid = statement("SELECT pg_backend_pid()")(Measurements(now()))
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert failing() == {"database": "does not answer as it should", "migrations": "could not be checked"}
    connection.close()
    assert set(failing()) == {"runner"}


def test_the_time_of_readiness_is_less_than_a_probe_waits() -> None:
    from bandstand.health import READY_SECONDS

    assert timedelta(seconds=readiness.CHECK_SECONDS) < timedelta(seconds=READY_SECONDS)
