"""The lists of sessions and turns: narrowed by anything, leafed by key, within their budgets."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from accounts.roles import Role
from agents.admin import list_filters
from agents.models import Agent, AgentSession, Event, Step, Turn
from foundation.clock import now
from foundation.ids import new_id
from tests.support.consoles import changelist_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db

LONG: list[Any] = [AgentSession, Turn, Step, Event]
# Of the time when tests are collected: those that run after the next midnight have rows of TOMORROW.
YESTERDAY, TODAY, TOMORROW = ((now().date() + timedelta(days=days)).isoformat() for days in (-1, 0, 1))


@pytest.fixture
def viewer() -> Client:
    client = Client()
    client.force_login(person("vera", Role.VIEWER))
    return client


def shown(client: Client, model: Any, **query: str) -> list[Any]:
    return list(changelist_of(client, list_of(model), query).result_list)


def list_of(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def a_session(user: User, demo: Agent, **columns: Any) -> AgentSession:
    assert demo.live_release is not None
    return AgentSession.objects.create(user=user, agent=demo, release=demo.live_release, **columns)


def a_turn(session: AgentSession, status: str = "completed", ordinal: int = 1, **columns: Any) -> Turn:
    ended = status in {"completed", "failed", "cancelled", "expired"}
    owned = status in {"running", "cancelling"}
    return Turn.objects.create(
        agent_session=session, user=session.user, release=session.release, ordinal=ordinal, status=status,
        fingerprint=b"", deadline_at=now() + timedelta(hours=1), finished_at=now() if ended else None,
        lease_expires_at=now() if owned else None, **columns,
    )  # fmt: skip


@pytest.fixture
def six() -> dict[str, Turn]:
    """Turns that differ in one thing each."""
    ada, bob = person("ada", Role.USER), person("adam", Role.USER)
    demo, other = agent("demo"), agent("other")
    return {
        "plain": a_turn(a_session(ada, demo, title="Bread and butter"), cost_usd=Decimal("0.001")),
        "failed": a_turn(a_session(ada, demo), "failed", error_class="transient", error_id=new_id()),
        "expired": a_turn(a_session(ada, demo), "expired", error_class="deadline", error_id=new_id()),
        "queued": a_turn(a_session(ada, demo, open_turns=1), "queued"),
        "bobs": a_turn(a_session(bob, demo, controller="human", title="100% but_er")),
        "others": a_turn(a_session(ada, other), cost_usd=Decimal("1.5")),
    }


EVERYTHING = {"plain", "failed", "expired", "queued", "bobs", "others"}
TURNS: list[tuple[dict[str, str], set[str]]] = [
    ({}, EVERYTHING),
    ({"state": "open"}, {"queued"}),
    ({"state": "failed"}, {"failed"}),
    ({"state": "completed"}, {"plain", "bobs", "others"}),
    ({"error": "any"}, {"failed", "expired"}),
    ({"error": "deadline"}, {"expired"}),
    ({"user": "adam"}, {"bobs"}),
    ({"user": "ada"}, EVERYTHING - {"bobs"}),
    ({"user": "nobody"}, set()),
    ({"agent": "other"}, {"others"}),
    ({"agent": "demo"}, EVERYTHING - {"others"}),
    ({"release": "other"}, {"others"}),
    ({"agent": "demo", "user": "ada", "state": "failed"}, {"failed"}),
    ({"agent": "other", "state": "failed"}, set()),
    ({"cost": "0.01"}, {"others"}),
    ({"cost": "10"}, set()),
    ({"since": TODAY}, EVERYTHING),
    ({"until": YESTERDAY}, set()),
    ({"since": YESTERDAY, "until": TOMORROW, "user": "adam"}, {"bobs"}),
    ({"since": f"{TODAY}T00:00", "user": "adam"}, {"bobs"}),
    ({"until": f"{TODAY}T00:00"}, set()),
    ({"q": "ada"}, EVERYTHING - {"bobs"}),
    ({"q": "ad"}, EVERYTHING),
    ({"q": "ad", "state": "open"}, {"queued"}),
    ({"q": "nobody"}, set()),
]
SESSIONS: list[tuple[dict[str, str], set[str]]] = [
    ({}, EVERYTHING),
    ({"state": "open"}, {"queued"}),
    ({"state": "human"}, {"bobs"}),
    ({"error": "any"}, {"failed", "expired"}),
    ({"error": "transient"}, {"failed"}),
    ({"user": "adam"}, {"bobs"}),
    ({"agent": "other"}, {"others"}),
    ({"release": "other"}, {"others"}),
    ({"cost": "1"}, {"others"}),
    ({"since": TODAY, "error": "any", "agent": "demo"}, {"failed", "expired"}),
    ({"until": YESTERDAY}, set()),
    ({"q": "adam"}, {"bobs"}),
    ({"q": "BUTTER"}, {"plain"}),
    ({"q": "100% but_er"}, {"bobs"}),
    ({"q": "but_er"}, {"bobs"}),
    ({"q": "\\"}, set()),
]


def _with_ids(query: dict[str, str]) -> dict[str, str]:
    found = dict(query)
    if slug := query.get("agent"):
        found["agent"] = str(Agent.objects.get(slug=slug).pk)
    if slug := query.get("release"):
        found["release"] = str(Agent.objects.get(slug=slug).live_release_id)
    return found


def test_turns_are_narrowed_by_everything_that_people_ask_for(viewer: Client, six: dict[str, Turn]) -> None:
    for query, expected in TURNS:
        assert shown(viewer, Turn, **_with_ids(query)) == sorted(
            (six[name] for name in expected), key=lambda turn: turn.pk, reverse=True
        ), query


@pytest.mark.parametrize("few", [10_000, 0])
def test_sessions_are_narrowed_by_everything_that_people_ask_for(
    viewer: Client, six: dict[str, Turn], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_filters, "MAX_LISTED_SESSIONS", few)
    for query, expected in SESSIONS:
        found = {session.pk for session in shown(viewer, AgentSession, **_with_ids(query))}
        assert found == {six[name].agent_session_id for name in expected}, query


def test_the_id_of_an_error_or_a_turn_leads_to_the_turn_and_its_session(viewer: Client, six: dict[str, Turn]) -> None:
    turn = six["failed"]
    for term in (turn.pk, turn.error_id, turn.agent_session_id, f"  {turn.error_id}\t", str(turn.pk).upper()):
        assert shown(viewer, Turn, q=str(term)) == [turn], term
        assert shown(viewer, AgentSession, q=str(term)) == [turn.agent_session], term


def test_a_list_is_leafed_by_key_without_losing_or_repeating_a_row(viewer: Client) -> None:
    session = a_session(person("ada", Role.USER), agent())
    made = [a_turn(session, ordinal=number) for number in range(1, 121)]
    for query in ("", f"?agent={session.agent_id}", "?user=ada", "?q=ada"):
        seen: list[Any] = []
        address: str | None = query
        while address is not None:
            found = changelist_of(viewer, list_of(Turn) + address)
            seen += found.result_list
            address = found.older
            if len(seen) == 50:
                a_turn(session, ordinal=1000 + len(query))  # what comes meanwhile moves nothing
        assert [turn.pk for turn in seen] == [turn.pk for turn in reversed(made)], query
        Turn.objects.filter(ordinal__gte=1000).delete()


def test_a_title_is_neither_shown_nor_found_where_the_transcript_is_hidden(viewer: Client) -> None:
    lawyers = Group.objects.create(name="lawyers")
    session = a_session(person("ada", Role.USER), agent(groups=[lawyers]), title="Secret matter")
    assert b"Secret" not in viewer.get(list_of(AgentSession)).content
    assert shown(viewer, AgentSession) == [session]
    assert shown(viewer, AgentSession, q="secret") == []
    User.objects.get(username="vera").groups.add(lawyers)
    assert b"Secret matter" in viewer.get(list_of(AgentSession)).content
    assert shown(viewer, AgentSession, q="secret") == [session]


def test_every_filter_and_search_stays_within_the_budget_of_its_list(
    viewer: Client, six: dict[str, Turn], django_assert_max_num_queries: Any
) -> None:
    for model, cases in ((Turn, TURNS), (AgentSession, SESSIONS)):
        budget = admin.site._registry[model].query_budget  # type: ignore[attr-defined]
        for query, _ in cases:
            wanted = _with_ids(query)
            # What a filter or a search names is looked up once, and a search by a name by its beginning too.
            with django_assert_max_num_queries(budget + 1 + len(query)):
                viewer.get(list_of(model), wanted)


def test_a_list_counts_nothing_and_is_planned_for_its_values(viewer: Client) -> None:
    session = a_session(person("ada", Role.USER), agent())
    for number in range(60):
        a_turn(session, ordinal=number)
    for model in LONG:
        with CaptureQueriesContext(connection) as queries:
            viewer.get(list_of(model))
        assert not [query["sql"] for query in queries if query["sql"].startswith("SELECT COUNT(")], model
        # A plan made for all values cannot use an index with a condition.
        assert "SET LOCAL plan_cache_mode = force_custom_plan" in [query["sql"] for query in queries], model


@pytest.mark.parametrize("role", [None, Role.USER])
def test_who_has_no_console_sees_no_list(role: Role | None) -> None:
    client = Client()
    client.force_login(person("ada", *([role] if role else [])))
    for model in LONG:
        assert client.get(list_of(model))["Location"].startswith("/admin/login/")
