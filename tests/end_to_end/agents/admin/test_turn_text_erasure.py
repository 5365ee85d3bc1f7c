"""The words of turns that are stored for search go with their sessions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agents.journal.turn_texts import store_turn_texts
from agents.management.demo.loading import load
from agents.management.demo.removal import remove
from agents.models import AgentSession, Turn, TurnText
from agents.sessions import delete_expired_sessions, delete_session
from foundation.clock import now
from tests.support.conversations import answer, claimed, conversation

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_what_is_indexed_goes_with_its_session_in_every_way_there_is() -> None:
    ada, bob = conversation(), conversation("bob")
    for one in (ada, bob):
        one.ask("Remember me")
        answer(claimed(), "Not for long.")
    store_turn_texts(list(Turn.objects.values_list("pk", flat=True)))
    assert TurnText.objects.count() == 2
    delete_session(ada.actor, session_id=ada.session_id, expected_version=None)
    AgentSession.objects.update(expires_at=now() - timedelta(days=9), updated_at=now() - timedelta(days=9))
    assert delete_expired_sessions(limit=10) == 1
    assert not TurnText.objects.exists()
    load(turns=30, seed=1, until=now(), report=lambda _: None)
    assert TurnText.objects.count() == 30
    remove(report=lambda _: None)
    assert not TurnText.objects.exists()
