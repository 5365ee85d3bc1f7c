from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.actor import Actor
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain import configuration
from agents.domain.configuration import AgentConfiguration, NewerConfiguration, Stored, TurnLimits
from agents.engine.context import load_release
from agents.llm import routes
from agents.models import Agent, AgentDraft, Release
from agents.releases import change_draft, publish, roll_back
from agents.releases.release_choice import release_for
from agents.releases.validation import unavailable_agents
from foundation.errors import Forbidden, InvalidInput, NotFound, PreconditionFailed
from foundation.ids import new_id
from tests.support.people import OFFLINE, agent, configuration_of, person, write_draft

pytestmark = pytest.mark.django_db


def test_a_builder_publishes_the_draft_as_the_next_release() -> None:
    demo, builder = agent(), person("bob", Role.BUILDER)
    write_draft(instructions="Be brief.", tools=["clock"], version=2)
    release = publish(user_actor(builder), agent_id=demo.pk, expected_version=2, note="shorter")
    demo.refresh_from_db()
    assert demo.live_release == release
    assert demo.version == 3, "once for each release"
    assert (release.number, release.note) == (2, "shorter")
    assert configuration_of(release) == AgentConfiguration(
        model_chain=("offline:",), instructions="Be brief.", tools=("clock",)
    )
    assert release.published_by == builder


def test_a_release_stays_as_it_was_when_the_draft_moves_on() -> None:
    demo = agent()
    write_draft(instructions="Other.")
    assert configuration_of(Release.objects.get(agent=demo)).instructions == ""
    with pytest.raises(IntegrityError), transaction.atomic():
        Release.objects.update(configuration=OFFLINE | {"instructions": "Other."})


def test_new_sessions_get_the_live_release_and_without_one_there_is_no_such_agent() -> None:
    demo = agent()
    AgentDraft.objects.update(version=2)
    newer = publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    demo.refresh_from_db()
    assert release_for(demo, "1") == newer
    demo.live_release = None
    with pytest.raises(InvalidInput) as refusal:
        release_for(demo, "1")
    assert refusal.value.pointer == "/agent"


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER, Role.OPERATOR])
def test_who_is_no_builder_does_not_publish(role: Role) -> None:
    demo = agent()
    with pytest.raises(Forbidden):
        publish(user_actor(person("ada", role)), agent_id=demo.pk, expected_version=1)
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
        ("limits", {"dollars": 1}, "/limits/dollars"),
        ("context_policy", [], "/context_policy"),
    ],
)
def test_a_draft_that_no_turn_could_run_on_is_refused(field: str, value: Any, pointer: str) -> None:
    demo = agent()
    write_draft(**{field: value})
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
    write_draft(demo, model_chain=["offline:", route], version=2)
    with monkeypatch.context() as without:
        without.setattr(routes, "is_installed", lambda _: False)
        with pytest.raises(InvalidInput) as refusal:
            publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
        assert unavailable_agents() == []
    assert refusal.value.pointer == "/model_chain/1"


def rename_models(values: Stored) -> Stored:
    """A step of an imagined version, whose schema 1 had another name for the chain."""
    values["model_chain"] = values.pop("models")
    return values


def test_a_release_of_an_older_schema_is_upgraded_on_reading_and_never_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    demo = agent()
    old = {"schema": 1, "models": ["offline:"], "limits": {"steps": 3}}
    release = Release.objects.create(agent=demo, number=2, configuration=old)
    monkeypatch.setattr(configuration, "UPGRADES", (rename_models,))
    assert load_release(release.pk) == AgentConfiguration(model_chain=("offline:",), limits=TurnLimits(steps=3))
    again = roll_back(Actor.system("tests"), agent_id=demo.pk, number=2)
    assert again.configuration == {"schema": 2, "model_chain": ["offline:"], "limits": {"steps": 3}}
    release.refresh_from_db()
    assert release.configuration == old


def test_a_draft_of_an_older_schema_is_written_anew_only_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = agent()
    old = {"schema": 1, "models": ["offline:"]}
    AgentDraft.objects.update(configuration=old)
    monkeypatch.setattr(configuration, "UPGRADES", (rename_models,))
    same = AgentConfiguration(model_chain=("offline:",))
    for wanted, stored in (
        (same, old),
        (replace(same, instructions="New."), {"schema": 2, "model_chain": ["offline:"], "instructions": "New."}),
    ):
        change_draft(Actor.system("tests"), agent_id=demo.pk, expected_version=1, configuration=wanted)
        assert AgentDraft.objects.get().configuration == stored


def test_what_a_newer_version_wrote_is_neither_run_nor_published_nor_overwritten() -> None:
    demo, tests = agent(), Actor.system("tests")
    newer = Release.objects.create(agent=demo, number=2, configuration={"schema": 99, "models": []})
    Agent.objects.update(live_release=newer)
    AgentDraft.objects.update(configuration=newer.configuration)
    attempts: list[Callable[[], object]] = [
        lambda: load_release(newer.pk),
        lambda: publish(tests, agent_id=demo.pk, expected_version=1),
        lambda: change_draft(
            tests, agent_id=demo.pk, expected_version=1, configuration=AgentConfiguration(model_chain=("offline:",))
        ),
    ]
    for attempt in attempts:
        with pytest.raises(NewerConfiguration, match="schema 99"):
            attempt()
    assert [slug for slug, fault in unavailable_agents() if "schema 99" in fault] == ["demo"]
    assert roll_back(tests, agent_id=demo.pk, number=1).number == 3
    assert AgentDraft.objects.get().configuration == newer.configuration


@pytest.mark.parametrize("stored", [{}, {"model_chain": ["offline:"]}, None])
def test_the_database_refuses_a_configuration_that_does_not_name_its_schema(stored: Any) -> None:
    demo = agent()
    with pytest.raises(IntegrityError), transaction.atomic():
        Release.objects.create(agent=demo, number=2, configuration=stored)
    with pytest.raises(IntegrityError), transaction.atomic():
        AgentDraft.objects.update(configuration=stored)


def test_an_agent_whose_libraries_are_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = agent()
    write_draft(demo, model_chain=["openai:x", "google:gemini"], version=2)
    monkeypatch.setattr(routes, "is_installed", lambda _: True)
    publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    assert unavailable_agents() == []

    monkeypatch.setattr(routes, "is_installed", lambda _: False)
    [(slug, fault)] = unavailable_agents()

    assert slug == "demo"
    assert "make run VENDORS=1" in fault
