"""A scheduler that is frozen is started anew, whether its file or its heartbeat in the database says so."""

import asyncio
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from psycopg.conninfo import make_conninfo

from bandstand.supervisor import scheduler_watch
from scheduling.models import Heartbeat
from scheduling.tasks import record_scheduler_heartbeat

pytestmark = pytest.mark.usefixtures("transactional_db")


class Scheduler:
    """Stands for a child that lives since `lived_seconds`; a restart is noted and makes it young."""

    started = object()

    def __init__(self, lived_seconds: float) -> None:
        self.started_at = time.monotonic() - lived_seconds
        self.restarted = asyncio.Event()

    async def restart(self) -> None:
        self.started_at = time.monotonic()
        self.restarted.set()


def conninfo() -> str:
    parameters = connection.get_connection_params()
    named = {name: parameters.get(name) for name in ("dbname", "user", "password", "host", "port")}
    return make_conninfo("", **{name: value for name, value in named.items() if value})


@async_to_sync
async def was_restarted(lived_seconds: float, url: str, within_seconds: float) -> bool:
    scheduler: Any = Scheduler(lived_seconds)
    reasons: list[str] = []
    watching = asyncio.create_task(
        scheduler_watch.watch_heartbeat(scheduler, url, on_frozen=reasons.append, every_seconds=0.001)
    )
    try:
        await asyncio.wait_for(scheduler.restarted.wait(), within_seconds)
    except TimeoutError:
        return False
    finally:
        watching.cancel()
    return bool(reasons)


@async_to_sync
async def was_silent(folder: Path, within_seconds: float, *, has_database: bool = True, beats: bool = False) -> bool:
    """Whether one that has touched its file, and goes on if it `beats`, is started anew."""
    scheduler: Any = Scheduler(0)
    scheduler.started = SimpleNamespace(pid=1)
    reasons: list[str] = []
    file = folder / "scheduler.alive"
    watching = asyncio.create_task(
        scheduler_watch.watch_beats(
            scheduler,
            file,
            has_database=lambda: has_database,
            on_frozen=reasons.append,
            silent_seconds=0.02,
            every_seconds=0.002,
        )
    )
    second = 0
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline and not scheduler.restarted.is_set():
        if beats or second < 2:
            second += 1
            file.touch()
            os.utime(file, (second, second))
        await asyncio.sleep(0.004)
    watching.cancel()
    return bool(reasons) and scheduler.restarted.is_set()


def test_a_scheduler_that_never_beat_is_started_anew() -> None:
    assert was_restarted(scheduler_watch.STALE_SECONDS + 1, conninfo(), 10.0)


def test_a_scheduler_that_stopped_beating_is_started_anew() -> None:
    record_scheduler_heartbeat()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scheduling_heartbeat SET beat_at = now() - interval '5 minutes'")
    assert was_restarted(scheduler_watch.STALE_SECONDS + 1, conninfo(), 10.0)


def test_one_that_beats_or_has_just_begun_is_left_alone() -> None:
    assert not was_restarted(1, conninfo(), 0.2)
    record_scheduler_heartbeat()
    assert Heartbeat.objects.count() == 1
    assert not was_restarted(scheduler_watch.STALE_SECONDS + 1, conninfo(), 0.2)


async def test_a_heartbeat_that_is_old_after_an_outage_is_waited_for() -> None:
    ages: list[float | None] = [None, 400.0, 400.0, 400.0, 1.0, 400.0, 400.0, 400.0, 1.0]
    scheduler: Any = Scheduler(scheduler_watch.STALE_SECONDS + 1)

    def read_age(_url: str) -> float | None:
        if not ages:
            loop.call_soon_threadsafe(done.set)
            return 1.0
        if (age := ages.pop(0)) is None:
            raise psycopg.OperationalError
        return age

    loop, done = asyncio.get_running_loop(), asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler_watch, "_age_seconds", read_age)
        watching = asyncio.create_task(
            scheduler_watch.watch_heartbeat(scheduler, "", on_frozen=lambda _: None, every_seconds=0.001)
        )
        await asyncio.wait_for(done.wait(), 10.0)
        watching.cancel()
    assert not scheduler.restarted.is_set()


def test_a_scheduler_whose_file_is_not_touched_any_more_is_started_anew(tmp_path: Path) -> None:
    assert was_silent(tmp_path, 10.0)


def test_one_that_touches_it_or_waits_for_the_database_is_left_alone(tmp_path: Path) -> None:
    assert not was_silent(tmp_path, 0.2, beats=True)
    assert not was_silent(tmp_path, 0.2, has_database=False)


def test_a_database_that_is_away_is_no_reason() -> None:
    assert not was_restarted(scheduler_watch.STALE_SECONDS + 1, "postgresql:///x?host=/no/such/place", 0.2)


async def test_an_outage_of_the_database_is_no_silence_of_the_scheduler(tmp_path: Path) -> None:
    scheduler: Any = Scheduler(0)
    scheduler.started = SimpleNamespace(pid=1)
    file, looks = tmp_path / "scheduler.alive", 0
    reasons: list[str] = []

    def has_database() -> bool:
        """It beats at two looks, is silent, and misses the database up to the fiftieth."""
        nonlocal looks
        looks += 1
        if looks <= 2:
            file.touch()
            os.utime(file, (looks, looks))
        return not 2 < looks < 50

    watching = asyncio.create_task(
        scheduler_watch.watch_beats(
            scheduler,
            file,
            has_database=has_database,
            on_frozen=reasons.append,
            silent_seconds=0.02,
            every_seconds=0.002,
        )
    )
    await asyncio.wait_for(scheduler.restarted.wait(), 10.0)
    watching.cancel()
    assert looks >= 60, "it had its time to beat again"
