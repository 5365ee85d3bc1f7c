"""Debug mode: who may begin it, that it ends by itself, and that the audit trail says so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import AgentSession
from foundation.clock import now
from foundation.errors import BandstandError, Forbidden, InvalidInput, NotFound
from foundation.ids import new_id
from monitoring.debugging import (
    MAX_SECONDS,
    MIN_SECONDS,
    begin_debug_mode,
    end_debug_mode,
    is_active,
    modes_of,
    read_debug_targets,
)
from monitoring.models import DebugMode
from tests.support.conversations import Conversation, conversation
from tests.support.people import person

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")


@pytest.fixture
def ada() -> Conversation:
    return conversation()


def audited() -> list[str]:
    return list(
        AuditEntry.objects.filter(action__startswith="debug_mode").order_by("id").values_list("action", flat=True)
    )


def test_it_lasts_until_its_end_and_a_new_one_takes_its_place(ada: Conversation) -> None:
    session = AgentSession.objects.get(pk=ada.session_id)
    first = begin_debug_mode(SYSTEM, session_id=session.pk, seconds=600, reason=" Slow answers ")
    assert (first.reason, first.begun_by, is_active(first)) == ("Slow answers", "system:tests", True)
    second = begin_debug_mode(SYSTEM, session_id=session.pk, seconds=60, reason="Still slow")
    of_agent = begin_debug_mode(SYSTEM, agent_id=session.agent_id, reason="All of it")
    assert modes_of(session) == [second, of_agent]
    rows = read_debug_targets()
    assert (set(rows.session_ids), set(rows.agent_ids)) == ({session.pk}, {session.agent_id})
    first.refresh_from_db()
    assert first.ended_by == "system:tests"
    begun = now() - timedelta(hours=2)
    DebugMode.objects.update(begun_at=begun, until=begun + timedelta(hours=1))
    assert modes_of(session) == []
    assert read_debug_targets().session_ids == read_debug_targets().agent_ids == frozenset()
    # One that had ended by itself is said to have ended then.
    begin_debug_mode(SYSTEM, session_id=session.pk, reason="Again")
    second.refresh_from_db()
    assert (second.ended_at, second.ended_by) == (second.until, "")
    assert audited() == ["debug_mode.begun"] * 4
    entry = AuditEntry.objects.filter(action="debug_mode.begun").order_by("id")[0]
    assert (entry.target_type, entry.target_id, entry.detail["reason"]) == (
        "agentsession",
        str(session.pk),
        "Slow answers",
    )


def test_it_can_be_ended_before_once(ada: Conversation) -> None:
    mode = begin_debug_mode(SYSTEM, session_id=ada.session_id, reason="Why?")
    ended = end_debug_mode(SYSTEM, mode.pk)
    assert (is_active(ended), ended.ended_by) == (False, "system:tests")
    assert end_debug_mode(SYSTEM, mode.pk).ended_at == ended.ended_at
    assert audited() == ["debug_mode.begun", "debug_mode.ended"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"reason": ""}, InvalidInput),
        ({"reason": "\u200b "}, InvalidInput),
        ({"reason": "x" * 301}, InvalidInput),
        ({"seconds": MIN_SECONDS - 1}, InvalidInput),
        ({"seconds": MAX_SECONDS + 1}, InvalidInput),
        ({"session_id": new_id()}, NotFound),
        ({"session_id": None, "agent_id": new_id()}, NotFound),
        ({"session_id": None}, NotFound),
    ],
)
def test_what_is_wrong_begins_nothing(
    ada: Conversation, values: dict[str, object], error: type[BandstandError]
) -> None:
    given: dict[str, object] = {"session_id": ada.session_id, "reason": "Why?", **values}
    with pytest.raises(error):
        begin_debug_mode(SYSTEM, **given)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        end_debug_mode(SYSTEM, new_id())
    assert (audited(), DebugMode.objects.count()) == ([], 0)


def test_operators_may_and_viewers_may_not(ada: Conversation) -> None:
    mode = begin_debug_mode(user_actor(person("olga", Role.OPERATOR)), session_id=ada.session_id, reason="Why?")
    viewer = user_actor(person("vera", Role.VIEWER))
    with pytest.raises(Forbidden):
        begin_debug_mode(viewer, session_id=ada.session_id, reason="Why?")
    with pytest.raises(Forbidden):
        end_debug_mode(viewer, mode.pk)
    assert mode.begun_by == "olga"


def test_it_is_of_one_session_or_one_agent(ada: Conversation) -> None:
    agent = AgentSession.objects.get(pk=ada.session_id).agent
    for of in ({}, {"agent": agent, "session": ada.session_id}):
        with pytest.raises(IntegrityError), transaction.atomic():
            DebugMode.objects.create(until=now() + timedelta(hours=1), **of)
