"""Sessions that follow the live release of their agent, where the agent wants it."""

from __future__ import annotations

from typing import Any

import pytest

from agents.domain.deployments import DeploymentState
from agents.domain.session_purposes import SessionPurpose
from agents.models import Agent, AgentSession, Release
from agents.sessions import TurnInProgress, create_session
from tests.support.candidates import add_release, open_deployment
from tests.support.conversations import Conversation, answer, claimed, conversation, replayed

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def ada() -> Conversation:
    return conversation()


def go_live(**agent: Any) -> Release:
    """A second release of the agent of all, which is live."""
    row = Agent.objects.get(slug="demo")
    release = add_release(row)
    Agent.objects.filter(pk=row.pk).update(live_release=release, **agent)
    return release


def numbers(ada: Conversation) -> tuple[int, list[int]]:
    """The releases of the session and of its turns."""
    return ada.row.release.number, [turn.release.number for turn in ada.turns()]


def test_a_session_stays_on_its_release(ada: Conversation) -> None:
    ada.ask()
    answer(claimed())
    go_live()
    ada.ask()
    assert numbers(ada) == (1, [1, 1])
    assert "session.updated" not in ada.log()


def test_a_session_moves_with_its_next_message_where_the_agent_wants_it(ada: Conversation) -> None:
    ada.ask()
    answer(claimed())
    go_live(moves_sessions=True)
    before = ada.snapshot()
    assert numbers(ada) == (1, [1]), "not before somebody writes"
    ada.ask()
    assert numbers(ada) == (2, [1, 2])
    assert ada.log()[-3:] == ["session.updated", "message.created", "turn.queued"]
    assert replayed(ada, before) == ada.snapshot()
    assert ada.snapshot()["session"]["release"] == 2
    answer(claimed())
    ada.ask()
    assert ada.log().count("session.updated") == 1


def test_a_move_keeps_the_title_and_a_first_message_still_names_the_session(ada: Conversation) -> None:
    unnamed = Conversation(ada.actor, create_session(ada.actor, agent_slug="demo").pk)
    go_live(moves_sessions=True)
    ada.ask("Tell me more")
    unnamed.ask("What is the time?")
    assert (ada.row.title, unnamed.row.title) == ("A test", "What is the time?")
    assert [event.data["session"]["title"] for event in ada.events()[:1] + unnamed.events()[:1]] == [
        "A test", "What is the time?",
    ]  # fmt: skip
    assert numbers(unnamed) == (2, [2])
    assert unnamed.log() == ["session.updated", "message.created", "turn.queued"]


def test_no_session_moves_while_a_deployment_is_open(ada: Conversation) -> None:
    go_live(moves_sessions=True)
    row = Agent.objects.select_related("live_release").get(slug="demo")
    open_deployment(row, add_release(row), DeploymentState.CANARY)
    ada.ask()
    assert numbers(ada) == (1, [1])


@pytest.mark.parametrize("purpose", sorted(set(SessionPurpose) - {SessionPurpose.PRODUCTION}))
def test_what_is_tried_out_stays_where_it_is(ada: Conversation, purpose: SessionPurpose) -> None:
    AgentSession.objects.update(purpose=purpose)
    go_live(moves_sessions=True)
    ada.ask()
    assert numbers(ada) == (1, [1])


def test_a_refused_message_moves_nothing(ada: Conversation) -> None:
    ada.ask()
    go_live(moves_sessions=True, when_busy="reject")
    with pytest.raises(TurnInProgress):
        ada.ask()
    assert numbers(ada) == (1, [1])
    assert "session.updated" not in ada.log()
