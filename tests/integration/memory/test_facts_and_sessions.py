"""Different facts stay apart, and what a session leaves or takes along when it is deleted."""

from __future__ import annotations

import math
from uuid import UUID

import pytest

from accounts.actor import Actor
from accounts.roles import Role
from agents.domain.extracted_facts import ExtractedFact
from agents.models import AgentSession, Release
from agents.sessions.fact_storage import ExtractionSource, FactVector, store_extracted_fact
from agents.sessions.turn_episodes import hold_session, user_owner
from foundation.clock import now
from foundation.ids import new_id
from memory.enums import MemorySource, Trust
from memory.lifecycle.consolidation import consolidate
from memory.models import EmbeddingModel, Memory, MemoryBody, SimilarPair
from memory.ownership import OwnerKey
from memory.writing import NewEpisode, Provenance, forget_sessions, remember, remember_episodes, revise
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")


@pytest.fixture
def session() -> AgentSession:
    made = agent()
    return AgentSession.objects.create(
        user=person("ada", Role.USER), agent=made, release=Release.objects.get(agent=made), title="A chat"
    )


def owner(session: AgentSession) -> OwnerKey:
    return user_owner(user_id=session.user_id, agent_id=session.agent_id)


def place(memory_id: UUID, angle: float) -> None:
    model, _ = EmbeddingModel.objects.get_or_create(name="plane", defaults={"dimensions": 2})
    Memory.objects.filter(pk=memory_id).update(embedding=[math.cos(angle), math.sin(angle)], embedding_model=model)


def source(session: AgentSession) -> ExtractionSource:
    origin = Provenance(agent=session.agent_id, session=session.pk, turn=new_id(), message=new_id())
    return ExtractionSource(owner(session), "ada", "text", (), origin)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I am allergic to nuts", "I am not allergic to nuts"),
        ("The meeting is on 7 May", "The meeting is on 8 May"),
        ("Alice manages Bob", "Bob manages Alice"),
        ("My blood is A+", "My blood is A-"),
    ],
)
def test_facts_that_only_a_vector_takes_for_one_stay(session: AgentSession, one: str, other: str) -> None:
    for text in (one, other):
        stored = remember(SYSTEM, owner(session), text, source=MemorySource.FORM, trust=Trust.CONFIRMED)
        place(stored.id, 0)
    consolidate()
    assert Memory.objects.filter(superseded_by=None).count() == 2
    assert SimilarPair.objects.count() == 1


def test_what_a_person_stored_does_not_go_with_a_session_that_says_it_again(session: AgentSession) -> None:
    stored = remember(SYSTEM, owner(session), "I live in Bern", source=MemorySource.FORM, speaker="ada")
    place(stored.id, 0)
    found = source(session)
    episode = NewEpisode(found.provenance.message or new_id(), "ada", "As I said, I live in Bern.", now(), 1)
    remember_episodes(found.owner, [episode], provenance=found.provenance)
    assert store_extracted_fact(found, ExtractedFact("I live in Bern."), FactVector("plane", [1.0, 0.0])) == stored.id
    forget_sessions([session.pk])
    assert Memory.objects.filter(pk=stored.id).exists()


def test_a_fact_that_was_extracted_without_episodes_goes_with_its_session(session: AgentSession) -> None:
    store_extracted_fact(source(session), ExtractedFact("Ada is ill"), None)
    forget_sessions([session.pk])
    assert not MemoryBody.objects.exists()


def test_nothing_is_added_to_a_session_that_is_gone(session: AgentSession) -> None:
    assert hold_session(session.pk)
    assert not hold_session(new_id())


def test_a_correction_of_the_spelling_is_one(session: AgentSession) -> None:
    stored = remember(SYSTEM, owner(session), "My name is macdonald", source=MemorySource.FORM)
    revise(SYSTEM, stored.id, "My name is MacDonald.", expected_version=1)
    assert Memory.objects.get(superseded_by=None).body.text == "My name is MacDonald."
