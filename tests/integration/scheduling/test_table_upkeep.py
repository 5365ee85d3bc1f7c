"""Tables are vacuumed and analysed by need. Outside transactions: each test has a table of its own and drops it."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection, connections

from scheduling import table_upkeep
from scheduling.table_upkeep import DueTable, due_tables, maintain_tables

pytestmark = pytest.mark.usefixtures("transactional_db")


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def make() -> Iterator[Callable[[str, int], None]]:
    names: list[str] = []

    def create(name: str, rows: int) -> None:
        names.append(name)
        execute(f'CREATE TABLE "{name}" (id int) WITH (autovacuum_enabled = false)')
        execute(f'INSERT INTO "{name}" SELECT generate_series(1, {rows})')
        report()

    yield create
    for name in names:
        execute(f'DROP TABLE IF EXISTS "{name}"')


def report() -> None:
    """Have this connection's counts in the statistics now, not within a second."""
    execute("SELECT pg_stat_force_next_flush()")
    execute("SELECT 1")


def due(name: str) -> list[DueTable]:
    return [table for table in due_tables() if table.name == name]


def test_what_was_never_analysed_is(make: Callable[[str, int], None]) -> None:
    make("upkeep_new", 1_000)
    make("upkeep_small", 20)
    [table] = due("upkeep_new")
    assert (table.vacuum, table.analyze) == (False, True)
    assert maintain_tables() >= 1
    assert due("upkeep_new") == due("upkeep_small") == []


def test_dead_rows_that_autovacuum_has_left_are_vacuumed(make: Callable[[str, int], None]) -> None:
    make('Upkeep ""dead""', 1_000)
    maintain_tables()
    execute('UPDATE "Upkeep ""dead""" SET id = id + 1 WHERE id <= 280')
    report()
    name = '"Upkeep ""dead"""'
    assert due(name) == [], "autovacuum is at it from 250 on, and has not failed before twice as many"
    execute('UPDATE "Upkeep ""dead""" SET id = id + 1 WHERE id <= 280')
    report()
    [table] = due(name)
    assert table.vacuum
    maintain_tables()
    assert due(name) == []


def test_a_locked_table_is_skipped_and_due_again(make: Callable[[str, int], None]) -> None:
    make("upkeep_locked", 1_000)
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE upkeep_locked")
            maintain_tables()
            assert len(due("upkeep_locked")) == 1
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert maintain_tables() >= 1
    assert due("upkeep_locked") == []


def test_a_partitioned_table_which_autovacuum_never_analyses_is_analysed_once_a_day() -> None:
    execute("CREATE TABLE upkeep_days (day date) PARTITION BY RANGE (day)")
    try:
        assert due("upkeep_days") == [], "there is nothing in it"
        execute("CREATE TABLE upkeep_day PARTITION OF upkeep_days FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')")
        [table] = due("upkeep_days")
        assert (table.vacuum, table.analyze) == (False, True)
        maintain_tables()
        assert due("upkeep_days") == []
    finally:
        execute("DROP TABLE upkeep_days")


def test_no_further_table_is_begun_after_its_time(
    make: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("upkeep_late", 1_000)
    monkeypatch.setattr(table_upkeep, "BEGIN_SECONDS", -1.0)
    assert maintain_tables() == 0
    assert len(due("upkeep_late")) == 1


def test_one_that_takes_too_long_stops_no_other(
    make: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("upkeep_slow", 200_000)
    monkeypatch.setattr(table_upkeep, "SECONDS", 0.001)
    maintain_tables()
    assert len(due("upkeep_slow")) == 1
    monkeypatch.undo()
    maintain_tables()
    assert due("upkeep_slow") == []
    with connection.cursor() as cursor:
        cursor.execute("SHOW vacuum_cost_delay")
        assert cursor.fetchone() == ("0",)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() != ("1ms",)
