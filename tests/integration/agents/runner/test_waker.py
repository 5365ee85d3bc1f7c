"""Turns that wait for a route: which of them resume when it may be asked again, and how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.domain.states import Priority
from agents.models import Event, RouteHealth, Runner, Step, Turn
from agents.runner.waker import wake_turns
from tests.support.conversations import (
    OTHER_RUNNER,
    RUNNER,
    answer,
    claim,
    claimed,
    conversation,
    park,
    wake,
)

pytestmark = pytest.mark.django_db

ROUTE = "openai:fake"


@pytest.fixture(autouse=True)
def _runners() -> None:
    for runner in (RUNNER, OTHER_RUNNER):
        Runner.objects.create(id=runner, host="here", pid=1, capacity=4)


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def parked(number: int, routes: Sequence[str] = (ROUTE,), **question: Any) -> list[Turn]:
    """So many turns that wait, each of another person, oldest first."""
    everybody = [conversation(f"person{n}") for n in range(number)]
    for one in everybody:
        one.ask(**question)
    for work in claim(number):
        assert park(work, waits_for=routes)
    return [one.turn() for one in everybody]


def resumed(turns: Sequence[Turn]) -> list[int]:
    """Those of `turns` that are queued."""
    queued = set(Turn.objects.filter(status="queued").values_list("pk", flat=True))
    return [number for number, turn in enumerate(turns) if turn.pk in queued]


def route(**values: Any) -> RouteHealth:
    return RouteHealth.objects.create(provider="openai", model="fake", credential="c", **values)


def test_one_turn_finds_out_whether_the_route_works_and_no_further_one_before_it_has() -> None:
    turns = parked(3)
    row = route(state="open", open_until=ago(-600))
    assert wake_turns(RUNNER) == 0
    RouteHealth.objects.update(open_until=ago(1))
    assert [wake_turns(RUNNER) for _ in range(3)] == [1, 0, 0]
    assert resumed(turns) == [0]
    assert Event.objects.filter(turn=turns[0]).latest("seq").data == {"reason": "route_free"}
    # It has asked, and is waited for.
    work = claimed()
    assert work.turn_id == turns[0].pk
    RouteHealth.objects.filter(pk=row.pk).update(state="half_open", open_until=None, probe_until=ago(-600))
    assert wake_turns(RUNNER) == 0
    RouteHealth.objects.filter(pk=row.pk).update(probe_until=None)
    answer(work)
    assert wake_turns(RUNNER) == 1
    assert resumed(turns) == [1]


@pytest.mark.parametrize(("seconds", "expected"), [(-600, 4), (600, 12)])
def test_after_a_route_has_closed_more_and_more_turns_resume(seconds: float, expected: int) -> None:
    turns = parked(12)
    route(changed_at=ago(seconds))
    assert wake_turns(RUNNER) == expected
    assert resumed(turns) == list(range(expected))
    # Those that nobody has claimed yet count.
    assert wake_turns(RUNNER) == 0


def test_only_the_first_live_runner_wakes() -> None:
    parked(1)
    route()
    assert wake_turns(OTHER_RUNNER) == 0
    Runner.objects.filter(pk=RUNNER).update(heartbeat_at=ago(600))
    assert wake_turns(OTHER_RUNNER) == 1


def test_a_turn_waits_for_its_own_routes_only() -> None:
    for name, waits_for in (("ada", "openai:other"), ("bob", ROUTE)):
        one = conversation(name)
        one.ask()
        park(claimed(), waits_for=[waits_for])
    route(changed_at=ago(9))
    RouteHealth.objects.create(provider="openai", model="other", credential="c", state="open", open_until=ago(-600))
    assert wake_turns(RUNNER) == 1
    assert Turn.objects.get(status="queued").user.username == "bob"


@pytest.mark.parametrize(
    ("values", "until"),
    [
        ({}, "blocked_until"),
        ({"forced": "open"}, "forced_until"),
        ({"state": "half_open"}, "probe_until"),
    ],
    ids=["paused", "forced open", "probed"],
)
def test_nobody_resumes_for_a_route_that_is_not_asked(values: dict[str, Any], until: str) -> None:
    parked(1)
    route(**values, **{until: ago(-600)})
    assert wake_turns(RUNNER) == 0


def test_nobody_resumes_while_the_credential_rests() -> None:
    parked(1)
    route()
    RouteHealth.objects.create(provider="openai", credential="c", blocked_until=ago(-600))
    assert wake_turns(RUNNER) == 0


def test_spaced_calls_resume_as_fast_as_they_may_be_made() -> None:
    parked(4)
    route(changed_at=ago(9), pace_seconds=0.5, paced_until=ago(-600))
    assert wake_turns(RUNNER) == 2


def test_interactive_turns_resume_before_older_background_ones() -> None:
    ada, bob = conversation("ada"), conversation("bob")
    ada.ask(priority=Priority.BACKGROUND)
    bob.ask()
    for work in claim(2):
        park(work, waits_for=[ROUTE])
    route(state="open", open_until=ago(1))
    assert wake_turns(RUNNER) == 1
    assert (ada.statuses(), bob.statuses()) == (["retry_wait"], ["queued"])


def test_a_wait_for_something_else_is_left_alone() -> None:
    ada = conversation()
    ada.ask()
    park(claimed())
    assert wake_turns(RUNNER) == 0
    assert ada.statuses() == ["retry_wait"]


def test_the_open_call_counts_how_often_it_has_waited() -> None:
    ada = conversation()
    ada.ask()
    for waits in (1, 2):
        park(claimed(), waits_for=[ROUTE])
        assert Step.objects.get().details == {"waits": waits, "waits_for": [ROUTE]}
        wake(ada.turn())


def test_turns_of_somebody_who_can_run_no_more_keep_nobody_else_waiting() -> None:
    """Three of ada's turns run, and others of hers wait for the route: none of those can be claimed."""
    hers = [conversation("ada") for _ in range(6)]
    for one in hers:
        one.ask()
    waiting = [work for _ in range(3) for work in claim(1, running_per_user=100)]
    for work in waiting:
        assert park(work, waits_for=[ROUTE])
    assert len(claim(3)) == 3  # her limit
    [bobs] = parked(1)
    # An open route that is to be tried: one turn at a time.
    route(state="open", open_until=ago(1))
    for _ in range(5):
        wake_turns(RUNNER)
        if any(work.turn_id == bobs.pk for work in claim(9)):
            return
    raise AssertionError("nobody finds out whether the route works until somebody's own time is over")
