"""Partitions made ahead and dropped, and spans of agents that keep them shorter."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from foundation.clock import now
from foundation.ids import new_id
from monitoring.models import TraceSettings, TurnSpan
from monitoring.spans.partitions import create_partitions, partition_name, partition_names
from monitoring.spans.retention import delete_expired_spans, keep_partitions
from tests.support.people import agent

pytestmark = pytest.mark.django_db


def day(ago: int) -> date:
    return (now() - timedelta(days=ago)).date()


def create(*days: date) -> None:
    with connection.cursor() as cursor:
        create_partitions(cursor, days)


def store(agent_id: UUID, ago: int) -> None:
    create(day(ago))
    at = now() - timedelta(days=ago)
    TurnSpan.objects.create(
        started_at=at, id=new_id().int % 2**63, turn_id=new_id(), agent_id=agent_id, name="x", ended_at=at
    )


def test_the_next_days_are_made_and_those_that_nobody_keeps_are_dropped() -> None:
    create(day(31), day(30), day(1))
    assert keep_partitions() >= 1
    names = partition_names()
    assert partition_name(day(31)) not in names
    assert {partition_name(day(ago)) for ago in (30, 1, 0, -1, -2, -3)} <= set(names)
    assert keep_partitions() == 0


def test_one_agent_that_keeps_its_spans_longer_keeps_the_partition() -> None:
    TraceSettings.objects.create(agent=agent("long"), retention_days=90)
    create(day(90), day(91))
    keep_partitions()
    assert partition_name(day(90)) in partition_names()
    assert partition_name(day(91)) not in partition_names()


def test_spans_of_an_agent_that_keeps_them_shorter_are_deleted_and_those_of_others_stay() -> None:
    short, other = agent("short"), agent("other")
    TraceSettings.objects.create(agent=short, retention_days=2)
    for ago in (0, 2, 3, 9):
        store(short.pk, ago)
    store(other.pk, 9)
    assert delete_expired_spans() == 2
    assert TurnSpan.objects.filter(agent_id=short.pk).count() == 2
    assert TurnSpan.objects.filter(agent_id=other.pk).count() == 1


def test_agents_without_settings_keep_theirs_by_the_setting_though_another_keeps_its_own_longer() -> None:
    long, other = agent("long"), agent("other")
    TraceSettings.objects.create(agent=long, retention_days=90)
    for one in (long, other):
        for ago in (4, 6):
            store(one.pk, ago)
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"span_days": 5})):
        assert delete_expired_spans() == 1
        assert delete_expired_spans() == 0
    assert TurnSpan.objects.filter(agent_id=long.pk).count() == 2
    assert TurnSpan.objects.filter(agent_id=other.pk).count() == 1


def test_the_setting_says_for_how_long_days_of_spans_stay() -> None:
    create(day(6), day(5))
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"span_days": 5})):
        keep_partitions()
    names = partition_names()
    assert (partition_name(day(6)) in names, partition_name(day(5)) in names) == (False, True)
