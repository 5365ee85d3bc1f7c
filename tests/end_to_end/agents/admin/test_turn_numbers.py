"""Turns have the numbers that people count, and what nobody knows is a dash."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from accounts.roles import Role
from agents.admin.turn_numbers import turn_numbers
from agents.models import AgentSession, Turn
from foundation.clock import now
from tests.support.console_pages import session_with_a_turn
from tests.support.consoles import client_of, list_of, page_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


def add_turns(session: AgentSession, ordinals: list[int], **columns: Any) -> list[Turn]:
    return [
        Turn.objects.create(
            agent_session=session, user=session.user, release=session.release, ordinal=ordinal, status="completed",
            fingerprint=b"", deadline_at=now() + timedelta(hours=1), finished_at=now(), started_at=now(), **columns,
        )
        for ordinal in ordinals
    ]  # fmt: skip


def test_turns_are_numbered_from_one_in_their_session_everywhere(django_assert_num_queries: Any) -> None:
    ada, demo = person("ada", Role.USER), agent()
    one, other = session_with_a_turn(ada, demo, "first"), session_with_a_turn(ada, demo, "other")
    turns = [one.turns.get(), *add_turns(one, [3, 6, 9]), *add_turns(other, [4])]
    with django_assert_num_queries(1):
        assert turn_numbers(turns) == dict(zip([turn.pk for turn in turns], [1, 2, 3, 4, 2], strict=True))
    assert turn_numbers([]) == {}
    olga = client_of("olga", Role.OWNER)
    page = olga.get(list_of(Turn), {"q": str(one.pk)}).content.decode()
    assert re.findall(r">turn (\d+)</a>", page) == ["4", "3", "2", "1"]
    transcript = olga.get(page_of(one)).content.decode()
    assert ">Turn 4</a>" in transcript
    assert ">Turn 9</a>" not in transcript
    assert "Turn 4 of Hello" in olga.get(page_of(turns[3])).content.decode()
    live = olga.get(reverse("admin:agents_agentsession_live", args=[one.pk]), {"after": "0"})
    assert ">Turn 1</a>" in live.json()["blocks"][0]["html"]


def test_tokens_and_costs_that_nobody_knows_are_a_dash() -> None:
    session = session_with_a_turn(person("ada", Role.USER), agent())
    turn = session.turns.get()
    turn.steps.update(kind="model", status="failed", finished_at=now())
    Turn.objects.filter(pk=turn.pk).update(status="running", lease_expires_at=now())
    Turn.objects.filter(pk=turn.pk).update(
        status="failed", error_class="transient", finished_at=now(), lease_expires_at=None
    )
    olga = client_of("olga", Role.OWNER)
    for address in (page_of(session), page_of(turn)):
        page = olga.get(address).content.decode()
        assert "<div><dt>tokens</dt><dd>\N{EN DASH}</dd></div>" in page
        assert '<dd data-fact="Tokens">\N{EN DASH}</dd>' in page
        assert "<td>\N{EN DASH}</td><td>\N{EN DASH}</td><td>\N{EN DASH}</td>" in page
    [row] = olga.get(list_of(Turn)).content.decode().split("data-row")[1:]
    assert row.count("\N{EN DASH}") == 3  # duration, tokens, cost
