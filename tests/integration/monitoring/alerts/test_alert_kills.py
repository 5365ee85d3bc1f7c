"""Processes that evaluate rules and send notifications are killed at any moment; `make chaos` kills more of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.alert_kills import kill_evaluators
from tests.support.surroundings import database_url

KILLS = 50


@pytest.mark.usefixtures("transactional_db")
def test_kills_lose_no_alert_and_no_notification_and_double_few(tmp_path: Path) -> None:
    url = database_url(settings.DATABASES["default"]["NAME"])
    report = kill_evaluators(url, tmp_path, kills=KILLS, seed=20261130)
    assert report.faults == []
    assert report.kills == KILLS
    assert report.alerts > 0
    assert report.notifications > 0
