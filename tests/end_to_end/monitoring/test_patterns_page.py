"""The page of patterns: who sees it, what its address may hold, and where its numbers lead."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.roles import Role
from agents.models import Feedback, Message, Turn
from foundation.clock import now
from foundation.ids import derive_id, new_id
from monitoring.time_ranges import floor_time
from tests.support.consoles import changelist_of, client_of
from tests.support.conversations import conversation
from tests.support.past_turns import PastStep, past_turn
from tests.support.people import person

pytestmark = pytest.mark.django_db

PAGE = "/admin/patterns/"
# Login and permissions, the figures of turns and calls, tasks, ratings, memory, and what there is to choose from.
BUDGET = 22


def cells(context: Any) -> dict[tuple[str, str, str], Any]:
    """The cells of the tables by table, row and column."""
    return {
        (table.key, row.name, cell.label): cell
        for table in context["tables"]
        for row in table.rows
        for cell in row.cells
    }


def rate_down(turn: Turn, at: datetime, clock_ahead: timedelta = timedelta(0)) -> None:
    """A rating of its answer; its id is of a clock that is so far ahead."""
    message = Message.objects.create(
        agent_session=turn.agent_session, ordinal=90 + turn.ordinal, author="agent", turn=turn
    )
    Feedback.objects.create(
        id=derive_id(at + clock_ahead, new_id()), created_at=at, value=-1, message=message, turn=turn,
        agent_session=turn.agent_session, user_id=turn.user_id, release_id=turn.release_id,
    )  # fmt: skip


def compare(client: Client, context: Any) -> set[str]:
    """Compare each number of the page with the list that it leads to, and return the columns of those with a link."""
    linked = set()
    for key, cell in cells(context).items():
        if cell.address:
            linked.add(key[2])
            assert len(changelist_of(client, cell.address).result_list) == int(cell.text), (key, cell)
    for metric in context["metrics"]:
        if metric.name in {"Turns", "Ratings"}:
            assert len(changelist_of(client, metric.address).result_list) == int(metric.value)
        elif metric.name in {"Completed", "Failed"}:
            number = re.match(r"\d+", metric.message)
            assert number is not None
            assert len(changelist_of(client, metric.address).result_list) == int(number[0])
    return linked


def start_of_month() -> datetime:
    """The last one that is a day ago."""
    return (now() - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize("after_midnight", [timedelta(microseconds=-1), timedelta(0), timedelta(minutes=14), None])
def test_every_number_with_a_link_leads_to_its_rows(
    monkeypatch: pytest.MonkeyPatch, after_midnight: timedelta | None
) -> None:
    """At any time of day, also at the beginning of a month; None: at the time of the test."""
    if after_midnight is not None:
        moment = start_of_month() + after_midnight
        for module in ("monitoring.patterns_page", "monitoring.figures", "agents.admin.list_filters"):
            monkeypatch.setattr(f"{module}.now", lambda: moment)
    else:
        moment = now()
    one, two = conversation("ada", slug="one").row, conversation("bob", slug="two").row
    at = moment - timedelta(minutes=5)
    answer = past_turn(one, ended_at=at)
    past_turn(one, ended_at=at, status="failed", error_class="transient", retried_by=answer)
    past_turn(one, ended_at=at, status="failed", error_class="auth", steps=[PastStep(0, 1, "tool", "clock")])
    past_turn(one, ended_at=at, status="cancelled")
    past_turn(two, ended_at=at - timedelta(minutes=10))
    past_turn(two, ended_at=at - timedelta(days=8))
    rate_down(answer, moment)
    vera, linked = client_of("vera", Role.VIEWER), set()
    for query in ("?range=1h", "?range=7d&by=release", "?range=7d&by=day", f"?range=24h&agent={one.agent_id}"):
        context = vera.get(f"{PAGE}{query}").context
        assert {int(metric.value) for metric in context["metrics"] if metric.name == "Turns"} <= {4, 5}
        linked |= compare(vera, context)
    assert linked == {"Turns", "Completed", "Failed", "Rated down"}


@pytest.mark.parametrize("clock_ahead", [timedelta(0), timedelta(milliseconds=1), timedelta(milliseconds=-1)])
def test_the_rows_on_both_sides_of_midnight_are_those_of_their_day(clock_ahead: timedelta) -> None:
    """Ids are made by another clock than the times of rows: `clock_ahead` is how far it is ahead."""
    session = conversation("ada").row
    midnight = floor_time(now(), timedelta(days=1)) - timedelta(days=1)
    for at in (midnight - timedelta(milliseconds=1), midnight, midnight + timedelta(milliseconds=1)):
        rate_down(past_turn(session, ended_at=at), at, clock_ahead)
    vera = client_of("vera", Role.VIEWER)
    context = vera.get(f"{PAGE}?range=7d&by=day").context
    assert compare(vera, context) == {"Turns", "Completed", "Rated down"}
    days = {row: cell.text for (_, row, label), cell in cells(context).items() if label == "Turns"}
    assert days == {f"{midnight - timedelta(days=1):%Y-%m-%d}": "1", f"{midnight:%Y-%m-%d}": "2"}


@pytest.mark.parametrize(
    "query", ["range=1w", "by=user", "agent=x", "agent=01a22cf1-81f6-73b4-b26b-9ad255ec04de", "release=1"]
)
def test_an_address_that_asks_for_what_there_is_not_is_refused(query: str) -> None:
    assert client_of("vera", Role.VIEWER).get(f"{PAGE}?{query}").status_code == 400


def test_who_may_not_see_turns_is_refused() -> None:
    eve = person("eve")
    eve.user_permissions.add(Permission.objects.get(codename="enter_console"))
    client = Client()
    client.force_login(eve)
    assert client.get(PAGE).status_code == 403


def test_the_page_stays_within_its_budget(django_assert_max_num_queries: Any) -> None:
    for number in range(12):
        past_turn(conversation("ada", slug=f"agent-{number}").row, ended_at=now() - timedelta(minutes=5))
    owner = client_of("olga", Role.OWNER)
    with django_assert_max_num_queries(BUDGET):
        page = owner.get(f"{PAGE}?range=1h").content.decode()
    assert page.count('<th scope="row">') == 36
