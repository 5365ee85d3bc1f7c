"""What the scheduler itself makes of our rows, in its own loop and its own transactions."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ
from django_q.models import Schedule as Q2Schedule
from django_q.scheduler import scheduler

from accounts.actor import Actor
from foundation.clock import now
from foundation.job_registry import jobs
from scheduling import q2_sync
from scheduling.job_execution import run_scheduled
from scheduling.models import JobRun, Schedule
from scheduling.schedule_actions import change_schedule

pytestmark = pytest.mark.usefixtures("transactional_db")

REAP = "reap lost turns"


def by_cron(name: str) -> None:
    row = Schedule.objects.get(job=name)
    change_schedule(
        Actor.system("tests"),
        schedule_id=row.pk,
        expected_version=1,
        enabled=True,
        every_minutes=None,
        cron="0 3 * * *",
        time_zone="UTC",
    )


def handed_out() -> list[Any]:
    """What the workers would run: every function and its arguments, taken from the queue."""
    tasks = [one.task for one in OrmQ.objects.order_by("id")]
    OrmQ.objects.all().delete()
    return sorted((task["func"], *task["args"]) for task in tasks)


EVERYTHING = sorted([(q2_sync.HEARTBEAT_FUNCTION,), *((q2_sync.RUN_FUNCTION, one.name) for one in jobs)])


def test_after_a_month_of_downtime_every_job_runs_once() -> None:
    q2_sync.sync_schedules()
    by_cron(REAP)
    Q2Schedule.objects.update(next_run=now() - timedelta(days=30))
    q2_sync.sync_schedules()  # as at every start
    scheduler()
    assert handed_out() == EVERYTHING
    for one in jobs:
        assert run_scheduled(one.name) == "done"
    assert {row.name for row in Q2Schedule.objects.filter(next_run__gt=now())} == {
        q2_sync.HEARTBEAT,
        *jobs.names(),
    }
    scheduler()
    assert handed_out() == []
    assert JobRun.objects.count() == len(jobs)


def test_many_who_mirror_at_once_make_one_row_each() -> None:
    q2_sync.sync_schedules()
    Q2Schedule.objects.all().delete()
    barrier = Barrier(4)

    def start() -> None:
        barrier.wait()
        try:
            q2_sync.sync_schedules()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(start) for _ in range(4)]:
            done.result()
    assert sorted(Q2Schedule.objects.values_list("name", flat=True)) == sorted([q2_sync.HEARTBEAT, *jobs.names()])


def test_one_by_cron_whose_worker_died_is_due_again_after_the_next_heartbeat() -> None:
    q2_sync.sync_schedules()
    by_cron(REAP)
    Q2Schedule.objects.filter(name=REAP).update(next_run=now() - timedelta(minutes=1))
    scheduler()
    assert not Q2Schedule.objects.filter(name=REAP).exists()
    q2_sync.sync_schedules()
    assert Q2Schedule.objects.get(name=REAP).next_run > now()
