"""Builders talk to the candidate of a deployment, in sessions that nobody else sees and that leave no memory."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.actor import Actor
from accounts.models import User
from accounts.roles import Role
from agents.domain.deployments import DeploymentState
from agents.domain.session_purposes import SessionPurpose
from agents.models import Agent, AgentSession, Deployment
from agents.sessions import create_session
from agents.sessions.fact_storage import read_extraction_source
from agents.sessions.fork import fork_session
from agents.sessions.generated_titles import has_first_title
from agents.sessions.tool_memory import SessionMemory
from agents.sessions.turn_episodes import remember_turn
from foundation.errors import Conflict, Forbidden, InvalidInput
from memory.models import Memory
from tests.support.candidates import add_release, open_deployment, withdraw
from tests.support.conversations import Conversation, answer, claimed, conversation
from tests.support.people import agent, configuration_of, person

pytestmark = pytest.mark.usefixtures("transactional_db")

OPEN = [DeploymentState.STAGING, DeploymentState.VALIDATING, DeploymentState.CANARY, DeploymentState.WATCHING]


def actor_of(user: User) -> Actor:
    return Actor.user(user_id=user.pk, name=user.username)


@pytest.fixture
def builder() -> Actor:
    return actor_of(person("bob", Role.BUILDER))


def begin_deployment(state: DeploymentState = DeploymentState.STAGING) -> Deployment:
    demo = agent()
    return open_deployment(demo, add_release(demo), state)


def stage(actor: Actor) -> AgentSession:
    return create_session(actor, agent_slug="demo", purpose=SessionPurpose.STAGING)


@pytest.mark.parametrize("state", OPEN)
def test_a_builder_talks_to_the_candidate_while_the_deployment_is_open(builder: Actor, state: DeploymentState) -> None:
    deployment = begin_deployment(state)
    session = stage(builder)
    session.refresh_from_db()
    assert (session.release, session.purpose, session.listed) == (deployment.candidate, "staging", False)
    assert session.title == "Candidate 2 of Demo"
    assert session.expires_at is not None
    talk = Conversation(builder, session.pk)
    talk.ask()
    work = claimed()
    assert (work.release_id, work.purpose) == (deployment.candidate_id, "staging")


def test_only_builders_do(builder: Actor) -> None:
    begin_deployment()
    for name, role in (("ada", Role.USER), ("vera", Role.VIEWER), ("otto", Role.OPERATOR)):
        with pytest.raises(Forbidden):
            stage(actor_of(person(name, role)))
    assert stage(actor_of(person("olga", Role.OWNER))).purpose == "staging"
    assert stage(builder)


def test_without_an_open_deployment_there_is_no_candidate(builder: Actor) -> None:
    deployment = begin_deployment(DeploymentState.CANARY)
    withdraw(deployment)
    with pytest.raises(Conflict):
        stage(builder)
    Agent.objects.update(live_release=None)
    with pytest.raises(InvalidInput):
        stage(builder)


@pytest.mark.parametrize("purpose", [SessionPurpose.TRIAL, SessionPurpose.EVALUATION])
def test_other_purposes_cannot_be_asked_for(builder: Actor, purpose: SessionPurpose) -> None:
    begin_deployment()
    with pytest.raises(InvalidInput):
        create_session(builder, agent_slug="demo", purpose=purpose)


@pytest.mark.parametrize(
    ("purpose", "copy"),
    [("", ("", True)), ("staging", ("staging", False)), ("trial", ("trial", False)), ("evaluation", ("trial", False))],
)
def test_a_copy_is_for_the_same_but_one_of_a_lane_is_a_trial(purpose: str, copy: tuple[str, bool]) -> None:
    ada = conversation()
    AgentSession.objects.update(purpose=purpose)
    ada.ask()
    answer(claimed())
    fork = fork_session(ada.actor, session_id=ada.session_id)
    assert (fork.purpose, fork.listed) == copy


# --- memory and titles ---


def remembering(purpose: SessionPurpose) -> tuple[Conversation, Any]:
    """A session with one ended turn on a release that remembers everything, and that release."""
    demo = agent("special")
    release = add_release(demo, memory={"remember_turns": True, "extract": True, "recall": True})
    Agent.objects.filter(pk=demo.pk).update(live_release=release)
    ada = conversation(slug="special")
    # Even a session that is listed.
    AgentSession.objects.update(purpose=purpose)
    ada.ask("My sister lives in Berlin and likes to travel.")
    answer(claimed())
    return ada, configuration_of(release)


@pytest.mark.parametrize("purpose", list(SessionPurpose))
def test_nothing_is_remembered_of_what_is_tried_out(purpose: SessionPurpose) -> None:
    ada, release = remembering(purpose)
    turn = ada.turn()
    is_production = purpose == SessionPurpose.PRODUCTION
    assert bool(remember_turn(turn.pk, release=release)) == is_production
    assert (read_extraction_source(turn.pk) is not None) == is_production
    assert has_first_title(ada.session_id, "A test") == is_production
    before = Memory.objects.count()
    said = SessionMemory(ada.session_id, turn.pk, 1, ()).remember("My sister lives in Berlin.", slot="")
    assert (Memory.objects.count() > before) == is_production
    assert said.startswith("Nothing was changed") != is_production
    forgotten = SessionMemory(ada.session_id, turn.pk, 1, ()).forget("My sister lives in Berlin.")
    assert forgotten.startswith("Nothing was changed") != is_production
