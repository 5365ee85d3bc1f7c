"""A transaction that PostgreSQL chose as a deadlock's victim is run again, once."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from django.db import OperationalError, transaction
from psycopg import errors

from agents.journal.locked_writes import lock_session
from foundation.db_retry import retry_after_deadlock
from tests.support.conversations import conversation, side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_the_victim_of_a_deadlock_tries_again_and_both_succeed() -> None:
    one, other = conversation().session_id, conversation().session_id
    both_hold_one = threading.Barrier(2)
    tries: list[UUID] = []

    @retry_after_deadlock
    def lock_both(first: UUID, second: UUID) -> str:
        tries.append(first)
        with transaction.atomic():
            lock_session(first)
            if len(tries) <= 2:
                both_hold_one.wait(timeout=10)
            lock_session(second)
        return "both"

    assert side_by_side(lambda: lock_both(one, other), lambda: lock_both(other, one)) == ["both", "both"]
    assert len(tries) == 3, "one of them was the victim"


def deadlock(cause: Exception) -> OperationalError:
    error = OperationalError("no luck")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "tries"), [(errors.DeadlockDetected(), 2), (errors.LockNotAvailable(), 1), (errors.AdminShutdown(), 1)]
)
def test_a_second_deadlock_and_any_other_failure_are_errors(cause: Exception, tries: int) -> None:
    made: list[int] = []

    @retry_after_deadlock
    def fail() -> None:
        made.append(1)
        raise deadlock(cause)

    with pytest.raises(OperationalError):
        fail()
    assert len(made) == tries


def test_inside_a_transaction_only_the_outermost_may_try_again() -> None:
    made: list[int] = []

    @retry_after_deadlock
    def fail() -> None:
        made.append(1)
        raise deadlock(errors.DeadlockDetected())

    with transaction.atomic(), pytest.raises(OperationalError):
        fail()
    assert len(made) == 1
