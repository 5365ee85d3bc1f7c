"""Workers that fire schedules, two at once, killed at every point of their work: each time is asked once."""

from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.schedules import kill_workers
from tests.support.surroundings import database_url

KILLS = 25


@pytest.mark.usefixtures("transactional_db")
def test_killed_workers_ask_each_time_once(tmp_path: Path) -> None:
    url = database_url(settings.DATABASES["default"]["NAME"])
    report = kill_workers(url, tmp_path, kills=KILLS, seed=20261130)
    assert report["faults"] == []
    assert sum(report["kills"].values()) >= KILLS
    assert len(report["kills"]) == 5, report
