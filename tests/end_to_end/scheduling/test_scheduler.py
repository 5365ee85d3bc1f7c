"""The scheduler itself, as a process: what is due runs, and leaves its row; mail that is asked for goes out."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django_q.models import Schedule as Q2Schedule

from accounts.actor import Actor
from accounts.email_outbox import queue_emails
from accounts.models import OutgoingEmail
from accounts.roles import Role
from foundation.clock import now
from scheduling import q2_sync
from scheduling.models import Heartbeat, JobRun, Schedule
from scheduling.schedule_actions import change_schedule, run_now
from tests.chaos.program import Program
from tests.support.mailbox import Mailbox
from tests.support.people import person
from tests.support.running import wait_for
from tests.support.surroundings import PYTHON_PATH

pytestmark = pytest.mark.usefixtures("transactional_db")

LOGINS = "delete old logins"
HOURLY = "delete old counters"
OFF = "reap lost turns"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def start(transactional_db: None, box: Mailbox, tmp_path: Path) -> Iterator[list[Program]]:
    """Call it in the test: what is due must be there before."""
    started: list[Program] = []
    yield started
    for program in started:
        program.signal(signal.SIGTERM)
        wait_for(lambda program=program: not program.alive, 20)  # type: ignore[misc]


def scheduler(box: Mailbox, folder: Path, *arguments: str) -> Program:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{settings.DATABASES['default']['NAME']}")
    env = {
        **os.environ,
        "PYTHONPATH": PYTHON_PATH,
        "DATABASE_URL": urlunsplit(url),
        "BANDSTAND_DATA_DIR": str(folder),
        "BANDSTAND_PUBLIC_URL": "http://localhost:8000",
        "EMAIL_URL": f"smtp+plain://127.0.0.1:{box.port}",
        "EMAIL_FROM": "chat@example.org",
    }
    return Program("scheduler", ["tests.support.scheduler", *arguments], env=env, log=folder / "scheduler.log")


def test_what_is_due_runs_and_leaves_a_row_with_its_outcome(start: list[Program], box: Mailbox, tmp_path: Path) -> None:
    q2_sync.sync_schedules()
    ada = person("ada", Role.USER)
    ada.email = "ada@example.org"
    ada.save()
    off = Schedule.objects.get(job=OFF)
    system = Actor.system("tests")
    change_schedule(
        system, schedule_id=off.pk, expected_version=1, enabled=False, every_minutes=1, cron="", time_zone="UTC"
    )
    Session.objects.create(session_key="x" * 32, session_data="", expire_date=now() - timedelta(days=1))
    # One by cron and one by minutes, both missed for days; one by somebody's button; a letter that asks for itself.
    Q2Schedule.objects.filter(name__in=[LOGINS, HOURLY]).update(next_run=now() - timedelta(days=3))
    run_now(system, schedule_id=Schedule.objects.get(job="delete full buckets").pk)
    queue_emails([ada], kind=OutgoingEmail.Kind.FORGOTTEN)

    start.append(scheduler(box, tmp_path))
    wait_for(lambda: JobRun.objects.filter(job=LOGINS, finished_at__isnull=False).exists(), 60)
    run = JobRun.objects.get(job=LOGINS)
    assert (run.status, run.outcome, run.asked_by) == ("done", "1 logins forgotten", q2_sync.BY_TIMETABLE)
    assert not Session.objects.exists()
    wait_for(lambda: JobRun.objects.filter(asked_by="system:tests", status="done").exists(), 60)
    wait_for(lambda: OutgoingEmail.objects.filter(state="sent").exists(), 60)
    assert "Your user name: ada" in box.text_to("ada@example.org")
    wait_for(lambda: JobRun.objects.filter(job="compact ended turns", status="done").exists(), 60)
    wait_for(lambda: Heartbeat.objects.filter(name="scheduler").exists(), 60)
    wait_for(lambda: JobRun.objects.filter(job=HOURLY, status="done").exists(), 60)
    # However often they were missed, they run once, and next at their time; what is switched off did not run.
    for missed in (LOGINS, HOURLY):
        assert JobRun.objects.filter(job=missed).count() == 1
        assert Q2Schedule.objects.get(name=missed).next_run > now()
    assert not JobRun.objects.filter(job=OFF).exists()
    assert not JobRun.objects.exclude(status__in=["done", "running"]).exists()


def test_one_whose_workers_took_the_lock_of_the_queue_along_lets_its_file_grow_old(
    start: list[Program], box: Mailbox, tmp_path: Path
) -> None:
    file = tmp_path / "run" / "scheduler.alive"
    start.append(scheduler(box, tmp_path, "beats"))
    wait_for(file.exists, 60)
    for _ in range(3):  # for longer than a beat may remain unanswered: tasks pass through
        before = file.stat().st_mtime_ns
        wait_for(lambda before=before: file.stat().st_mtime_ns > before + 300_000_000, 20)  # type: ignore[misc]
    [guard] = psutil.Process(start[0].pid).children()
    # Idle, each as long as the other waits for a task: one holds the lock, django-q2/django-q2#23.
    workers = guard.children()[:2]
    for worker in workers:
        worker.kill()
    try:
        wait_for(lambda: age(file) > 3, 60)
        assert guard.is_running(), "nothing has died that anybody would notice"
        assert len(guard.children()) == 4
    finally:
        # No signal ends it in order.
        for process in [*guard.children(), guard]:
            process.kill()
        start[0].kill()


def age(file: Path) -> float:
    """Seconds since it was touched; files have the clock of the machine."""
    return time.time() - file.stat().st_mtime
