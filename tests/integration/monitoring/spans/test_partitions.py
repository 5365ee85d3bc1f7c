"""The partitions of spans, and reading what stands in them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection

from foundation.ids import new_id
from monitoring.models import TurnSpan
from monitoring.spans.partitions import create_partitions, partition_day, partition_name, partition_names
from monitoring.spans.reading import spans_of_turn, spans_of_turns

pytestmark = pytest.mark.django_db

DAY = date(2031, 5, 6)
NOON = datetime(2031, 5, 6, 12, tzinfo=UTC)


def create(*days: date) -> None:
    with connection.cursor() as cursor:
        create_partitions(cursor, days)


def store(turn_id: UUID, at: datetime, name: str = "bandstand.admission", number: int = 1) -> TurnSpan:
    return TurnSpan.objects.create(
        started_at=at,
        id=number,
        turn_id=turn_id,
        agent_id=uuid4(),
        name=name,
        ended_at=at + timedelta(milliseconds=5),
        attributes={"size": 3},
    )


def test_the_partition_of_a_day_is_made_once_and_takes_the_whole_day() -> None:
    create(DAY, DAY)
    create(DAY)
    turn = new_id()
    midnight = datetime(2031, 5, 6, tzinfo=UTC)
    store(turn, midnight)
    store(turn, midnight + timedelta(days=1, microseconds=-1), number=2)
    assert partition_name(DAY) in partition_names()
    assert partition_day(partition_name(DAY)) == DAY
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {partition_name(DAY)}")
        assert cursor.fetchone() == (2,)


def test_the_spans_of_a_turn_are_read_in_the_order_of_their_beginnings() -> None:
    create(DAY, DAY + timedelta(days=1))
    turn, other = new_id(), new_id()
    store(turn, NOON + timedelta(seconds=2), "bandstand.delivery", 1)
    store(turn, NOON, "bandstand.admission", 2)
    store(other, NOON, number=3)
    store(turn, NOON + timedelta(days=1), "later", 4)
    spans = spans_of_turn(turn, NOON)
    assert [(span.name, span.seconds, span.attributes) for span in spans] == [
        ("bandstand.admission", 0.005, {"size": 3}),
        ("bandstand.delivery", 0.005, {"size": 3}),
    ]
    assert [span.name for span in spans_of_turn(turn, NOON, NOON + timedelta(days=1))][-1] == "later"
    assert {span.turn_id for span in spans_of_turns([turn, other], NOON)} == {turn, other}


def test_a_read_looks_only_into_the_days_of_its_times() -> None:
    create(DAY, DAY + timedelta(days=3))
    with (
        connection.execute_wrapper(
            lambda run, sql, params, many, context: run("EXPLAIN " + sql, params, many, context)
        ),
        connection.cursor() as cursor,
    ):
        rows = TurnSpan.objects.filter(turn_id=new_id(), started_at__gte=NOON, started_at__lt=NOON + timedelta(hours=1))
        cursor.execute(*rows.query.sql_with_params())
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert partition_name(DAY) in plan
    assert partition_name(DAY + timedelta(days=3)) not in plan
