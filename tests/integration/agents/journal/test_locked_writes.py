"""The lock of a session: whoever needs it waits or is refused, whoever can come back later does neither."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import transaction

from agents.journal.locked_writes import lock_session, lock_turn, try_lock_session
from agents.runner.reaper import release_claim
from agents.sessions import delete_session
from foundation.errors import NotFound
from foundation.ids import new_id
from tests.support.conversations import conversation, side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")


def free(session_id: UUID) -> bool:
    with transaction.atomic():
        return try_lock_session(session_id) is not None


def test_a_session_that_is_gone_is_not_found() -> None:
    ada = conversation()
    delete_session(ada.actor, session_id=ada.session_id, expected_version=None)
    with transaction.atomic():
        with pytest.raises(NotFound):
            lock_session(ada.session_id)
        assert try_lock_session(ada.session_id) is None
    assert not release_claim(session_id=ada.session_id, turn_id=new_id(), epoch=1, without_progress=False)


def test_a_turn_is_looked_for_in_its_session_only() -> None:
    ada, ben = conversation("ada"), conversation("ben")
    ada.ask()
    with transaction.atomic():
        assert lock_turn(lock_session(ada.session_id), ada.turn().pk) == ada.turn()
        with pytest.raises(NotFound):
            lock_turn(lock_session(ben.session_id), ada.turn().pk)


def test_a_session_that_somebody_else_writes_is_passed_over() -> None:
    ada = conversation()
    with transaction.atomic():
        lock_session(ada.session_id)
        assert side_by_side(lambda: free(ada.session_id)) == [False]
    assert free(ada.session_id)
