"""The console's start page and sidebar."""

from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import OperationalError, connection
from django.test import Client

from accounts.audit import record_audit
from accounts.models import ApiKey, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import Agent, AgentSession, Release, Runner, Turn
from console.formatting import NOTHING
from foundation.clock import now
from foundation.durations import duration
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.consoles import client_of, page_of
from tests.support.people import OFFLINE, agent, person

pytestmark = pytest.mark.django_db

# Login and permissions, the figures of turns and of maintenance, what failed, routes and their windows, keys, sessions,
# memory, the figures of the range, the samples, and the three lists.
START_BUDGET = 31


def turns(*states: dict[str, Any]) -> None:
    demo, ada = agent(), person("ada", Role.USER)
    assert demo.live_release is not None
    later = {"fingerprint": b"", "deadline_at": now() + timedelta(hours=1)}
    for state in states:
        session = AgentSession.objects.create(user=ada, agent=demo, release=demo.live_release)
        Turn.objects.create(agent_session=session, user=ada, release=demo.live_release, ordinal=1, **(later | state))


ENDED = {"error_class": "provider_down", "finished_at": now()}
FAILED = {"status": "failed", **ENDED}


def figures(client: Client) -> dict[str, tuple[str, str]]:
    """Those of the page but the memory, which is that of the machine of the test."""
    metrics = client.get("/admin/").context["metrics"]
    return {one.name: (one.value, one.level) for one in metrics if one.name != "Memory"}


def failing(part: str) -> AbstractContextManager[None]:
    """The database refuses every statement with `part` in it."""

    def wrapper(execute: Any, sql: str, *rest: Any) -> Any:
        if part in sql:
            raise OperationalError("refused")
        return execute(sql, *rest)

    return connection.execute_wrapper(wrapper)


def test_the_start_page_says_what_is_wrong() -> None:
    past = now() - timedelta(minutes=5)
    turns(
        FAILED,
        {"status": "queued", "queued_at": past},
        {"status": "running", "lease_expires_at": past},
        {"status": "running", "lease_expires_at": now() + timedelta(seconds=15)},
        {"status": "queued", "deadline_at": past},
    )
    assert figures(client_of("vera", Role.VIEWER)) == {
        "Failed, past hour": ("1", "bad"),
        "In the queue": ("2", "bad"),
        "People waiting": ("0", ""),
        "Approvals": ("0", ""),
        "Running": ("2", ""),
        "Active sessions": ("4", ""),
        "Stuck": ("2", "bad"),
        "Rated down, past day": ("0", ""),
        "Spend against budget": (NOTHING, ""),
        "Active runners": ("0", "bad"),
        "Routes": ("0", ""),
        "Maintenance": ("0", "bad"),  # the scheduler has never reported
    }


def test_the_start_page_of_a_quiet_installation_alarms_nobody() -> None:
    Runner.objects.create(host="host", pid=1, capacity=8)
    record_scheduler_heartbeat()
    Runner.objects.create(host="gone", pid=2, capacity=8, heartbeat_at=now() - timedelta(hours=1))
    vera = client_of("vera", Role.VIEWER)
    with failing("release__agent"):  # nothing failed, so nobody asks what
        page = vera.get("/admin/")
    assert [alert for alert in page.context["alerts"] if not alert.message.startswith("Memory")] == []
    seen = figures(vera)
    assert seen["Active runners"] == ("1", "")
    assert {level for _, level in seen.values()} == {""}


def test_the_start_page_stays_within_its_budget(django_assert_max_num_queries: Any) -> None:
    turns(*[FAILED] * 8)
    owner = client_of("olga", Role.OWNER)
    with django_assert_max_num_queries(START_BUDGET):
        page = owner.get("/admin/").content.decode()
    assert page.count(">provider_down</a>") == 6
    assert "Release published" in page


def test_the_start_page_says_what_to_do_about_each_thing_that_is_wrong() -> None:
    late = now() - timedelta(minutes=5)
    turns(*[FAILED] * 3, FAILED | {"error_class": "auth"}, {"status": "queued", "queued_at": late})
    owner = client_of("olga", Role.OWNER)
    ada = User.objects.get(username="ada")
    soon = {"user": ada, "scopes": ["read"], "digest": b"", "expires_at": now() + timedelta(days=2)}
    ApiKey.objects.create(name="used", prefix="used", last_used_at=now(), **soon)
    ApiKey.objects.create(name="unused", prefix="unused", **soon)
    concerns = {concern.message: concern for concern in owner.get("/admin/").context["alerts"]}
    words = list(concerns)
    assert words[:2] == ["3 failed with provider_down, agent Demo", "1 failed with auth, agent Demo"]
    assert [word for word in words if word.startswith("The key ")] == [
        f"The key used (used…) of ada ends on {soon['expires_at']:%Y-%m-%d}"
    ]
    assert {word.partition(":")[0] for word in words[3:]} == {"In the queue", "Active runners", "Maintenance"}
    assert all(concern.remedy for concern in concerns.values())
    listed = owner.get(concerns[words[1]].address).context["cl"].result_list
    assert [turn.error_class for turn in listed] == ["auth"]
    for concern in concerns.values():
        assert owner.get(concern.address).status_code == 200


@pytest.mark.parametrize("unreadable", [{"schema": 99}, {"new_setting": 5}])
def test_the_start_page_names_a_live_release_that_cannot_run(unreadable: dict[str, Any]) -> None:
    demo, archived, owner = agent(), agent("old"), client_of("olga", Role.OWNER)
    for one in (demo, archived):
        release = Release.objects.create(agent=one, number=2, configuration=OFFLINE | unreadable)
        Agent.objects.filter(pk=one.pk).update(live_release=release)
    Agent.objects.filter(pk=archived.pk).update(archived_at=now())
    [alert] = [
        alert for alert in owner.get("/admin/").context["alerts"] if alert.message.startswith("The live release")
    ]
    assert alert.message.startswith("The live release of Demo cannot run: ")
    assert next(iter(unreadable)) in alert.message
    assert "roll back" in alert.remedy
    assert alert.address == page_of(demo)
    assert owner.get(alert.address).status_code == 200


def test_a_figure_that_cannot_be_measured_says_so_and_the_others_are_shown() -> None:
    vera = client_of("vera", Role.VIEWER)
    with failing("scheduling_jobrun"):
        page = vera.get("/admin/")
    seen = {one.name: (one.value, one.message, one.level) for one in page.context["metrics"]}
    assert seen["Maintenance"] == ("\N{EN DASH}", "could not be checked", "warn")
    assert seen["Stuck"] == ("0", "every turn is cared for", "")
    concerns = {concern.message: concern for concern in page.context["alerts"]}
    assert set(concerns) == {"Active runners: 0, nothing is answered", "Maintenance: could not be checked"}
    assert vera.get(concerns["Maintenance: could not be checked"].address).status_code == 200


def test_failures_that_cannot_be_told_apart_are_told_by_their_number() -> None:
    turns(FAILED)
    vera = client_of("vera", Role.VIEWER)
    with failing("release__agent"):
        words = [concern.message for concern in vera.get("/admin/").context["alerts"]]
    assert words[:2] == ["Kinds of failures: could not be checked", "Failed, past hour: 1, of 1 turns asked in it"]


def test_turns_failed_by_operators_alarm_nobody() -> None:
    turns(FAILED | {"error_class": "set_aside"})
    shown = client_of("vera", Role.VIEWER).get("/admin/").context
    assert (shown["metrics"][0].value, shown["metrics"][0].level) == ("0", "")
    [failed] = [one for one in shown["figures"] if one.name == "Failed"]
    assert (failed.value, failed.level) == ("0 %", "")
    assert list(shown["failed_turns"]) == []


def test_what_somebody_did_a_hundred_times_is_told_once() -> None:
    olga, demo = user_actor(person("anna", Role.OWNER)), agent()
    for _ in range(250):
        record_audit(olga, "turn.failed_by_operator", target=demo)
    acts = client_of("vera", Role.VIEWER).get("/admin/").context["latest_actions"]
    assert [(one.entry.action, one.times, one.or_more) for one in acts] == [("turn.failed_by_operator", 200, True)]
    record_audit(olga, "agent.changed", target=demo)
    record_audit(olga, "agent.changed", target=demo)
    acts = client_of("vera2", Role.VIEWER).get("/admin/").context["latest_actions"]
    told = [(one.entry.action, one.times, one.or_more) for one in acts]
    assert told == [("agent.changed", 2, False), ("turn.failed_by_operator", 198, True)]


def test_the_guide_tells_what_the_document_tells() -> None:
    page = client_of("vera", Role.VIEWER).get("/admin/guide/").content.decode()
    assert 'id="something-is-wrong-where-to-look-what-to-do"' in page
    assert 'href="#something-is-wrong-where-to-look-what-to-do"' in page
    assert "<td>Nothing is answered at all; the queue grows</td>" in page
    # Neither pictures nor links that would lead nowhere from here.
    assert "screenshots/" not in page
    assert "](" not in page


def test_a_runbook_stands_at_the_anchor_of_its_rule_and_leads_to_others() -> None:
    page = client_of("vera", Role.VIEWER).get("/admin/runbooks/").content.decode()
    assert '<section id="agent_down"><h2>agent_down</h2>' in page
    assert 'href="#high_memory_usage"' in page.partition('id="agent_down"')[2]
    assert "](" not in page


def test_who_may_only_enter_sees_no_figures_and_no_links() -> None:
    eve = person("eve")
    eve.user_permissions.add(Permission.objects.get(codename="enter_console"))
    client = Client()
    client.force_login(eve)
    answer = client.get("/admin/")
    assert answer.context["metrics"] == []
    assert [group["title"] for group in answer.context["sidebar_navigation"]] == [""]
    assert "/admin/agents/" not in answer.content.decode()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.BUILDER, Role.OWNER])
def test_every_link_of_the_sidebar_opens(role: Role) -> None:
    client = client_of("ada", role)
    for group in client.get("/admin/").context["sidebar_navigation"]:
        for item in [one for one in group["items"] if one["link"] != "/"]:
            answer = client.get(item["link"])
            assert answer.status_code == 200, item
            shown = [one for row in answer.context["sidebar_navigation"] for one in row["items"] if one["active"]]
            assert [one["title"] for one in shown] == [item["title"]]


def test_times_are_told_at_a_glance() -> None:
    told = [duration(seconds) for seconds in (0.4, 59, 119, 120, 7_199, 7_200, 172_800)]
    assert told == ["0 s", "59 s", "119 s", "2 min", "120 min", "2 h", "2 d"]


@pytest.mark.parametrize("query", ["", "?s=x", "?s=x&page=no", "?s=x&page=99", "?extended=1&s=a"])
def test_the_library_s_own_search_is_closed(query: str) -> None:
    assert client_of("olga", Role.OWNER).get(f"/admin/search/{query}").status_code == 404


def test_the_frame_s_other_pages_open() -> None:
    owner = client_of("olga", Role.OWNER)
    demo = agent()
    for address in ("/admin/agents/", "/admin/scheduling/", "/admin/jsi18n/"):
        assert owner.get(address).status_code == 200, address
    assert owner.get(f"/admin/agents/agent/{demo.pk}/history/").status_code == 200
    assert owner.get("/admin/nothing/").status_code == 404
    assert owner.post("/admin/logout/").status_code in {200, 302}
