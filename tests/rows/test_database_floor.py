"""The floor that every connection of ours stands on."""

from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

pytestmark = pytest.mark.django_db


def show(name: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s, true)", [name])
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("statement_timeout", "10s"),
        ("lock_timeout", "2s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("TimeZone", "UTC"),
        ("application_name", "bandstand-web"),
    ],
)
def test_a_web_connection_has_the_floor(name: str, value: str) -> None:
    assert show(name) == value


def test_a_transaction_ends_where_the_server_can_end_it() -> None:
    expected = "15s" if show("server_version_num") >= "170000" else None
    assert show("transaction_timeout") == expected


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_pool_replaces_connections_that_the_server_closed() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    parameters = connection.get_connection_params()
    connection.close()  # back to the pool, idle
    with psycopg.connect(
        **{name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters},
        autocommit=True,
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] != pid
