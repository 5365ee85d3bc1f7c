"""`python -m tests.bench.spans [--rows 10000000]`: what spans cost to record, to write, to read among many, to drop.

CPU times are those of the process and of PostgreSQL's own processes, so another's work does not count.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from statistics import median
from time import perf_counter, process_time, sleep, thread_time
from typing import Any, Final
from uuid import UUID

import psutil

TURNS: Final = 20_000
SPANS_PER_TURN: Final = 5
# PostgreSQL makes so many in one statement.
GENERATED: Final = 500_000
DAY: Final = date(2031, 1, 15)
PAGE: Final = 50
# PostgreSQL makes one every five minutes.
CHECKPOINT_SECONDS: Final = 330

# Spread evenly over the day, five for each turn, as the writer stores them.
GENERATE: Final = """
INSERT INTO monitoring_span (started_at, id, turn_id, agent_id, name, ended_at, error_type, attributes)
SELECT at, number, lpad(to_hex(number / 5), 32, '0')::uuid, '00000000-0000-0000-0000-000000000007',
       (ARRAY['bandstand.admission', 'bandstand.context', 'search_memory', 'bandstand.context',
              'bandstand.delivery'])[number %% 5 + 1],
       at + interval '12 ms', '', '{"bandstand.phase": "assemble", "bandstand.messages": 12}'
FROM (SELECT number, timestamptz '2031-01-15 00:00+00' + number * (interval '1 day' / %s) AS at
      FROM generate_series(%s::bigint, %s::bigint) number) made
"""


def main() -> None:
    options = _options()
    _set_up()
    _say(f"load {os.getloadavg()}, {os.cpu_count()} cores")
    _measure_recording()
    _measure_writing()
    _measure_reading(options.rows)
    _tear_down()


def _tear_down() -> None:
    from django.db import connection

    connection.creation.destroy_test_db("bandstand", verbosity=0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.spans", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="spans of the day that is read and dropped")
    return parser.parse_args()


def _set_up() -> None:
    from tests.support.database import provide

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    provide()
    import django

    django.setup()
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)


def _say(text: str) -> None:
    print(text, flush=True)


# --- a turn ---


def _measure_recording() -> None:
    """The CPU that a turn's own threads spend on its spans."""
    from foundation.ids import new_id
    from foundation.spans import ADMISSION, SpanBuffer
    from monitoring.spans.sampling import Sampling

    buffer, sampling = SpanBuffer(size=10**9), Sampling()
    agent, session = new_id(), new_id()
    ids = [new_id() for _ in range(TURNS)]

    def run(sampled: bool) -> float:
        buffer.is_sampled = (lambda *_: True) if sampled else lambda *each: sampling.is_sampled(*each) and False
        begin = thread_time()
        for turn in ids:
            for _ in range(SPANS_PER_TURN):
                spans = buffer.open_turn(agent, session, turn)
                started_at = spans.begin()
                spans.end(ADMISSION, started_at, bandstand__transport="rest")
        seconds = thread_time() - begin
        buffer.take(10**9)
        return 1e6 * seconds / TURNS

    idle, sampled = (median(run(each) for _ in range(5)) for each in (False, True))
    _say(
        f"recording {SPANS_PER_TURN} spans of a turn: {idle:.1f} µs of CPU if it is not sampled, else {sampled:.1f} µs"
    )


# --- writing ---


def _measure_writing() -> None:
    from foundation.clock import now
    from foundation.ids import new_id
    from foundation.process_work import Process, ProcessKind
    from foundation.spans import Span, SpanBuffer
    from monitoring.models import TurnSpan
    from monitoring.spans.sampling import Sampling
    from monitoring.spans.writer import SpanWriter

    buffer, agent = SpanBuffer(size=10**9), UUID(int=7)
    for _ in range(TURNS):
        turn, at = new_id(), now()
        for _ in range(SPANS_PER_TURN):
            attributes = {"bandstand.phase": "assemble", "bandstand.messages": 12}
            buffer.record(Span(turn, agent, "bandstand.context", at, at, attributes))
    count = len(buffer)
    server_before, cpu_before, begin = _server_cpu(), process_time(), perf_counter()
    writer = SpanWriter(Process(ProcessKind.RUNNER, new_id(), dict, buffer), Sampling(), write_seconds=0)
    writer.start()
    writer._stopping.set()
    writer._thread.join()
    seconds, cpu = perf_counter() - begin, process_time() - cpu_before
    server = _server_cpu() - server_before
    assert TurnSpan.objects.count() == count
    _say(
        f"writing: {count:,} spans in {seconds:.1f} s, {count / seconds:,.0f} a second; "
        f"CPU of a span {1e6 * cpu / count:.1f} µs here, {1e6 * server / count:.1f} µs in PostgreSQL"
    )


def _server_cpu() -> float:
    """CPU seconds of all of PostgreSQL's processes."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0]).parent()
    assert server is not None
    times = [process.cpu_times() for process in (server, *server.children())]
    # Of those that have ended, too.
    return sum(each.user + each.system for each in times) + server.cpu_times().children_user


# --- reading and dropping ---


def _wait_for_checkpoint(cursor: Any) -> None:
    """A day that is dropped was written to the disk long ago. Only a superuser may ask for a checkpoint."""
    cursor.execute("SELECT pg_current_wal_lsn()")
    [written] = cursor.fetchone()
    for _ in range(CHECKPOINT_SECONDS):
        cursor.execute("SELECT redo_lsn >= %s::pg_lsn FROM pg_control_checkpoint()", [written])
        if cursor.fetchone()[0]:
            return
        sleep(1)
    _say("no checkpoint has come")


def _measure_reading(rows: int) -> None:
    from django.db import connection

    from monitoring.models import TurnSpan
    from monitoring.spans.partitions import create_partitions, partition_name
    from monitoring.spans.reading import spans_of_turn, spans_of_turns
    from monitoring.spans.retention import drop_partition

    begin = perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET transaction_timeout = 0")
        create_partitions(cursor, [DAY])
        for first in range(0, rows, GENERATED):
            cursor.execute(GENERATE, [rows, first, min(rows, first + GENERATED) - 1])
        cursor.execute(f"VACUUM ANALYZE {partition_name(DAY)}")
        _wait_for_checkpoint(cursor)
        cursor.execute("SELECT pg_size_pretty(pg_total_relation_size(%s::regclass))", [partition_name(DAY)])
        size = cursor.fetchone()[0]
    _say(f"made {rows:,} spans of one day, {size}, in {perf_counter() - begin:.0f} s")
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)

    def turn(number: int) -> UUID:
        return UUID(int=number % (rows // 5))

    def page(number: int) -> Any:
        at = midnight + timedelta(days=1) * ((number * 7919) % 1000 / 1000)
        return list(TurnSpan.objects.filter(started_at__lt=at).order_by("-started_at", "-id")[:PAGE])

    timed: list[tuple[str, Callable[[int], Any]]] = [
        (f"a page of {PAGE} spans by time", page),
        (
            "the spans of one turn",
            lambda number: spans_of_turn(turn(number * 104_729), midnight, midnight + timedelta(days=1)),
        ),
        (
            f"the spans of a page of {PAGE} turns",
            lambda number: spans_of_turns(
                [turn(number * 104_729 + each) for each in range(PAGE)], midnight, midnight + timedelta(days=1)
            ),
        ),
    ]
    for name, read in timed:
        seconds = []
        for number in range(1, 51):
            start = perf_counter()
            read(number)
            seconds.append(perf_counter() - start)
        _say(f"{name}: median {1000 * median(seconds):.1f} ms, slowest of 50 {1000 * max(seconds):.1f} ms")
    start = perf_counter()
    drop_partition(partition_name(DAY))
    _say(f"dropping the day: {perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
