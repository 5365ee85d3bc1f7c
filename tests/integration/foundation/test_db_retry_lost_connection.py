"""Row work whose connection is lost is tried once more, on a new one."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection, transaction
from psycopg import errors

from foundation.db_retry import retry_after_lost_connection
from foundation.errors import Unavailable

pytestmark = pytest.mark.usefixtures("transactional_db")


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid: int = cursor.fetchone()[0]
        return pid


def end_own_backend() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_the_second_attempt_has_a_connection_that_lives() -> None:
    seen: list[int] = []

    def attempt() -> int:
        seen.append(backend())
        if len(seen) == 1:
            end_own_backend()
        return seen[-1]

    assert retry_after_lost_connection(attempt) == seen[1] != seen[0]
    assert len(seen) == 2


def test_a_second_loss_is_said_to_be_unavailable() -> None:
    seen: list[int] = []

    def attempt() -> None:
        seen.append(backend())
        end_own_backend()

    with pytest.raises(Unavailable) as refusal:
        retry_after_lost_connection(attempt, detail="Come back.")
    assert (refusal.value.detail, refusal.value.retry_after_seconds, len(seen)) == ("Come back.", 1, 2)
    assert isinstance(refusal.value.__cause__, OperationalError)


def test_inside_a_transaction_nothing_is_tried_again() -> None:
    seen: list[int] = []

    def attempt() -> None:
        seen.append(1)
        raise OperationalError from errors.AdminShutdown()

    with pytest.raises(OperationalError), transaction.atomic():
        retry_after_lost_connection(attempt)
    assert seen == [1]


def test_what_no_connection_is_to_blame_for_is_not_tried_again() -> None:
    seen: list[int] = []

    def attempt() -> None:
        seen.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retry_after_lost_connection(attempt)
    assert seen == [1]
