"""What stands above a list: tabs, and a chip for each filter in use that takes just that one away."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs

import pytest
from django.test import Client

from accounts.models import AuditEntry
from accounts.roles import Role
from agents.models import Agent, AgentSession, Event, Turn
from console.list_head import chips, tab_links
from foundation.clock import now
from foundation.ids import new_id
from memory.models import Memory
from scheduling.models import JobRun
from tests.support.console_pages import session_with_a_turn
from tests.support.consoles import client_of, list_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Client:
    return client_of("olga", Role.OWNER)


def changelist(client: Client, model: Any, query: str) -> Any:
    response = client.get(f"{list_of(model)}?{query}")
    assert response.status_code == 200, query
    return response.context["cl"]


def rest(address: str) -> dict[str, list[str]]:
    return parse_qs(address.removeprefix("?"))


def test_each_chip_takes_just_its_filter_away(owner: Client) -> None:
    demo = agent("demo")
    query = f"agent={demo.pk}&state=any_failed&since=2026-01-31T08:15&user=ada&q=ada&before={new_id()}"
    shown = chips(changelist(owner, Turn, query))
    assert [(chip.title, chip.value) for chip in shown] == [
        ("search", "ada"),
        ("agent", "Demo"),
        ("user", "ada"),
        ("status", "failed or expired"),
        ("from (UTC)", "2026-01-31 08:15 UTC"),
    ]
    names = ["q", "agent", "user", "state", "since"]
    for chip, name in zip(shown, names, strict=True):
        # The place in the list goes, too: it belongs to the rows that matched before.
        assert set(rest(chip.address)) == {*names} - {name}
    page = owner.get(f"{list_of(Turn)}?{query}").content.decode()
    assert page.count('class="bs-chip"') == 5
    assert "Take all away" in page
    assert 'name="before"' not in page


@pytest.mark.parametrize(
    ("model", "query", "value"),
    [
        (AuditEntry, "target=agent", "agent"),
        (AuditEntry, "age=day", "Past day"),
        (Event, "type=turn.failed", "turn.failed"),
        (JobRun, "status__exact=failed", "Failed"),
        (Memory, "trust=quarantined", "quarantined"),
        (Agent, "when_busy__exact=enqueue", "Enqueue"),
        (AgentSession, "error=any", "any"),
    ],
)
def test_every_kind_of_filter_has_a_chip(owner: Client, model: Any, query: str, value: str) -> None:
    [chip] = chips(changelist(owner, model, query))
    assert chip.value.lower() == value.lower()
    assert chip.address == "?"
    assert chips(changelist(owner, model, "")) == []


def test_tabs_set_their_filters_and_keep_the_others(owner: Client) -> None:
    session = session_with_a_turn(person("ada", Role.USER), agent())
    statuses = ["failed", "expired", "running", "retry_wait", "completed"]
    for ordinal, status in enumerate(statuses, 2):
        Turn.objects.create(
            agent_session=session, user=session.user, release=session.release, ordinal=ordinal, status=status,
            fingerprint=b"", deadline_at=now() + timedelta(hours=1),
            finished_at=now() if status in {"failed", "expired", "completed"} else None,
            lease_expires_at=now() if status == "running" else None,
            available_at=now() if status == "retry_wait" else None,
            error_class="transient" if status in {"failed", "expired"} else "",
        )  # fmt: skip
    expected = {
        "All": {*statuses, "queued"},
        "Failed": {"failed", "expired"},
        "Running": {"running"},
        "Waiting": {"retry_wait"},
        "Queued": {"queued"},
    }
    links = tab_links(changelist(owner, Turn, "user=ada&state=completed"))
    assert [link.title for link in links] == list(expected)
    assert not any(link.is_current for link in links)
    for link in links:
        assert rest(link.address)["user"] == ["ada"]
        page = owner.get(list_of(Turn) + link.address)
        assert {turn.status for turn in page.context["cl"].result_list} == expected[link.title], link.title
        [current] = re.findall(r'class="bs-tab" href="([^"]*)" aria-current="page"', page.content.decode())
        assert unescape(current) == link.address
