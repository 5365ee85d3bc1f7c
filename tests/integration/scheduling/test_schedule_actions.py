"""The timetable: our rows, their mirror in the scheduler, and a row for every run."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.db import IntegrityError, transaction
from django_q.models import OrmQ
from django_q.models import Schedule as Q2Schedule

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from foundation.advisory_locks import LockFamily
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput, NotFound, PreconditionFailed
from foundation.job_registry import Job, jobs
from scheduling import q2_sync
from scheduling.job_execution import run_job, run_scheduled
from scheduling.models import JobRun, Schedule
from scheduling.schedule_actions import change_schedule, check_timing, run_now
from scheduling.tasks import purge_old_runs, record_scheduler_heartbeat
from tests.support.advisory_locks import held_elsewhere
from tests.support.people import person

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
REAP = "reap lost turns"
NIGHTLY = "delete old job runs"


def fail() -> int:
    raise RuntimeError("no room on the disk")


def count() -> int:
    return 3


def job(function: Callable[[], object] | str) -> Job:
    return Job("a test", function, "Tests.", "things counted", every_minutes=1)


@pytest.fixture(autouse=True)
def timetable() -> None:
    q2_sync.sync_schedules()


def due() -> dict[str, Any]:
    return {row.name: row.next_run for row in Q2Schedule.objects.all()}


def change(name: str = REAP, **values: Any) -> Schedule:
    row = Schedule.objects.get(job=name)
    now_set = {name: getattr(row, name) for name in ("enabled", "every_minutes", "cron", "time_zone")}
    return change_schedule(SYSTEM, schedule_id=row.pk, expected_version=row.version, **now_set | values)


def test_the_scheduler_has_the_closed_list_and_nothing_else() -> None:
    Q2Schedule.objects.create(name="injected", func="os.system", args="'true'")
    Schedule.objects.create(job="gone", every_minutes=1)
    before = due()
    q2_sync.sync_schedules()
    assert set(due()) == {q2_sync.HEARTBEAT, *jobs.names()}
    assert set(Schedule.objects.values_list("job", flat=True)) == set(jobs.names())
    assert {name: before[name] for name in due()} == due(), "what was due keeps its time"
    assert set(Q2Schedule.objects.values_list("func", flat=True)) == {q2_sync.HEARTBEAT_FUNCTION, q2_sync.RUN_FUNCTION}


def test_a_row_that_is_there_twice_is_there_once_again() -> None:
    row = Q2Schedule.objects.get(name=REAP)
    row.pk = None
    row.save()
    q2_sync.sync_schedules()
    assert Q2Schedule.objects.filter(name=REAP).count() == 1


def test_what_somebody_wrote_into_the_mirror_is_put_right() -> None:
    Q2Schedule.objects.filter(name=REAP).update(func="os.system", args="'true'")
    record_scheduler_heartbeat()
    assert Q2Schedule.objects.get(name=REAP).func == q2_sync.RUN_FUNCTION


@pytest.mark.parametrize("one", list(jobs), ids=lambda one: one.name)
def test_each_job_is_a_synchronous_function_without_arguments_that_may_run_twice(one: Job) -> None:
    assert not iscoroutinefunction(one.load())  # its result would never be acknowledged
    assert [run_job(one, asked_by="tests"), run_job(one, asked_by="tests")] == ["done", "done"]
    assert JobRun.objects.filter(job=one.name, status="done", finished_at__isnull=False).count() == 2


def test_a_run_says_what_it_did() -> None:
    assert run_job(job(count), asked_by="olga") == "done"
    run = JobRun.objects.get()
    assert (run.status, run.outcome, run.error, run.asked_by) == ("done", "3 things counted", "", "olga")


def test_a_run_that_fails_says_why_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    assert run_job(job(fail), asked_by="tests") == "failed"
    run = JobRun.objects.get()
    assert (run.status, run.error) == ("failed", "RuntimeError: no room on the disk")
    assert "job.failed" in caplog.text
    assert run_scheduled(REAP) == "done"


def test_a_job_that_cannot_be_found_fails_as_its_run() -> None:
    assert run_job(job("agents.tasks.nothing_of_that_name"), asked_by="tests") == "failed"


def test_an_unknown_name_runs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert run_scheduled("os.system") == "unknown"
    assert not JobRun.objects.exists()


def test_a_job_that_was_switched_off_meanwhile_does_not_run() -> None:
    change(enabled=False)
    assert REAP not in due()
    assert run_scheduled(REAP) == "off"
    assert run_scheduled(REAP, "olga") == "done", "but whoever asks for it gets it"


def test_a_run_whose_worker_died_is_lost_once_the_next_one_begins() -> None:
    dead = JobRun.objects.create(job="a test", asked_by="tests")
    run_job(job(count), asked_by="tests")
    dead.refresh_from_db()
    assert dead.status == "lost"
    assert dead.finished_at is not None


def test_a_job_does_not_run_beside_itself() -> None:
    one = job(count)
    with held_elsewhere(LockFamily.RUN_JOB.lock(one.name.encode())):
        assert run_job(one, asked_by="tests") == "skipped"
    assert JobRun.objects.get().outcome == "still running from before"
    assert run_job(one, asked_by="tests") == "done"


def test_a_job_by_cron_is_due_again_after_its_run() -> None:
    change(cron="30 3 * * *", every_minutes=None)
    assert due()[REAP].strftime("%H:%M") == "03:30"
    Q2Schedule.objects.filter(name=REAP).delete()  # as the scheduler does when it hands the run out
    run_scheduled(REAP)
    assert due()[REAP] > now()


def test_a_job_by_cron_is_due_by_the_clocks_of_its_zone() -> None:
    assert Schedule.objects.get(job=NIGHTLY).time_zone == "UTC"
    at_three = due()[NIGHTLY]
    change(NIGHTLY, time_zone="Asia/Tokyo")
    assert (at_three - due()[NIGHTLY]) % timedelta(days=1) == timedelta(hours=9)
    assert due()[NIGHTLY] > now()
    change(NIGHTLY, time_zone="UTC")
    assert due()[NIGHTLY] == at_three


def test_a_time_that_is_not_its_own_is_put_right_and_one_that_is_due_is_kept() -> None:
    right, past = due()[NIGHTLY], now() - timedelta(minutes=5)
    Q2Schedule.objects.filter(name=NIGHTLY).update(next_run=right + timedelta(hours=1))
    record_scheduler_heartbeat()
    assert due()[NIGHTLY] == right
    Q2Schedule.objects.filter(name=NIGHTLY).update(next_run=past)
    record_scheduler_heartbeat()
    assert due()[NIGHTLY] == past


@pytest.mark.parametrize("wrong", [{"time_zone": "Mars/Olympus"}, {"cron": "every night"}])
def test_a_row_that_cannot_be_read_stops_no_other(wrong: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    Schedule.objects.filter(job=NIGHTLY).update(**wrong)
    q2_sync.sync_schedules()
    assert set(due()) == {q2_sync.HEARTBEAT, *jobs.names()} - {NIGHTLY}
    assert "schedule.rejected" in caplog.text
    assert run_scheduled(REAP) == "done"


@pytest.mark.parametrize("one", list(jobs), ids=lambda one: one.name)
def test_each_job_begins_with_a_timing_that_people_could_give(one: Job) -> None:
    check_timing(one.every_minutes, one.cron, "UTC")


def test_a_changed_timing_is_mirrored_at_once_and_told() -> None:
    row = change(every_minutes=5)
    mirrored = Q2Schedule.objects.get(name=REAP)
    assert (mirrored.minutes, mirrored.schedule_type, row.version) == (5, Q2Schedule.MINUTES, 2)
    entry = AuditEntry.objects.latest("id")
    told = {"enabled": True, "every_minutes": 5, "cron": "", "time_zone": "UTC"}
    assert (entry.action, entry.detail) == ("schedule.changed", told)
    assert change(every_minutes=5).version == 2, "nothing changed"


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"every_minutes": None, "cron": "0 0 31 2 *"}, "/cron"),
        ({"every_minutes": None, "cron": "x"}, "/cron"),
        ({"every_minutes": None, "cron": ""}, "/every_minutes"),
        ({"every_minutes": 5, "cron": "* * * * *"}, "/every_minutes"),
        ({"every_minutes": 0}, "/every_minutes"),
        ({"every_minutes": 10_081}, "/every_minutes"),
        ({"every_minutes": None, "cron": "30 3 * * *", "time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"time_zone": ""}, "/time_zone"),
    ],
)
def test_a_timing_that_makes_no_sense_is_refused(values: dict[str, Any], pointer: str) -> None:
    before = due()
    with pytest.raises(InvalidInput) as refused:
        change(**values)
    assert refused.value.pointer == pointer
    assert due() == before


def test_the_database_holds_exactly_one_timing() -> None:
    for wrong in ({"every_minutes": None}, {"cron": "* * * * *"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Schedule.objects.filter(job=REAP).update(**wrong)


def test_who_was_second_is_told() -> None:
    row = Schedule.objects.get(job=REAP)
    with pytest.raises(PreconditionFailed):
        change_schedule(
            SYSTEM,
            schedule_id=row.pk,
            expected_version=row.version + 1,
            enabled=True,
            every_minutes=2,
            cron="",
            time_zone="UTC",
        )
    with pytest.raises(NotFound):
        run_now(SYSTEM, schedule_id=0)


def is_allowed(verb: Callable[[], object]) -> bool:
    try:
        verb()
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    ("role", "may_change", "may_run"),
    [
        (Role.USER, False, False),
        (Role.VIEWER, False, False),
        (Role.BUILDER, False, False),
        (Role.OPERATOR, False, True),
        (Role.OWNER, True, True),
    ],
)
def test_owners_change_the_timetable_and_operators_run_jobs(role: Role, may_change: bool, may_run: bool) -> None:
    actor, row = user_actor(person("ada", role)), Schedule.objects.get(job=REAP)

    def change_it() -> Schedule:
        return change_schedule(
            actor, schedule_id=row.pk, expected_version=1, enabled=False, every_minutes=1, cron="", time_zone="UTC"
        )

    def run_it() -> Schedule:
        return run_now(actor, schedule_id=row.pk)

    assert [is_allowed(change_it), is_allowed(run_it)] == [may_change, may_run]
    assert OrmQ.objects.count() == may_run


def test_runs_are_forgotten_after_the_days_of_the_setting() -> None:
    long_ago = now() - timedelta(days=settings.BANDSTAND.job_run_days, minutes=1)
    old = JobRun.objects.create(job=REAP, asked_by="tests", started_at=long_ago)
    new = JobRun.objects.create(job=REAP, asked_by="tests")
    assert purge_old_runs() == 1
    assert list(JobRun.objects.all()) == [new]
    assert old.pk != new.pk


def test_a_beat_can_be_queued_at_once() -> None:
    q2_sync.queue_heartbeat()
    assert OrmQ.objects.get().func() == q2_sync.HEARTBEAT_FUNCTION
