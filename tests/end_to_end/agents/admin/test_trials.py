"""Sessions that try something out, in the console: builders see them, with a badge; others do not."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.roles import Role
from agents.domain.deployments import DeploymentState
from agents.domain.session_purposes import SessionPurpose
from agents.models import Agent, AgentSession, Event, Feedback, Handoff, Message, Step, Turn
from tests.support.candidates import add_release, open_deployment, withdraw
from tests.support.consoles import button_of, changelist_of, client_of, confirmed, list_of, page_of
from tests.support.conversations import Conversation, answer, claimed, conversation
from tests.support.people import agent

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def trial() -> Conversation:
    """One of staging with an answered question, a rating and a handoff."""
    bob = conversation("bob")
    AgentSession.objects.update(purpose=SessionPurpose.STAGING)
    bob.ask("A secret of ours")
    answer(claimed(), "Sealed lips")
    message = Message.objects.get(author="agent")
    turn = bob.turn()
    Feedback.objects.create(
        agent_session=bob.row, message=message, user=turn.user, value=-1, turn=turn, release=turn.release
    )
    Handoff.objects.create(agent_session=bob.row, requested_by="user", reason="Help")
    return bob


def rows_of(client: Client, model: type) -> int:
    return len(changelist_of(client, list_of(model), {"show": "all"} if model is Handoff else None).result_list)


@pytest.mark.parametrize("model", [AgentSession, Event, Feedback, Handoff])
def test_lists_show_them_to_builders_only(trial: Conversation, model: type) -> None:
    del trial
    roles = {Role.VIEWER: False, Role.OPERATOR: False, Role.BUILDER: True, Role.OWNER: True}
    seen = {role: bool(rows_of(client_of(role.value, role), model)) for role in roles}
    if model is Handoff:
        # They wait for nobody, but who looks for all of them finds them.
        assert not changelist_of(client_of("olga", Role.OWNER), list_of(Handoff)).result_list
    assert seen == roles


def test_their_turns_are_load_that_operators_see_and_do_not_read(trial: Conversation) -> None:
    turn, step = trial.turn(), Step.objects.get()
    for name, role, reads in (("otto", Role.OPERATOR, False), ("bea", Role.BUILDER, True)):
        client = client_of(name, role)
        assert rows_of(client, Turn) == 1
        page = client.get(page_of(turn)).content.decode()
        trace = client.get(reverse("admin:agents_turn_trace", args=[turn.pk]))
        assert trace.status_code == 200
        assert ("A secret of ours" in page, "Sealed lips" in page) == (reads, reads)
        sent = client.get(reverse("admin:agents_step_sent", args=[step.pk]))
        assert (sent.status_code == 200) is reads


def test_a_session_is_not_there_for_others(trial: Conversation) -> None:
    session = trial.row
    for address in (page_of(session), button_of(session, "live"), button_of(session, "fork")):
        answers = [
            client_of(f"{role.value} {address[-6:]}", role).get(address) for role in (Role.VIEWER, Role.OPERATOR)
        ]
        assert {one.status_code for one in answers} <= {302, 404}, address


def test_lists_and_the_transcript_say_what_it_is_for(trial: Conversation) -> None:
    client = client_of("bea", Role.BUILDER)
    for model in (AgentSession, Turn, Feedback):
        assert ">staging<" in client.get(list_of(model)).content.decode(), model
    page = client.get(page_of(trial.row)).content.decode()
    assert "<dt>Purpose</dt>" in page
    conversation("ada")
    for value, number in {"staging": 1, "production": 1, "trial": 0}.items():
        assert len(changelist_of(client, list_of(AgentSession), {"purpose": value}).result_list) == number
    assert len(changelist_of(client, list_of(Turn), {"purpose": "staging"}).result_list) == 1
    assert not changelist_of(client, list_of(Turn), {"purpose": "production"}).result_list
    assert client.get(list_of(AgentSession), {"purpose": "x"}).status_code == 400
    assert "Purpose" not in client_of("vera", Role.VIEWER).get(list_of(AgentSession)).content.decode()


# --- talking to a candidate ---


@pytest.mark.parametrize("state", [DeploymentState.STAGING, DeploymentState.CANARY])
def test_a_builder_begins_a_chat_with_the_candidate(state: DeploymentState) -> None:
    demo = agent()
    deployment = open_deployment(demo, add_release(demo), state)
    address = reverse("admin:agents_deployment_talk", args=[deployment.pk])
    bea = client_of("bea", Role.USER, Role.BUILDER)
    assert "Talk to release 2 of Demo?" in bea.get(address).content.decode()
    assert not AgentSession.objects.exists(), "not before it is confirmed"
    response = bea.post(address, {"confirm": "yes"})
    session = AgentSession.objects.get()
    assert response["Location"] == f"/#{session.pk}"
    assert (session.purpose, session.release, session.user.username) == ("staging", deployment.candidate, "bea")
    for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR)):
        assert client_of(name, role).post(address, {"confirm": "yes"}).status_code == 403
    withdraw(deployment)
    assert bea.post(address, {"confirm": "yes"}).status_code == 404
    assert AgentSession.objects.count() == 1


def test_a_builder_outside_the_groups_of_the_agent_is_told_so() -> None:
    demo = agent(groups=[Group.objects.create(name="Sales")])
    deployment = open_deployment(demo, add_release(demo))
    page = confirmed(
        client_of("bea", Role.USER, Role.BUILDER), reverse("admin:agents_deployment_talk", args=[deployment.pk])
    )
    assert "There is no such agent." in page.content.decode()
    assert not AgentSession.objects.exists()


# --- the transcript of a conversation that went to another release ---


def test_the_transcript_says_from_where_on_a_conversation_ran_on_another_release() -> None:
    ada = conversation()
    for text in ("One", "Two"):
        ada.ask(text)
        answer(claimed())
    demo = Agent.objects.get()
    Agent.objects.update(moves_sessions=True, live_release=add_release(demo))
    for text in ("Three", "Four"):
        ada.ask(text)
        answer(claimed())
    vera = client_of("vera", Role.VIEWER)
    page = vera.get(page_of(ada.row)).content.decode()
    assert page.count("From here on release") == 1
    third, fourth = ada.turns()[2:]
    at = page.index("From here on release 2")
    assert page.index(f'id="turn-{third.pk}"') < at < page.index(f'id="turn-{fourth.pk}"')
    blocks = vera.get(button_of(ada.row, "live"), {"after": 1}).json()["blocks"]
    assert ["From here on release" in block["html"] for block in blocks] == [False, False, True, False]
