"""The floor that every connection of ours stands on."""

from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, ProgrammingError, connection, transaction
from psycopg import errors

from agents.journal.listen_connection import open_listen_connection

pytestmark = pytest.mark.usefixtures("transactional_db")


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


def test_a_connection_that_the_server_ended_is_an_operational_error_whatever_the_reason() -> None:
    if show("server_version_num") < "170000":
        pytest.skip("this server has no transaction_timeout")
    with connection.cursor() as cursor:
        cursor.execute("SET transaction_timeout = '20ms'")
    with pytest.raises(OperationalError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(5)")
    assert isinstance(error.value.__cause__, errors.TransactionTimeout)
    assert show("application_name") == "bandstand-web", "the next request has a connection of its own"


def test_a_fault_of_a_statement_is_what_it_is() -> None:
    with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def test_a_server_that_vanishes_is_given_up_within_a_lease() -> None:
    connection.ensure_connection()
    with closing(open_listen_connection()) as listening:
        for info in (connection.connection.info, listening.info):
            said = info.get_parameters()
            silence = int(said["keepalives_idle"]) + int(said["keepalives_interval"]) * int(said["keepalives_count"])
            assert silence < settings.BANDSTAND.lease_seconds
            assert int(said["tcp_user_timeout"]) < 1000 * settings.BANDSTAND.lease_seconds
