from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.actor import Actor
from accounts.permissions import actor_of
from accounts.roles import Role
from agents.llm import routes
from agents.models import AgentDraft, Release
from agents.releases import publish
from agents.releases.known import unavailable_agents
from foundation.errors import Forbidden, InvalidInput, NotFound, PreconditionFailed
from foundation.ids import new_id
from tests.people import agent, person

pytestmark = pytest.mark.django_db


def test_a_builder_publishes_the_draft_as_the_next_release() -> None:
    demo, builder = agent(), person("bob", Role.BUILDER)
    AgentDraft.objects.update(instructions="Be brief.", tools=["clock"], version=2)
    release = publish(actor_of(builder), agent_id=demo.pk, expected_version=2, note="shorter")
    demo.refresh_from_db()
    assert demo.live_release == release
    assert demo.version == 3, "once for each release"
    assert (release.number, release.instructions, release.tools, release.note) == (2, "Be brief.", ["clock"], "shorter")
    assert release.published_by == builder


def test_a_release_stays_as_it_was_when_the_draft_moves_on() -> None:
    demo = agent()
    AgentDraft.objects.update(instructions="Other.")
    assert Release.objects.get(agent=demo).instructions == ""
    with pytest.raises(IntegrityError), transaction.atomic():
        Release.objects.update(instructions="Other.")


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER, Role.OPERATOR])
def test_who_is_no_builder_does_not_publish(role: Role) -> None:
    demo = agent()
    with pytest.raises(Forbidden):
        publish(actor_of(person("ada", role)), agent_id=demo.pk, expected_version=1)
    assert Release.objects.count() == 1


def test_a_draft_that_moved_on_is_not_published() -> None:
    demo = agent()
    AgentDraft.objects.update(version=2)
    with pytest.raises(PreconditionFailed):
        publish(Actor.system("tests"), agent_id=demo.pk, expected_version=1)


def test_an_absent_agent_is_not_found() -> None:
    with pytest.raises(NotFound):
        publish(Actor.system("tests"), agent_id=new_id(), expected_version=1)


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("model_chain", [], "/model_chain"),
        ("model_chain", ["gpt"], "/model_chain/0"),
        ("tools", ["clock", "os.system"], "/tools/1"),
        ("limits", {"steps": 0}, "/limits/steps"),
        ("limits", {"dollars": 1}, "/limits"),
        ("context_policy", [], "/context_policy"),
    ],
)
def test_a_draft_that_no_turn_could_run_on_is_refused(field: str, value: Any, pointer: str) -> None:
    demo = agent()
    AgentDraft.objects.update(**{field: value})
    with pytest.raises(InvalidInput) as refusal:
        publish(Actor.system("tests"), agent_id=demo.pk, expected_version=1)
    assert refusal.value.pointer == pointer
    assert Release.objects.count() == 1


def test_a_note_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInput):
        publish(Actor.system("tests"), agent_id=agent().pk, expected_version=1, note="x" * 201)


@pytest.mark.parametrize("route", ["nobody:model", "openai:", "bedrock:nova"])
def test_a_route_that_leads_nowhere_is_not_published_and_a_runner_says_who_has_one(
    route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = agent()
    AgentDraft.objects.filter(agent=demo).update(model_chain=["offline:", route], version=2)
    with monkeypatch.context() as without:
        without.setattr(routes, "is_installed", lambda _: False)
        with pytest.raises(InvalidInput) as refusal:
            publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
        assert unavailable_agents() == []
    assert refusal.value.pointer == "/model_chain/1"


def test_an_agent_whose_libraries_are_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = agent()
    AgentDraft.objects.filter(agent=demo).update(model_chain=["openai:x", "google:gemini"], version=2)
    monkeypatch.setattr(routes, "is_installed", lambda _: True)
    publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    assert unavailable_agents() == []

    monkeypatch.setattr(routes, "is_installed", lambda _: False)
    [(slug, fault)] = unavailable_agents()

    assert slug == "demo"
    assert "make run VENDORS=1" in fault
