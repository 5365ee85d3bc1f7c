"""People, operators and runners as processes, some of them killed: never two voices, never none. `make chaos` has the
long pass, with its negative control."""

from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.handoffs import take_over
from tests.support.surroundings import database_url

ROUNDS, KILLS = 15, 3


@pytest.mark.usefixtures("transactional_db")
def test_sessions_change_hands_and_nothing_is_lost_or_answered_twice(tmp_path: Path) -> None:
    url = database_url(settings.DATABASES["default"]["NAME"])
    report = take_over(url, tmp_path, rounds=ROUNDS, kills=KILLS, seed=20261130)
    assert report["faults"] == []
    assert report["rounds"] >= ROUNDS
    assert sum(report["kills"].values()) == KILLS
    assert report["cut_off"] > 0, report
    assert report["to_people"] > 0, report
