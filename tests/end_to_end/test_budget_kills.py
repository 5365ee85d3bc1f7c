"""Runners that are killed at every point of a call, and in mid-call, with a provider that counts for itself: nothing
stays reserved, and no more is billed than the budget has. `make chaos` has the long pass, with its negative control."""

from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.budgets import LEAST_CALLS, Shape, spend_budget
from tests.support.surroundings import database_url


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(("shape", "kills"), [("points", 6), ("bound", 3)])
def test_a_budget_is_neither_overrun_nor_lost_when_runners_are_killed(tmp_path: Path, shape: Shape, kills: int) -> None:
    url = database_url(settings.DATABASES["default"]["NAME"])
    report = spend_budget(url, tmp_path, shape=shape, kills=kills, seed=20261201)
    assert report["faults"] == [], report
    # Answers may be faster than those who kill.
    assert sum(report["kills"].values()) >= (kills if shape == "points" else 1), report
    if shape == "bound":
        assert report["calls"] >= LEAST_CALLS, report
