"""The writer of spans, in its thread and over its own connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from foundation.clock import now
from foundation.ids import new_id
from foundation.process_work import Process, ProcessKind
from foundation.spans import Span, SpanBuffer
from monitoring.models import TraceSettings, TurnSpan
from monitoring.spans.partitions import partition_name, partition_names
from monitoring.spans.sampling import DebugTargets, Sampling
from monitoring.spans.writer import SpanWriter, encode
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")

AGENT = UUID(int=7)
A_WHILE = 15.0


def span(name: str = "bandstand.context", *, at: datetime | None = None, **attributes: Any) -> Span:
    started_at = at or now()
    return Span(new_id(), AGENT, name, started_at, started_at + timedelta(seconds=1), attributes)


@contextmanager
def writing(buffer: SpanBuffer, sampling: Sampling | None = None) -> Iterator[SpanWriter]:
    writer = SpanWriter(Process(ProcessKind.RUNNER, new_id(), dict, buffer), sampling or Sampling(), write_seconds=0.01)
    writer.start()
    try:
        yield writer
    finally:
        writer.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    ends_at = monotonic() + A_WHILE
    while not condition():
        assert monotonic() < ends_at
        sleep(0.01)  # the writer's thread has no event of its own for what it has written


def other_connection() -> psycopg.Connection[Any]:
    params = {k: v for k, v in connection.settings_dict.items() if k in {"HOST", "PORT", "USER", "PASSWORD", "NAME"}}
    return psycopg.connect(
        host=params["HOST"],
        port=params["PORT"],
        user=params["USER"],
        password=params["PASSWORD"],
        dbname=params["NAME"],
        autocommit=True,
    )


def test_spans_are_written_as_they_are_and_make_their_days_partition() -> None:
    tomorrow = now() + timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {partition_name(tomorrow.date())}")
    odd = span("tab\tand\\back\nslash", at=tomorrow, text='quo"te \\ \n\t\x00 ü', number=1.5)
    buffer = SpanBuffer()
    buffer.record(odd)
    buffer.record(span())
    with writing(buffer):
        pass  # the end of the process writes what is there
    stored = TurnSpan.objects.get(turn_id=odd.turn_id)
    assert (stored.name, stored.started_at, stored.ended_at) == (odd.name, odd.started_at, odd.ended_at)
    assert stored.attributes == {"text": 'quo"te \\ \n\t ü', "number": 1.5}
    assert partition_name(tomorrow.date()) in partition_names()
    assert (TurnSpan.objects.count(), buffer.dropped) == (2, 0)


def test_what_a_wrong_clock_says_is_dropped_and_counted() -> None:
    buffer = SpanBuffer()
    buffer.record(span(at=datetime(1999, 1, 1, tzinfo=UTC)))
    with writing(buffer):
        pass
    assert (TurnSpan.objects.count(), buffer.dropped) == (0, 1)


def test_while_the_table_is_locked_the_buffer_fills_drops_and_is_written_later() -> None:
    buffer = SpanBuffer(size=3)
    with other_connection() as blocker, writing(buffer):
        with blocker.transaction():
            blocker.execute("LOCK TABLE monitoring_span IN ACCESS EXCLUSIVE MODE")
            buffer.record(span())
            wait_until(lambda: len(buffer) == 0)
            for _ in range(5):
                buffer.record(span())
            assert (len(buffer), buffer.dropped) == (3, 2)
        wait_until(lambda: TurnSpan.objects.count() == 4)


def test_a_lost_connection_is_replaced_and_nothing_is_written_twice() -> None:
    buffer = SpanBuffer()
    with other_connection() as killer, writing(buffer):
        buffer.record(span())
        wait_until(lambda: TurnSpan.objects.count() == 1)
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY monitoring_span%'"
        )
        buffer.record(span())
        wait_until(lambda: TurnSpan.objects.count() == 2)
    assert buffer.dropped == 0


def test_a_batch_that_was_written_before_its_reply_was_lost_is_not_written_again() -> None:
    spans = [span(), span()]
    lines = encode(spans)
    with writing(SpanBuffer()) as writer:
        writer.stop()
        writer._batch_days = {one.started_at.date() for one in spans}
        for _ in range(2):
            writer._batch, writer._batch_size = lines, 2
            writer._write_batch()
    assert TurnSpan.objects.count() == 2


def test_settings_and_debug_mode_decide_which_turns_are_recorded() -> None:
    # Not of the default share.
    turn, session = UUID(int=new_id().int | 0xFFFFFFFF), new_id()
    silent, loud = agent("silent"), agent("loud")
    TraceSettings.objects.create(agent=silent, sample_percent=0)
    TraceSettings.objects.create(agent=loud, sample_percent=100)
    sampling = Sampling()
    with writing(buffer := SpanBuffer(), sampling):
        wait_until(lambda: buffer.is_sampled(loud.pk, session, turn))
        assert not buffer.is_sampled(silent.pk, session, turn)
    sampling = Sampling([lambda: DebugTargets(frozenset({session}), frozenset())])
    sampling.refresh()
    assert sampling.is_sampled(silent.pk, session, turn)
    assert not sampling.is_sampled(silent.pk, new_id(), turn)


def test_the_default_records_a_tenth_of_the_turns_alike_in_each_process() -> None:
    one, other = Sampling(), Sampling()
    turns = [new_id() for _ in range(2_000)]
    sampled = [turn for turn in turns if one.is_sampled(AGENT, AGENT, turn)]
    assert sampled == [turn for turn in turns if other.is_sampled(AGENT, AGENT, turn)]
    assert 120 < len(sampled) < 290
