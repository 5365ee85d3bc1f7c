"""The watchdog reads the scheduler's heartbeat, and starts a frozen scheduler anew."""

import asyncio
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from psycopg.conninfo import make_conninfo

from bandstand.supervisor import watchdog
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
    watching = asyncio.create_task(watchdog.watch(scheduler, url, every_seconds=0.001))
    try:
        await asyncio.wait_for(scheduler.restarted.wait(), within_seconds)
    except TimeoutError:
        return False
    finally:
        watching.cancel()
    return True


def test_a_scheduler_that_never_beat_is_started_anew() -> None:
    assert was_restarted(watchdog.STALE_SECONDS + 1, conninfo(), 10.0)


def test_a_scheduler_that_stopped_beating_is_started_anew() -> None:
    record_scheduler_heartbeat()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scheduling_heartbeat SET beat_at = now() - interval '5 minutes'")
    assert was_restarted(watchdog.STALE_SECONDS + 1, conninfo(), 10.0)


def test_one_that_beats_or_has_just_begun_is_left_alone() -> None:
    assert not was_restarted(1, conninfo(), 0.2)
    record_scheduler_heartbeat()
    assert Heartbeat.objects.count() == 1
    assert not was_restarted(watchdog.STALE_SECONDS + 1, conninfo(), 0.2)


def test_a_database_that_is_away_is_no_reason() -> None:
    assert not was_restarted(watchdog.STALE_SECONDS + 1, "postgresql:///x?host=/no/such/place", 0.2)
