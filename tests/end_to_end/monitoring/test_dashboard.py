"""The live part of the start page: its figures and charts of a range, what they lead to, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from agents.management.demo.past_ids import make_id
from agents.models import Agent, AgentSession, Turn
from console.charts import Chart
from foundation.clock import now
from monitoring.models import GaugeSample
from monitoring.time_ranges import RANGES
from tests.support.consoles import client_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db

LIVE = "/admin/dashboard/"
# Login and permissions, the checks, what failed, the figures of the range, and the samples.
LIVE_BUDGET = 29
COMPLETED: dict[str, Any] = {"status": "completed"}
FAILED: dict[str, Any] = {"status": "failed", "error_class": "transient"}


def ended(at: datetime, *, seconds: float = 2.0, **values: Any) -> Turn:
    """A turn that ended then."""
    demo = Agent.objects.filter(slug="demo").first() or agent()
    ada = User.objects.filter(username="ada").first() or person("ada", Role.USER)
    assert demo.live_release is not None
    session = AgentSession.objects.create(user=ada, agent=demo, release=demo.live_release)
    queued_at = at - timedelta(seconds=seconds)
    return Turn.objects.create(
        id=make_id(queued_at, Random(str(at) + str(values))), agent_session=session, user=ada,
        release=demo.live_release, ordinal=1, fingerprint=b"", queued_at=queued_at, started_at=queued_at,
        finished_at=at, deadline_at=at + timedelta(hours=1), **values,
    )  # fmt: skip


def figure(client: Client, name: str, time_range: str = "1h") -> Any:
    [one] = [one for one in client.get(f"{LIVE}?range={time_range}").context["figures"] if one.name == name]
    return one


def charts(client: Client, time_range: str = "1h") -> dict[str, Chart]:
    return {chart.key: chart for chart in client.get(f"{LIVE}?range={time_range}").context["charts"]}


def listed(client: Client, address: str) -> set[Any]:
    """The rows of the list at `address`, which has one page."""
    page = client.get(address)
    assert page.status_code == 200, address
    return {row.pk for row in page.context["cl"].result_list}


def test_the_numbers_of_a_range_lead_to_the_turns_that_ended_in_it() -> None:
    vera, at = client_of("vera", Role.VIEWER), now()
    good = {ended(at - timedelta(minutes=minutes), **COMPLETED).pk for minutes in (1, 30, 58)}
    bad = {ended(at - timedelta(minutes=2), **FAILED).pk}
    answer = ended(at - timedelta(minutes=3), **COMPLETED)
    retried = {ended(at - timedelta(minutes=5), **FAILED, retried_by=answer).pk}
    good.add(answer.pk)
    stopped = {
        ended(at - timedelta(minutes=7), status="cancelled").pk,
        ended(at - timedelta(minutes=7), status="failed", error_class="set_aside").pk,
    }
    # Too early; and one that was asked before and ended within the hour.
    ended(at - timedelta(minutes=61), **COMPLETED)
    good.add(ended(at - timedelta(minutes=20), seconds=7200, **COMPLETED).pk)
    assert figure(vera, "Turns").value == str(len(good | bad | retried | stopped))
    assert listed(vera, figure(vera, "Turns").address) == good | bad | retried | stopped
    assert figure(vera, "Completed").message == f"{len(good)} turns"
    assert listed(vera, figure(vera, "Completed").address) == good
    assert figure(vera, "Failed").message == "1 turn; 1 more answered by a retry"
    assert listed(vera, figure(vera, "Failed").address) == bad
    chart = charts(vera)["turns"]
    counts = [sum(int(column.cells[number].text) for column in chart.columns) for number in range(3)]
    assert counts == [len(good), len(stopped), len(bad)]
    for column in chart.columns:
        for cell in column.cells:
            assert bool(cell.address) == (cell.text != "0")
            assert not cell.address or len(listed(vera, cell.address)) == int(cell.text)


@pytest.mark.parametrize("name", RANGES)
def test_each_range_counts_its_own_turns(name: str) -> None:
    vera, at, chosen = client_of("vera", Role.VIEWER), now(), RANGES[name]
    since = chosen.since(at)
    for moment in (since - timedelta(seconds=1), since, since + chosen.bucket, at):
        ended(moment, **COMPLETED)
    chart = charts(vera, name)["turns"]
    numbers = [int(column.cells[0].text) for column in chart.columns]
    assert (len(numbers), sum(numbers), numbers[0], numbers[1], numbers[-1]) == (chosen.buckets, 3, 1, 1, 1)
    assert figure(vera, "Turns", name).value == "3"


def test_the_start_page_names_its_range_and_leads_to_the_others() -> None:
    vera = client_of("vera", Role.VIEWER)
    ended(now(), **COMPLETED)
    page = vera.get("/admin/?range=6h").content.decode()
    assert 'data-refresh="/admin/dashboard/?range=6h"' in page
    assert 'href="/admin/?range=6h" aria-current="true"' in page
    assert "Past 6 hours" in page
    assert "Past 24 hours" in vera.get("/admin/").content.decode()


@pytest.mark.parametrize("query", ["range=2h", "range=", "range=1h%27"])
def test_a_range_that_there_is_not_is_refused(query: str) -> None:
    vera = client_of("vera", Role.VIEWER)
    assert [vera.get(f"{path}?{query}").status_code for path in ("/admin/", LIVE)] == [400, 400]


def test_gauges_have_gaps_and_thresholds() -> None:
    vera, at = client_of("vera", Role.VIEWER), now()
    samples = [("queue_depth", 30, 7.0), ("queue_depth", 30, 5.0), ("memory_fraction", 10, 0.72)]
    GaugeSample.objects.bulk_create(
        GaugeSample(metric=metric, at=at - timedelta(minutes=minutes), value=value)
        for metric, minutes, value in samples
    )
    shown = charts(vera)
    queued = [column.cells[0].text for column in shown["queue"].columns]
    assert (queued.count("7"), queued.count("\N{EN DASH}")) == (1, 59)
    assert [limit.level for limit in shown["memory"].limits] == ["warn", "bad"]
    assert shown["memory"].summary == "highest: 72 %"
    assert shown["wait"].is_empty


def test_who_may_see_no_turns_gets_no_figures_of_them() -> None:
    ended(now(), **FAILED)
    eve = person("eve")
    eve.user_permissions.add(Permission.objects.get(codename="enter_console"))
    client = Client()
    client.force_login(eve)
    context = client.get(LIVE).context
    assert [context[name] for name in ("metrics", "alerts", "figures", "charts", "failed_turns")] == [[]] * 4 + [None]
    eve.user_permissions.add(Permission.objects.get(codename="view_runner"))
    assert {chart.key for chart in client.get(LIVE).context["charts"]} == {"queue", "wait", "memory"}


def test_who_is_not_signed_in_is_sent_away() -> None:
    assert Client().get(LIVE).status_code == 302


def test_the_live_part_stays_within_its_budget(django_assert_max_num_queries: Any) -> None:
    for number in range(8):
        ended(now() - timedelta(minutes=number), **FAILED)
    owner = client_of("olga", Role.OWNER)
    with django_assert_max_num_queries(LIVE_BUDGET):
        page = owner.get(LIVE).content.decode()
    assert "<html" not in page
    assert f"{datetime.now(UTC):%H:%M}" in page


def test_figures_that_cannot_be_read_say_so_and_the_rest_is_shown() -> None:
    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        if "monitoring_gaugesample" in sql and "date_bin" in sql:
            raise OperationalError("refused")
        return execute(sql, *rest)

    vera = client_of("vera", Role.VIEWER)
    with connection.execute_wrapper(wrapper):
        answer = vera.get(LIVE)
    assert "could not be read" in answer.content.decode()
    assert answer.context["metrics"]
