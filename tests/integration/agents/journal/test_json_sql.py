"""What SQL builds for the wire is what Python builds from the same rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import connection

from agents.domain.serialization import message_shape, moment, session_shape
from agents.journal.json_sql import MOMENT, message_json, session_json
from agents.models import AgentSession, Message
from foundation.ids import new_id
from tests.support.conversations import conversation

pytestmark = pytest.mark.django_db

MESSAGE = message_json(
    id="m.id",
    ordinal="m.ordinal",
    author="m.author",
    parts="m.parts",
    turn="m.turn_id",
    parent="m.parent_id",
    partial="m.partial",
    created_at="m.created_at",
)
SESSION = session_json("s", agent="a.slug", release="r.number", title="s.title", head="s.head_message_id")
MOMENTS = [
    datetime(2026, 11, 22, 8, 15, 30, 1, tzinfo=UTC),
    datetime(2026, 1, 2, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1999, 12, 31, tzinfo=UTC),
]


def built(statement: str) -> list[object]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [json.loads(value) if isinstance(value, str) else value for (value,) in cursor.fetchall()]


@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_a_moment(at: datetime, zone: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('timezone', %s, true)", [zone])
        cursor.execute(f"SELECT {MOMENT.format('%s::timestamptz')}", [at])
        assert cursor.fetchone()[0] == moment(at)


def test_a_message() -> None:
    ada = conversation()
    first = ada.ask("Hello")
    parts = [{"type": "text", "text": 'Ünï "quoted" \\ 🐎'}, {"type": "tool", "n": 1.5, "deep": {"a": [None, True]}}]
    rows = [
        Message(author="agent", parts=parts, turn_id=first.turn_id, parent_id=first.message_id, partial=True),
        Message(author="human", parts=[], parent_id=new_id()),
        Message(author="system", supplied_by_client=True),
    ]
    for ordinal, row in enumerate(rows, 2):
        row.agent_session_id, row.ordinal = ada.session_id, ordinal
        row.save()
    for row, at in zip(rows, MOMENTS, strict=True):
        Message.objects.filter(pk=row.pk).update(created_at=at)
    shapes = [message_shape(row) for row in Message.objects.order_by("ordinal")]
    assert built(f"SELECT {MESSAGE} FROM agents_message m ORDER BY m.ordinal") == shapes
    assert len(shapes) == 4


def test_a_session() -> None:
    ada, _ = conversation("ada"), conversation("ben")
    ada.ask("Hello")
    changed = {"metadata": {"a": [1, "ü", None, {"b": 0.1}]}, "controller": "human", "version": 7, "title": "Ü 'q' \\"}
    AgentSession.objects.filter(pk=ada.session_id).update(**changed)
    rows = AgentSession.objects.select_related("agent", "release").order_by("id")
    statement = f"""
        SELECT {SESSION} FROM agents_agentsession s JOIN agents_agent a ON a.id = s.agent_id
        JOIN agents_release r ON r.id = s.release_id ORDER BY s.id
    """
    assert built(statement) == [session_shape(row) for row in rows]
    assert {row.head_message_id is None for row in rows} == {True, False}
