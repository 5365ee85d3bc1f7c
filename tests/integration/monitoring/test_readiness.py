"""Readiness: which part does not work, told by `/ready`."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from agents.models import Runner
from agents.models.runners import heartbeat_timeout
from bandstand import VERSION
from bandstand.web.lifecycle import lifecycle
from foundation.clock import now
from monitoring import readiness
from scheduling import heartbeats
from scheduling.models import Heartbeat
from scheduling.tasks import record_scheduler_heartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture
def all_alive() -> Runner:
    record_scheduler_heartbeat()
    return Runner.objects.create(host="here", pid=1, capacity=1)


def failing() -> dict[str, str]:
    return {part.part: part.detail for part in readiness.failing_parts()}


def test_with_every_part_alive_it_is_ready(all_alive: Runner) -> None:
    assert failing() == {}


def test_a_fresh_installation_says_what_it_waits_for() -> None:
    assert set(failing()) == {"runner", "scheduler"}


@pytest.mark.parametrize("status", [Runner.Status.DRAINING, Runner.Status.STOPPED])
def test_a_runner_that_takes_no_turns_does_not_count(all_alive: Runner, status: str) -> None:
    Runner.objects.update(status=status)
    assert set(failing()) == {"runner"}


def test_a_runner_that_missed_its_beats_does_not_count(all_alive: Runner) -> None:
    Runner.objects.update(heartbeat_at=Now() - heartbeat_timeout() - timedelta(seconds=1))
    assert set(failing()) == {"runner"}


def test_a_runner_is_silent_as_soon_as_it_does_not_count(all_alive: Runner) -> None:
    for late, alive in (
        (timedelta(), True),
        (heartbeat_timeout() - timedelta(seconds=5), True),
        (heartbeat_timeout(), False),
    ):
        at = now() - late
        Runner.objects.update(heartbeat_at=at)
        all_alive.refresh_from_db()
        assert Runner.objects.alive().exists() is alive
        assert all_alive.is_silent(now()) is not alive


def test_a_scheduler_that_missed_its_beats_is_named(all_alive: Runner) -> None:
    Heartbeat.objects.update(beat_at=Now() - timedelta(seconds=heartbeats.SCHEDULER_STALE_SECONDS + 1))
    assert set(failing()) == {"scheduler"}


def test_a_beat_makes_it_young_again(all_alive: Runner) -> None:
    Heartbeat.objects.update(beat_at=Now() - timedelta(days=1))
    record_scheduler_heartbeat()
    age = heartbeats.age_seconds(heartbeats.SCHEDULER)
    assert age is not None
    assert age < 60
    assert heartbeats.age_seconds("nobody") is None


def test_a_missing_migration_is_named(all_alive: Runner) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'scheduling'")
    assert failing() == {"migrations": "not applied: scheduling"}


def test_a_missing_extension_is_named(all_alive: Runner) -> None:
    readiness.schema()
    original = connection.execute_wrapper

    def hidden(execute: object, sql: str, params: object, many: bool, context: object) -> object:
        return execute(sql.replace("'vector'", "'no-such-extension'"), params, many, context)  # type: ignore[operator]

    with original(hidden):
        assert failing() == {"pgvector": "not installed"}


@pytest.mark.parametrize("path", ["/ready", "/readyz", "/ready/self"])
def test_a_process_that_drains_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(lifecycle, "draining", True)
    assert "draining" in client.get(path).json()["failing"]


def test_a_process_is_ready_without_runner_and_scheduler(client: Client) -> None:
    assert client.get("/ready").status_code == 503
    response = client.get("/ready/self", headers={"host": "10.1.2.3"})
    assert (response.status_code, response.json()) == (200, {"status": "ready", "failing": {}})


def test_a_process_whose_tables_are_older_than_its_code_is_not_ready() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'scheduling'")
    parts = readiness.read_process_readiness()
    assert [(part.part, part.detail) for part in parts.failing] == [("migrations", "not applied: scheduling")]


@pytest.mark.parametrize("path", ["/health", "/livez"])
def test_health_touches_no_database(client: Client, django_assert_num_queries: object, path: str) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        response = client.get(path, headers={"host": "10.1.2.3"})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["Cache-Control"] == "no-store"


def test_a_probe_only_reads(client: Client) -> None:
    assert client.post("/health").status_code == 405


def test_info_tells_the_version_of_code_and_schema(client: Client) -> None:
    told = client.get("/info").json()
    assert told["version"] == VERSION
    assert told["schema"]["scheduling"].startswith("0")
