"""What the query string of a list may hold: its declared filters, and nothing else of any row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import Field, Model
from django.http import HttpRequest
from django.test import RequestFactory
from django.urls import reverse

from accounts.models import User
from accounts.roles import Role
from agents.models import Agent, AgentSession, Event, Release, Step, Turn
from foundation.clock import now
from foundation.ids import new_id
from tests.support.console_pages import one_row_of_everything, session_with_a_turn
from tests.support.consoles import client_of, list_of, page_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db

ADMINS: dict[type[Model], Any] = dict(admin.site._registry)
# What the filters of the lists read; a further filter is a further line.
DECLARED: dict[str, set[str]] = {
    "accounts.apikey": {"revoked_at__isempty"},
    "accounts.auditentry": {"age", "since", "target", "until"},
    "accounts.outgoingemail": {"kind__exact", "kind__isnull", "state__exact", "state__isnull"},
    "accounts.user": {"groups__id__exact", "groups__isnull", "is_active__exact", "is_active__isnull"},
    "agents.agent": {"archived_at__isempty", "when_busy__exact", "when_busy__isnull"},
    "agents.agentsession": {
        "agent",
        "cost",
        "duration",
        "error",
        "purpose",
        "rated",
        "release",
        "since",
        "state",
        "until",
        "user",
    },
    "agents.approval": {"agent", "decider", "state", "user"},
    "agents.handoff": {"agent", "by", "priority", "show", "user"},
    "agents.approvalpass": {"state"},
    "agents.budget": {"subject", "unit", "period"},
    "agents.budgetdifference": {"kind", "reviewed"},
    "agents.budgetreservation": {"age", "budget", "state", "user"},
    "agents.bulkaction": {"status__exact", "status__isnull"},
    "agents.deployment": {"agent__id__exact", "agent__isnull", "state__exact", "state__isnull"},
    "agents.evaluationrun": {
        "agent__id__exact",
        "agent__isnull",
        "state__exact",
        "state__isnull",
        "test_set__id__exact",
        "test_set__isnull",
    },
    "agents.event": {"age", "type"},
    "agents.feedback": {"agent", "comment", "of", "release", "since", "until", "value"},
    "agents.modelprice": set(),
    "agents.release": {"agent__id__exact", "agent__isnull"},
    "agents.routehealth": {"state__exact", "state__isnull"},
    "agents.testset": {"agent__id__exact", "agent__isnull"},
    "agents.runner": {"alive", "status__exact", "status__isnull"},
    "agents.step": {"age", "kind__exact", "kind__isnull", "status__exact", "status__isnull"},
    "agents.turn": {
        "agent",
        "cost",
        "duration",
        "error",
        "fallback",
        "purpose",
        "rated",
        "release",
        "since",
        "state",
        "until",
        "user",
    },
    "agents.turnschedule": {"agent", "last", "state", "user"},
    "auth.group": set(),
    "memory.memory": {"age", "scope", "since", "source", "tier", "trust", "until", "user"},
    "memory.memorypool": set(),
    "monitoring.debugmode": set(),
    "monitoring.readinessrun": {"status__exact", "status__isnull"},
    "monitoring.alert": {"rule", "severity", "since", "state", "until"},
    "monitoring.alertrule": {"metric", "severity", "state"},
    "monitoring.notification": {"channel", "kind", "since", "state", "until"},
    "monitoring.notificationchannel": {"kind"},
    "monitoring.silence": {"state"},
    "monitoring.recommendation": {"kind__exact", "kind__isnull", "status__exact", "status__isnull"},
    "monitoring.tracesettings": set(),
    "scheduling.jobrun": {"age", "job", "since", "status__exact", "status__isnull", "until"},
    "scheduling.schedule": {"trouble"},
}

# What is no filter: the search, the order, the page, and the place in a long list.
OTHER_PARAMETERS = {"q", "o", "p", "before"}


def request_of(user: User | AnonymousUser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def lookups_of(path: str, field: Any) -> Iterator[str]:
    """A field and all that can stand behind it: what is compared, and a transform of it that is compared."""
    yield path
    concrete = field if isinstance(field, Field) else field.remote_field
    for name, lookup in concrete.get_lookups().items():
        yield f"{path}__{name}"
        if hasattr(lookup, "get_lookups"):
            yield from (f"{path}__{name}__{second}" for second in lookup.get_lookups())


def every_lookup(model: type[Model], *, spans: bool = True) -> Iterator[str]:
    """Every lookup of every field of the model, of its relations in both directions, and of the rows behind these."""
    for field in model._meta.get_fields(include_hidden=True):
        path = str(field.name)
        yield from lookups_of(path, field)
        if isinstance(field, Field) and field.attname != field.name:
            yield from lookups_of(field.attname, field)
        if spans and field.is_relation and field.related_model:
            yield from (f"{path}__{lookup}" for lookup in every_lookup(field.related_model, spans=False))
    yield from lookups_of("pk", model._meta.pk)


def test_no_lookup_is_allowed_but_what_the_filters_declare() -> None:
    request = request_of(person("olga", Role.OWNER))
    tried = 0
    for model, page in ADMINS.items():
        lookups = {*every_lookup(model), "", "x", "nothing__exact", "a\x00b", "__", "__class__", "pk__in__x"}
        declared = DECLARED[model._meta.label_lower]
        allowed = {lookup for lookup in lookups | declared if page.lookup_allowed(lookup, "1", request)}
        assert allowed == declared, model
        tried += len(lookups)
    assert tried > 20_000


def test_a_lookup_that_no_filter_declares_is_refused_with_words() -> None:
    viewer, owner = client_of("vera", Role.VIEWER), client_of("olga", Role.OWNER)
    lawyers = Group.objects.create(name="lawyers")
    session = session_with_a_turn(person("ada", Role.USER), agent(groups=[lawyers]), "secret")
    assert session
    for client, model, query in [
        (viewer, Event, "data__icontains=secret"),
        (viewer, Event, "data__message__parts__0__text__startswith=s"),
        (viewer, Event, "at__year=99999999999"),
        (viewer, Event, "agent_session__title__startswith=H"),
        (viewer, AgentSession, "title__startswith=H"),
        (viewer, AgentSession, "title__regex=("),
        (viewer, AgentSession, "title__trigram_similar=x"),
        (viewer, AgentSession, "metadata__x=1"),
        (viewer, AgentSession, "user__password__startswith=pbkdf2"),
        (viewer, AgentSession, "turns__steps__result__icontains=x"),
        (viewer, Step, "result__icontains=x"),
        (viewer, Turn, "release__configuration__icontains=x"),
        (owner, User, "password__startswith=argon2"),
        (owner, User, "password__startswith=argon2&e=1"),
        (owner, User, "_facets=1&password__startswith=argon2"),
        (owner, User, "q=ada&o=1&p=1&all=&password__startswith=argon2"),
        (owner, User, "_popup=1&id=1&password__startswith=argon2"),
        (owner, User, "_to_field=password"),
        (owner, User, "_popup=1&_to_field=username"),
        (owner, User, "is_active__exact=x"),
        (owner, User, "is_active__exact=x&e=1"),
        (owner, User, "groups__id__exact=x"),
    ]:
        response = client.get(f"{list_of(model)}?{query}")
        assert response.status_code == 400, query
        assert b"no such filter" in response.content, query


def test_a_refused_lookup_is_one_line_in_the_log_with_actor_and_rule(caplog: pytest.LogCaptureFixture) -> None:
    viewer = client_of("vera", Role.VIEWER)
    caplog.clear()
    assert viewer.get(f"{list_of(Event)}?data__icontains=x").status_code == 400
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    [line] = [line for line in lines if line["event"] == "request.refused"]
    assert (line["actor"], line["rule"], line["status"]) == ("vera", "console_filter", 400)
    assert not [record for record in caplog.records if record.name.startswith("django.security")]


def test_a_page_beyond_the_end_is_the_last_one() -> None:
    owner = client_of("olga", Role.OWNER)
    User.objects.bulk_create(User(username=f"user{number:02}") for number in range(54))
    for page, first, rows in [("2", "user49", 5), ("9" * 30, "user49", 5), ("-1", "olga", 50), ("0", "olga", 50)]:
        response = owner.get(list_of(User), {"p": page})
        assert response.status_code == 200, page
        names = [user.username for user in response.context["cl"].result_list]
        assert (names[0], len(names)) == (first, rows), page


def test_a_search_of_thousands_of_words_finds_nothing() -> None:
    owner = client_of("olga", Role.OWNER)
    for words, found in [("o l g a", 1), ("a " * 101, 0), ("a " * 3_900, 0)]:
        assert len(owner.get(list_of(User), {"q": words}).context["cl"].result_list) == found


def test_what_our_own_pages_link_to_is_allowed() -> None:
    owner = client_of("olga", Role.OWNER)
    one_row_of_everything(person("ada", Role.USER))
    Turn.objects.update(status="failed", error_class="transient", error_id=new_id(), finished_at=now())
    lists: dict[str, Any] = {list_of(model): page for model, page in ADMINS.items()}
    pages = [reverse("admin:index"), *map(list_of, (User, AgentSession, Step, Agent, Release))]
    pages += [page_of(model._default_manager.latest("pk")) for model in (Agent, AgentSession)]
    tried = set()
    for page in pages:
        for link in links_of(owner.get(page).content.decode()):
            address = urlsplit(urljoin(page, link))
            for name, value in parse_qsl(address.query):
                if address.path in lists and name not in OTHER_PARAMETERS:
                    assert lists[address.path].lookup_allowed(name, value, request_of(AnonymousUser())), link
                    tried.add(name)
    assert {"error", "is_active__exact", "groups__id__exact", "kind__exact", "agent__id__exact"} <= tried


def links_of(page: str) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="([^"]+)"', page)]


def test_pages_that_look_rows_up_for_widgets_are_not_there() -> None:
    owner = client_of("olga", Role.OWNER)
    one_row_of_everything(person("ada", Role.USER))
    query = {"app_label": "agents", "model_name": "agentsession", "field_name": "user", "term": "a"}
    assert owner.get("/admin/autocomplete/", query).status_code == 404
    for key in ("1", "x", "00000000-0000-0000-0000-000000000000"):
        assert owner.get(f"/admin/r/1/{key}/").status_code == 404
        assert owner.get(f"/admin/r/10/{key}/").status_code == 404


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "TRACE", "PROPFIND"])
def test_no_method_shows_a_hidden_transcript(method: str) -> None:
    """Django's own page of a row, which every method but POST leads to, has all of its fields."""
    lawyers = Group.objects.create(name="lawyers")
    session = session_with_a_turn(person("ada", Role.USER), agent(groups=[lawyers]), "secret")
    AgentSession.objects.update(title="secret", metadata={"x": "secret"})
    Release.objects.update(note="")
    viewer = client_of("vera", Role.VIEWER)
    rows = (session, session.events.get(), Step.objects.get(), session.turns.get())
    for row in rows:
        response = viewer.generic(method, page_of(row))
        assert b"secret" not in response.content, row
        assert response.status_code == (200 if method == "HEAD" else 405)
