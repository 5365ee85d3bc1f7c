"""The page of patterns: who sees it, what its address may hold, and where its numbers lead."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.roles import Role
from agents.models import Feedback, Message
from foundation.clock import now
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


def test_every_number_with_a_link_leads_to_its_rows() -> None:
    one, two = conversation("ada", slug="one").row, conversation("bob", slug="two").row
    at = now() - timedelta(minutes=5)
    answer = past_turn(one, ended_at=at)
    past_turn(one, ended_at=at, status="failed", error_class="transient", retried_by=answer)
    past_turn(one, ended_at=at, status="failed", error_class="auth", steps=[PastStep(0, 1, "tool", "clock")])
    past_turn(one, ended_at=at, status="cancelled")
    past_turn(two, ended_at=at - timedelta(minutes=10))
    past_turn(two, ended_at=at - timedelta(days=8))
    message = Message.objects.create(agent_session=one, ordinal=90, author="agent", turn=answer)
    Feedback.objects.create(
        agent_session=one, user_id=one.user_id, value=-1, turn=answer, release_id=one.release_id, message=message
    )
    vera, linked = client_of("vera", Role.VIEWER), set()
    for query in ("?range=1h", "?range=7d&by=release", "?range=7d&by=day", f"?range=24h&agent={one.agent_id}"):
        context = vera.get(f"{PAGE}{query}").context
        for key, cell in cells(context).items():
            if cell.address:
                linked.add(key[2])
                rows = changelist_of(vera, cell.address).result_list
                assert len(rows) == int(cell.text), (query, key, cell)
        for metric in context["metrics"]:
            if metric.name in {"Turns", "Ratings"}:
                assert len(changelist_of(vera, metric.address).result_list) == int(metric.value)
            elif metric.name in {"Completed", "Failed"}:
                number = re.match(r"\d+", metric.message)
                assert number is not None
                assert len(changelist_of(vera, metric.address).result_list) == int(number[0])
    assert linked == {"Turns", "Completed", "Failed", "Rated down"}


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
