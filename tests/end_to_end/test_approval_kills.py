"""Runners and clicks killed at every point while calls wait for a person: an approved call runs once."""

from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.approvals import kill_runners
from tests.support.surroundings import database_url

KILLS = 12


@pytest.mark.usefixtures("transactional_db")
def test_killed_processes_double_and_lose_no_approved_call(tmp_path: Path) -> None:
    url = database_url(settings.DATABASES["default"]["NAME"])
    report = kill_runners(url, tmp_path, kills=KILLS, seed=20261130)
    assert report["faults"] == []
    assert sum(report["kills"].values()) >= KILLS
    assert len(report["kills"]) >= 6, report
